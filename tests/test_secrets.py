"""Secrets: references go everywhere, values nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from mainspring.errors import SecretError
from mainspring.secrets import (
    Secret,
    is_reference,
    names_secret,
    redact,
    redact_value,
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
        '"password": "VALUE", "other": 1', "private_key=VALUE;x=1",
    ],
)  # fmt: skip
def test_the_shape_of_a_secret_is_enough(text: str) -> None:
    value = "q8Xw3-Lm5_Pz7Rt2Kd"
    shown = redact(text.replace("VALUE", value))
    assert value not in shown
    assert "redacted" in shown


@pytest.mark.parametrize(
    "text",
    [
        "the token count is 3", "see secret:env/NAME", "[secret:env/LAB_KEY]",
        "password = secret:env/PW", "def tokenize(text): return text.split()", "http://localhost:8080/a@b",
    ],
)  # fmt: skip
def test_ordinary_text_and_references_stay(text: str) -> None:
    assert redact(text) == text


def test_redacting_twice_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_PASSWORD", "some-long-password")
    once = redact("password=some-long-password and postgresql://me:abcd1234@db")
    assert redact(once) == once


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
    ("name", "value"), [("password", "secret:env/PW"), ("password", ""), ("password", None), ("n", "abc")]
)
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
