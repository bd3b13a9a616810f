"""Values of secrets are refused where they would be recorded."""

from __future__ import annotations

from typing import Any

import msgspec
import polars as pl
import pytest

from mainspring.errors import SecretError
from mainspring.secrets import (
    Secret,
    redact,
    redact_value,
    refuse_name,
    refuse_output,
    refuse_value,
    resolve,
)
from tests.secrets.test_redaction import KEY


def test_a_number_is_a_secret_only_as_a_whole_and_never_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_PASSWORD", "1234567890")
    monkeypatch.setenv("LAB_PIN_PASSWORD", "12345")
    monkeypatch.setenv("LAB_MAX_TOKENS", "200000")
    assert redact("pin 1234567890.") == "pin [secret:env/LAB_PASSWORD]."
    assert redact("n=91234567890, 12345, 200000") == "n=91234567890, 12345, 200000"
    refuse_value("place", "n", "91234567890")
    with pytest.raises(SecretError, match="LAB_PASSWORD"):
        refuse_value("place", "n", "1234567890")


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
