"""The names that say what holds a secret, and the texts in which they stand."""

from __future__ import annotations

import pytest

from mainspring.secrets import (
    names_secret,
    redact,
)

NAMES_OF_SECRETS = """
    password db_password DB_PASS dbPass pass PASS smtp_pass PGPASSWORD PGPASS DBPASS MYSQLPASS SMTPPASS
    SSHPASS sshpass PASSWORD1 PASSWORD_PROD password_old passphrase pwd dbPwd DB_PWD userPwd userpwd secret
    SECRET_KEY SECRET_KEY_BASE client_secret api_key apiKey apikey X-Api-Key ENCRYPTION_KEY FERNET_KEY
    AIRFLOW__CORE__FERNET_KEY RAILS_MASTER_KEY SIGNING_KEY private_key AZURE_STORAGE_KEY KAGGLE_KEY AccountKey
    aws_secret_access_key token APIToken OAuthToken accessToken api_token hf_token MY_TOKEN ACCESSTOKEN
    GITLAB_DEPLOYTOKEN HF_TOKEN GITHUB_PAT REDISCLI_AUTH NPM_AUTH credentials aws.credential
""".split()


OTHER_NAMES = """
    tokens PWD oov_token sos_token src_token token_str label_token draft_tokens train_tokens tokenizer
    max_tokens max_tokens_per_row MAX_TOKENS n_tokens pad_token eos_token mask_token padtoken stop_tokens
    token_count first_pass low_pass band_pass bandpass bypass compass one_pass passes passenger passed
    SKIP_PASS secretary secret_name password_length password_file credentials_path key sort_key cache_key
    storage_key primary_key keyword author auth use_auth path pattern compat PATH patience
""".split()


@pytest.mark.parametrize("name", NAMES_OF_SECRETS)
@pytest.mark.parametrize(
    "text",
    [
        "NAME = 'VALUE'", "NAME=VALUE", "NAME: VALUE", '{"NAME": "VALUE"}', '+os.environ["NAME"] = "VALUE"',
        "f(NAME=VALUE, n=3)", "psql --NAME VALUE", '["psql", "--NAME", "VALUE"]', "--NAME=VALUE", "-H 'NAME: VALUE'",
    ],
)  # fmt: skip
def test_what_a_name_says_is_a_secret_is_redacted_behind_it_however_it_is_written(name: str, text: str) -> None:
    value = "q8Xw3-Lm5_Pz7Rt2Kd"
    assert names_secret(name)
    assert redact(text.replace("NAME", name).replace("VALUE", value)) == text.replace("NAME", name).replace(
        "VALUE", "[redacted]"
    )


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_other_names_hold_no_secret(name: str) -> None:
    assert not names_secret(name)
    for text in (f"{name} = 'q8Xw3-Lm5'", f"{name}=q8Xw3-Lm5", f"run --{name} q8Xw3-Lm5"):
        assert redact(text) == text
