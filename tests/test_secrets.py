"""Secrets: references go everywhere, values nowhere."""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import polars as pl
import pytest

from mainspring.errors import SecretError
from mainspring.secrets import (
    LineRedaction,
    Secret,
    is_reference,
    names_secret,
    redact,
    redact_value,
    refuse_name,
    refuse_output,
    refuse_value,
    resolve,
)


def test_a_reference_is_resolved_where_it_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAB_TOKEN", "token-from-env")
    (tmp_path / "key").write_text("token-from-file\n")
    assert Secret("secret:env/LAB_TOKEN").reveal() == "token-from-env"
    assert Secret(f"secret:file{tmp_path}/key").reveal() == "token-from-file"
    assert resolve("postgresql://ada:secret:env/LAB_TOKEN@db/x") == "postgresql://ada:token-from-env@db/x"


@pytest.mark.parametrize("reference", ["secret:env/LAB_NOT_SET", "secret:file/nowhere/key"])
def test_a_reference_to_nothing_is_named(reference: str) -> None:
    with pytest.raises(SecretError, match=reference):
        Secret(reference).reveal()


def test_a_secret_shows_its_reference_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TOKEN", "token-from-env")
    secret = Secret("secret:env/LAB_TOKEN")
    assert secret.reveal() not in f"{secret} {secret!r} {[secret]}"
    assert secret == Secret("secret:env/LAB_TOKEN")
    assert len({secret, Secret("secret:env/LAB_TOKEN")}) == 1


def test_a_value_is_no_reference() -> None:
    with pytest.raises(SecretError, match="secret:env/NAME") as caught:
        Secret("hunter2-in-the-clear")
    assert "hunter2" not in str(caught.value)
    assert not is_reference("hunter2")


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


def test_a_number_is_a_secret_only_as_a_whole_and_never_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_PASSWORD", "1234567890")
    monkeypatch.setenv("LAB_PIN_PASSWORD", "12345")
    monkeypatch.setenv("LAB_MAX_TOKENS", "200000")
    assert redact("pin 1234567890.") == "pin [secret:env/LAB_PASSWORD]."
    assert redact("n=91234567890, 12345, 200000") == "n=91234567890, 12345, 200000"
    refuse_value("place", "n", "91234567890")
    with pytest.raises(SecretError, match="LAB_PASSWORD"):
        refuse_value("place", "n", "1234567890")


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
    "text", ["a" * 60_000, "password" * 8_000, "://a:" * 12_000, "token='" * 9_000, "x" * 9 + ",;" * 9_000]
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
    ("name", "says"), [("db_password", True), ("apiKey", True), ("api_key", True), ("tokenizer", False)]
)
def test_names_that_hold_secrets_by_convention(name: str, says: bool) -> None:
    assert names_secret(name) is says


@pytest.mark.parametrize(("name", "value"), [("password", "hunter2"), ("options", {"a": [{"api_key": "abc"}]})])
def test_a_value_is_refused_where_it_would_be_recorded(name: str, value: Any) -> None:
    with pytest.raises(SecretError, match="place: ") as caught:
        refuse_value("place", name, value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        "postgresql://me:hunter22@db/x", ["a", {"b": "ghp_abcdefghijklmnopqrstuvwxyz0123456789"}], "\n".join(KEY),
        {"Authorization": "x", "headers": "Authorization: Basic dXNlcjpodW50ZXIyMg=="}, "AKIAABCDEFGHIJKLMNOP",
        "host=db password=hunter22 dbname=x", "https://api/v1?access_token=abc123&n=1",
    ],
)  # fmt: skip
def test_what_has_the_shape_of_a_secret_is_refused_under_any_name(value: Any) -> None:
    with pytest.raises(SecretError, match=r"place: .* has the shape of a secret") as caught:
        refuse_value("place", "url", value)
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("password", "secret:env/PW"), ("password", ""), ("password", None), ("n", "abc"),
        ("url", "postgresql://me:secret:env/PW@db/x"), ("url", "postgresql://me@db:5432/x"), ("url", "http://h:80/a@b"),
        ("prompt", "Password: required. The bearer certificates of sk-learn-compatible-estimators; token = an item"),
        ("settings", "max_tokens=4096 temperature=0.3"), ("code", "def login(user, password=None): ..."),
    ],
)  # fmt: skip
def test_references_and_ordinary_values_are_not_refused(name: str, value: Any) -> None:
    refuse_value("place", name, value)


def test_a_value_from_the_environment_is_refused_under_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_PASSWORD", "some-long-password")
    with pytest.raises(SecretError, match="secret:env/LAB_PASSWORD"):
        refuse_value("place", "url", "postgresql://me:some-long-password@db")


class Token(msgspec.Struct):
    text: str


class Grumpy:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda text: text, lambda text: f"Bearer {text}!", lambda text: ["a", {"b": (text,)}], lambda text: {text: 1},
        lambda text: {text}, lambda text: text.encode(), lambda text: Token(text), lambda text: Exception(text),
        lambda text: pl.DataFrame({"a": [text]}),
    ],
)  # fmt: skip
def test_a_result_that_holds_a_resolved_secret_is_refused(monkeypatch: pytest.MonkeyPatch, wrap: Any) -> None:
    monkeypatch.setenv("LAB_OUTPUT", "value-of-output")
    refuse_output("Step `a`", wrap("another value"))
    value = Secret("secret:env/LAB_OUTPUT").reveal()
    with pytest.raises(SecretError, match=r"Step `a`.*secret:env/LAB_OUTPUT") as caught:
        refuse_output("Step `a`", wrap(value))
    assert value not in str(caught.value)


def test_a_short_secret_is_refused_alone_but_not_inside_other_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_SHORT", "zebra")
    value = Secret("secret:env/LAB_SHORT").reveal()
    refuse_output("Step `a`", ["zebras", Grumpy(), None, 1])
    with pytest.raises(SecretError):
        refuse_output("Step `a`", [value])


def test_a_value_that_holds_itself_is_walked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_ROUND", "value-of-round")
    Secret("secret:env/LAB_ROUND").reveal()
    round_: list[Any] = []
    round_.append(round_)
    refuse_output("Step `a`", round_)


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


def test_what_everybody_knows_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_PASSWORD", "postgres")
    refuse_value("pipeline `main`", "db", "postgres")
    resolve("secret:env/POSTGRES_PASSWORD")
    refuse_value("pipeline `main`", "db", "postgresql://db/x")
    refuse_output("Step `f`", ["postgres"])
    assert redact("the driver postgresql+psycopg") == "the driver postgresql+psycopg"


def test_a_refused_value_is_named_by_its_parameter_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_PASSWORD", "house-wine")
    monkeypatch.setenv("LAB_PIN_PASSWORD", "merlot")
    with pytest.raises(
        SecretError, match=r"`main`: `wine` holds .*`secret:env/LAB_PASSWORD`.*ms\.Secret.*env -u LAB_PASSWORD"
    ):
        refuse_value("pipeline `main`", "wine", "a house-wine")
    with pytest.raises(SecretError, match="LAB_PIN_PASSWORD"):
        refuse_value("pipeline `main`", "wine", "merlot")
    refuse_value("pipeline `main`", "wine", "merlots of all years")  # a short one stands in ordinary texts by chance


def test_a_name_is_no_place_for_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAMING", "named-after-it")
    refuse_name("name of a metric", "loss of named-after-it")
    resolve("secret:env/NAMING")
    with pytest.raises(SecretError, match=r"name of a metric.*secret:env/NAMING") as caught:
        refuse_name("name of a metric", "loss of named-after-it")
    assert "named-after-it" not in str(caught.value)
    assert redact_value("n", {"named-after-it": 1}) == {"[secret:env/NAMING]": 1}
