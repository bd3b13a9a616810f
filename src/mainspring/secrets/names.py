"""Which names say by convention that they hold a secret: one rule for parameters, variables, options and settings.

A name is its words, at separators and humps. The last one decides, with the one before where it has other uses (`sort_key`,
`pad_token`, `first_pass`); where a secret is used is left out (`PASSWORD_PROD`, `PASSWORD2`). Variables are more often secrets.
"""

from __future__ import annotations

import re
from functools import lru_cache

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_]+")
_SECRETS = ("password", "passwd", "passphrase", "passwort", "passcode", "pwd", "secret", "credential")
_KEYS = frozenset(
    """access account admin aes api auth cipher consumer crypto deploy encrypt encryption fernet gpg hmac jwt license
    licence master pgp private rsa secret sign signing ssh subscription""".split()
)
_KEYS_OF_VARIABLES = frozenset(
    """anthropic app application aws azure client cohere datadog gcp google huggingface kaggle mistral openai pinecone
    s3 sendgrid service session shared storage stripe twilio wandb webhook""".split()
)
# Whose tokens are no text's: a language model has a dozen names for those of its own.
_TOKENS = frozenset(
    """access account admin api app auth azure bearer bot ci client consul csrf deploy device discord docker gcp gh git
    github gitlab google hf huggingface id identity influx install jwt kaggle login mlflow npm o oauth personal
    private push pypi refresh registry sas secret security service session slack telegram user vault wandb web
    webhook xsrf""".split()
)
_TEXTS = frozenset(
    """begin bos cached class cls completion context draft end eos eot eval first generated image input label last mask
    masked max min n new next num number oov output pad padding per prefix prompt query reasoning sep sos source
    space special split src start stop suffix target test tgt top total train unk unknown""".split()
)
# Runs over something, filters, and words that end so.
_PASSES = frozenset(
    """all backward band bi bottom by com data double each encom fast final first forward full half high im inner last
    low multi next no one only outer over per render second single skip slow sub sur test tests third train tres two
    under wave""".split()
)
_BEHIND = frozenset(
    """backup base current dev development new old pem previous primary prod production secondary stage staging""".split()
)
_DIRECTORIES = ("PWD", "OLDPWD")  # of the shell: no passwords


def names_secret(name: str) -> bool:
    """Whether a parameter or variable of this name holds a secret by convention.

    >>> names_secret("db_password"), names_secret("PGPASSWORD"), names_secret("max_tokens_per_row")
    (True, True, False)
    >>> names_secret("apiKey"), names_secret("sort_key"), names_secret("SECRET_KEY_BASE"), names_secret("pad_token")
    (True, False, True, False)
    """
    return _names_secret(name)


@lru_cache(maxsize=4096)  # each text that is redacted asks for every variable of the environment
def _names_secret(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    while len(words) > 1 and words[-1] in _BEHIND:
        words.pop()
    if not words or name in _DIRECTORIES:
        return False
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    is_variable = name.isupper()
    if last.removesuffix("s").endswith(_SECRETS):
        return True
    if last.endswith("token"):
        whose = last.removesuffix("token") or before
        return not whose or whose in _TOKENS or (is_variable and whose not in _TEXTS)
    if last.endswith("pass"):
        return (last.removesuffix("pass") or before) not in _PASSES
    if last == "phrase":
        return before == "pass"
    if last.removesuffix("s").endswith("key"):
        whose = last.removesuffix("s").removesuffix("key") or before
        return whose in _KEYS or (is_variable and whose in _KEYS_OF_VARIABLES)
    if last == "pat":
        return before in _TOKENS
    return is_variable and (last == "jwt" or (last == "auth" and bool(before)))
