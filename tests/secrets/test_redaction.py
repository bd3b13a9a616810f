"""What is recorded holds no secret."""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from mainspring.secrets import (
    LineRedaction,
    Secret,
    redact,
    redact_value,
    resolve,
)


def test_what_was_resolved_is_redacted_from_any_text(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("Zz9-unlikely-value")
    reference = f"secret:file{tmp_path}/key"
    Secret(reference).reveal()
    assert redact("it is Zz9-unlikely-value, twice Zz9-unlikely-value") == f"it is [{reference}], twice [{reference}]"


@pytest.mark.parametrize(
    "text",
    [
        "password = 'VALUE'", 'api_key: "VALUE"', "MY_TOKEN=VALUE", "{'secret': 'VALUE'}", "postgresql://me:VALUE@db/x",
        "Authorization: Bearer VALUE", "-----BEGIN PRIVATE KEY-----\nVALUE\n-----END PRIVATE KEY-----",
        "-password =\n+password = VALUE\n", "token:\ntoken: VALUE", "aws_secret_access_key=VALUE",
        '"password": "VALUE", "other": 1', "private_key=VALUE;x=1", "redis://:VALUE@cache", "Authorization: Basic VALUE",
        "{'Authorization': 'VALUE'}", '{\\"token\\": \\"VALUE\\"}', "password => VALUE", "token = b'VALUE'", "DB_PWD=VALUE",
        "f(token=VALUE, n=3)", "passphrase: VALUE",
    ],
)  # fmt: skip
def test_the_shape_of_a_secret_is_enough(text: str) -> None:
    value = "q8Xw3-Lm5_Pz7Rt2Kd"
    shown = redact(text.replace("VALUE", value))
    assert value not in shown
    assert "redacted" in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password = 'p@ss,word;123 x', n = 3", "password = '[redacted]', n = 3"),
        ('password: "correct horse battery" n', 'password: "[redacted]" n'),
        (r'password="a\"b c d" n', 'password="[redacted]" n'),
        ("password=p@ss,word;123", "password=[redacted]"),
        ("token=abcd&user=ada {token:abcd}", "token=[redacted]&user=ada {token:[redacted]}"),
        ("password=password", "password=[redacted]"), ("token: bytes123, n", "token: [redacted], n"),
        ("token: Secret = 'abcd1234'", "token: Secret = '[redacted]'"), ("token = Secrets", "token = [redacted]"),
        ("postgresql://me:pa/ss@db/x", "postgresql://me:[redacted]@db/x"),
        ("postgresql://me:p@ss@db/x?mail=a@b", "postgresql://me:[redacted]@db/x?mail=a@b"),
        ("Authorization: Basic dXNlcjpodW50ZXIyMg==", "Authorization: Basic [redacted]"),
    ],
)  # fmt: skip
def test_a_secret_is_redacted_to_its_end(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens=4096, completion_tokens: 1532", "token=None, use_token=False", "sk-learn-compatible-estimators",
        "postgresql://me:{password}@db", "postgresql://me:${DB_PASSWORD}@db", "postgresql://me:$DB_PASSWORD@db",
        "postgresql://me:***@db", "http://[::1]:8080/a@b", "Basic understanding", "Authorization: [secret:env/LAB_KEY]",
        "the token count is 3", "see secret:env/NAME", "[secret:env/LAB_KEY]",
        "password = secret:env/PW", "def tokenize(text): return text.split()", "http://localhost:8080/a@b",
        "def f(token: ms.Secret) -> str:", "def f(token: Secret, api_key: Secret | None = None): ...", "    token: SecretStr",
        "def f(secret: t.Optional[ms.Secret], password: bytes = b''):", "def f(tokens: list[str], token: dict[str, int]):",
    ],
)  # fmt: skip
def test_ordinary_text_and_references_stay(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "tokens: 131.07k", "train_tokens=1.2e9", "tokens: 123,456", "masked_tokens: 0.15000", "token: 0.00012",
        "test_pass: 0.9876",
        "processing tokens: 10000it", "tokens: 100%|###|", "second pass: 0.3333 s", "tests pass: 1234", "tokens: torch.Tensor",
        "tokens = text.split()", "assert tokens == expected", "{'token': 2829, 'token_str': 'surprised'}",
        "cookie: chocolate chips",
        "authorization: required", "python -u train.py:main", "docker run -u me:staff x", "sort -u a:bcdefgh",
        "PWD=/srv/project",
        "account key: customer_id", "API keys: missing", "access keys: ['customer', 'order1']", "access keys: [abcd, b1]",
        "API key: missing, set it",
        "access token: expired at 12:30", "access token: expired: renew it", "access token: set to None",
        "Error: API token: missing", "API tokens: hunter22",
        "def f(passphrase: str, n: int) -> str:",
        "def f(passphrase: str | None = None):", "wrong pass phrase", "passphrase: None",
        "password = os.environ['PW']", "password = getpass()", "token = tokenizer(text)[0]", "pad_token='[PAD]'",
    ],
)  # fmt: skip
def test_logs_of_training_stay_readable(text: str) -> None:
    assert redact(text) == text


def test_redacting_twice_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_PASSWORD", "some-long-password")
    once = redact("password=some-long-password and postgresql://me:abcd1234@db")
    assert redact(once) == once


def test_each_line_of_a_long_secret_is_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_PRIVATE_KEY", "-----BEGIN PRIVATE KEY-----\nfirst-line-of-it\nsecond-line-of-it\nab\n")
    assert redact("line by line: second-line-of-it") == "line by line: [secret:env/LAB_PRIVATE_KEY]"
    assert redact("abacus") == "abacus"


@pytest.mark.parametrize(
    "value", ['pa"ss/w0rd+12345', "p@ssw0rd12345", "naïvew0rd!99", "two\twords&more=1", "back\\slash-1"]
)
def test_a_secret_is_redacted_however_it_is_written(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("WRITTEN", value)
    resolve("secret:env/WRITTEN")
    for text in (
        urlencode({"k": value}), quote(value), quote(value, safe=""), json.dumps([value]),
        json.dumps([value], ensure_ascii=False), repr([value]), ascii(value),
    ):  # fmt: skip
        assert "[secret:env/WRITTEN]" in redact(text), text


def test_a_secret_that_holds_another_is_redacted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_A_PASSWORD", "short-one")
    monkeypatch.setenv("LAB_B_PASSWORD", "short-one-and-its-rest")
    assert redact("short-one-and-its-rest") == "[secret:env/LAB_B_PASSWORD]"


KEY = [
    "-----BEGIN RSA PRIVATE KEY-----",
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
    "U2Vjb25k+/==",
    "-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("lead", ["", "INFO app: ", 'KEY = """'])
def test_a_private_key_is_redacted_line_by_line(lead: str) -> None:
    redaction = LineRedaction()
    shown = [redaction.line(line) for line in ["before", lead + KEY[0], *KEY[1:], "after"]]
    assert shown == ["before", f"{lead}[redacted]", "[redacted]", "[redacted]", "[redacted]", "after"]


def test_another_streams_line_does_not_end_a_private_key() -> None:
    redaction = LineRedaction()
    shown = [redaction.line(line) for line in [*KEY[:2], "WARNING: a line of stderr", *KEY[2:], "word"]]
    assert shown == ["[redacted]", "[redacted]", "WARNING: a line of stderr", "[redacted]", "[redacted]", "word"]


def test_a_private_key_without_an_end_does_not_hide_the_rest() -> None:
    redaction = LineRedaction()
    assert [redaction.line(line) for line in KEY[:2]] == ["[redacted]"] * 2
    assert redaction.part(KEY[2]) == "[redacted]"
    for number in range(5):
        assert redaction.line(f"loss: {number}") == f"loss: {number}"
    assert redaction.line("word") == "word"


def test_a_private_key_in_one_line_ends_there() -> None:
    redaction = LineRedaction()
    assert redaction.line("\\n".join(KEY)) == "[redacted]"
    assert redaction.line("word") == "word"


@pytest.mark.parametrize(
    "text",
    [
        "a" * 60_000,
        "password" * 8_000,
        "://a:" * 12_000,
        "token='" * 9_000,
        "x" * 9 + ",;" * 9_000,
        "key=" * 20_000,
        "password=abcd" + "})" * 40_000 + "x",
        "?key=a" * 15_000,
        "-u " + "x" * 60_000,
        "-u " + "a1" * 40_000,
        "sk-" * 30_000,
        "a.key=b.key=c.key=" * 5_000,
        "eyJ" * 30_000,
        "mysql -p " * 10_000,
        "curl -u " * 10_000,
        "password=" + "{" * 60_000,
        "pass phrase " * 10_000,
        "passphrase: '" * 8_000,
        "api key: " * 10_000,
    ],
)
def test_hostile_lines_are_searched_in_time_that_grows_with_their_length(text: str) -> None:
    assert len(redact(text)) > 1000


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("password", "hunter2", "[redacted]"),
        ("password", "secret:env/PW", "secret:env/PW"),
        ("key", Secret("secret:env/PW"), "secret:env/PW"),
        ("nested", {"db": {"token": "abcdef", "n": 1}}, {"db": {"token": "[redacted]", "n": 1}}),
        ("passwords", ["a1b2c3", "secret:env/PW"], ["[redacted]", "secret:env/PW"]),
        ("depth", 3, 3),
    ],
)
def test_a_parameter_is_recorded_without_its_secrets(name: str, value: Any, kept: Any) -> None:
    assert redact_value(name, value) == kept


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("note=password=hunter22", "note=password=[redacted]"),
        ("key = 'password: hunter22'", "key = 'password: [redacted]'"),
        ("curl -u ada:hunter22 https://h", "curl -u ada:[redacted] https://h"),
        ("docker run -u 1000:1000 image", "docker run -u 1000:1000 image"),
        ("mysqldump -h db -phunter22 shop", "mysqldump -h db -p[redacted] shop"),
        ("psql --password 'hunter22 x' db", "psql --password '[redacted]' db"),
        ("run --token --force now", "run --token --force now"),
        ("cp -pr folder other", "cp -pr folder other"),
        ("passphrase: correct horse battery staple", "passphrase: [redacted]"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl end", "[redacted] end"),
        ("https://x.blob.core.windows.net/c?sp=r&sig=abcdEFGH1234%2Babcd&x=1", "https://x.blob.core.windows.net/c?sp=r&sig=[redacted]&x=1"),
        ("s3.aws/x?X-Amz-Date=2&X-Amz-Signature=aeeed9bbccd4&n=1", "s3.aws/x?X-Amz-Date=2&X-Amz-Signature=[redacted]&n=1"),
        ("s3.aws/x?X-Amz-Credential=ada01/2013", "s3.aws/x?X-Amz-Credential=[redacted]"),
        ("s3.aws/x?X-Amz-Security-Token=FwoGZXIv", "s3.aws/x?X-Amz-Security-Token=[redacted]"),
        ("https://g/x?X-Goog-Signature=247a2aa45f16", "https://g/x?X-Goog-Signature=[redacted]"),
        ("https://s3/x?AWSAccessKeyId=a&Signature=abc%2Fdefg", "https://s3/x?AWSAccessKeyId=a&Signature=[redacted]"),
        ("https://h/x?signature={signature}&sort_key=name", "https://h/x?signature={signature}&sort_key=name"),
        ("https://h/x?access_token=abcdefgh&api_key=abcdefgh", "https://h/x?access_token=[redacted]&api_key=[redacted]"),
        ("https://h/x?key=customer-2024-01-segments", "https://h/x?key=customer-2024-01-segments"),
        ("https://h/x?key=raw/2013/january-01.csv", "https://h/x?key=raw/2013/january-01.csv"),
        ("https://h/x?key=january-2013-of-flights.csv", "https://h/x?key=january-2013-of-flights.csv"),
        ("https://h/x?key=name", "https://h/x?key=name"),
        ("AccountName=x;AccountKey=abcd1234==;Suffix=y", "AccountName=x;AccountKey=[redacted];Suffix=y"),
        ("API key: hunter22hunter", "API key: [redacted]"), ("API key: sk_live_abcdefgh", "API key: [redacted]"),
        ("access token: ghp_abcdefgh", "access token: [redacted]"), ("API key: my_very_long_key", "API key: [redacted]"),
        ("access token: hunter2", "access token: [redacted]"), ("access token: swordfish", "access token: [redacted]"),
        ("auth token: QWxhZGRpbjpvcGVu", "auth token: [redacted]"), ("access token = expired", "access token = [redacted]"),
        ("the token: hunter", "the token: [redacted]"),
        ("access token: invalid: hunter22", "access token: invalid: [redacted]"),
        ("access token: expired token: hunter22", "access token: expired token: [redacted]"),
        ("API token: set to swordfish", "API token: set to [redacted]"),
        ("password: changed to 'hunter 22'", "password: changed to '[redacted]'"),
        ("secret key = 'hunter22'", "secret key = '[redacted]'"),
        ("SSH key: hunter22hunter", "SSH key: [redacted]"),
        ("pass phrase: hunter22", "pass phrase: [redacted]"),
        ("pass phrase: correct horse battery staple", "pass phrase: [redacted]"),
        ("Pass  phrase = it's correct, horse; battery: staple\nnext", "Pass  phrase = [redacted]\nnext"),
        ("told 'pass phrase: correct, horse' to n", "told 'pass phrase: [redacted]' to n"),
        ("{'pass phrase': \"it's a, horse\", 'n': 3}", "{'pass phrase': \"[redacted]\", 'n': 3}"),
        ("passphrase: 'correct horse, bat", "passphrase: '[redacted]"),
        ("def f(passphrase: str = 'hunter 22') -> None:", "def f(passphrase: str = '[redacted]') -> None:"),
        ("SSH_PASSPHRASE=a correct, horse", "SSH_PASSPHRASE=[redacted]"),
        ("secret key: wJalrXUtnFEMIKMDENGbPxRfiCYEXAMPLEKEY", "secret key: [redacted]"),
        ("{'API  key': 'hunter22'}", "{'API  key': '[redacted]'}"),
        ("api_keys: hunter22hunter", "api_keys: [redacted]"),
        ("primary key: order_id", "primary key: order_id"),
        ("Cookie: a=b; session=abcdef123", "Cookie: [redacted]"),
        ("Authorization: ApiKey abcd1234abcd", "Authorization: ApiKey [redacted]"),
        ("password: str = 'hunter22'", "password: str = '[redacted]'"),
        ("password: str='hunter22'", "password: str='[redacted]'"),
        ("API_KEY: Final = 'hunter22'", "API_KEY: Final = '[redacted]'"),
        ("password = Secret('hunter22')", "password = Secret('[redacted]')"),
        ('password = ("hunter22")', 'password = ("[redacted]")'),
        ('password = """hunter22"""', 'password = """[redacted]"""'),
        ("os.getenv('DB_PASSWORD', 'hunter22')", "os.getenv('DB_PASSWORD', '[redacted]')"),
        ("environ.setdefault('API_TOKEN', 'hunter22')", "environ.setdefault('API_TOKEN', '[redacted]')"),
        ("password=abcd\\ efgh n=3", "password=[redacted] n=3"),
        ("sshpass -p hunter22 ssh h", "sshpass -p [redacted] ssh h"),
        ("redis-cli -h h -a hunter22 ping", "redis-cli -h h -a [redacted] ping"),
        ("docker login -u me -p hunter22 h", "docker login -u me -p [redacted] h"),
        ("""sh -c 'true --token '"'"'hunter22'"'"''""", """sh -c 'true --token '"'"'[redacted]'"'"''"""),
        ("true --password \\\n  hunter22", "true --password \\\n  [redacted]"),
    ],
)  # fmt: skip
def test_secrets_of_commands_and_addresses_are_redacted(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    "value", ['hunter2 "naïve"/p4ss&word', "hunter2longenough", "back\\slash'1234", "tab\t&<quoted>"]
)
def test_a_secret_is_redacted_as_texts_within_texts_write_it(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("WITHIN", value)
    resolve("secret:env/WITHIN")
    data = value.encode()
    lower = re.sub("%..", lambda escape: escape[0].lower(), quote(value, safe=""))
    for text in (
        json.dumps(json.dumps([value])), repr((json.dumps(json.dumps(value)),)), repr(data), repr([f"\"it's {value}"]),
        lower,
        html.escape(value), html.escape(value, quote=False), data.hex(), b64encode(data).decode(),
        urlsafe_b64encode(data).decode().rstrip("="),
        *(b64encode(user + b":" + data).decode() for user in (b"a", b"ab", b"abc")),
    ):  # fmt: skip
        assert "[secret:env/WITHIN]" in redact(text), text
