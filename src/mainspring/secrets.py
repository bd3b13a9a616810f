"""Secrets are references, never values: `secret:env/NAME`, `secret:file/PATH`.

A reference is what gets recorded, hashed and shown; it is resolved where it is used. What was resolved, and what looks
like a secret, is taken out of every text that is about to be recorded.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from mainspring.errors import SecretError

_REFERENCE = re.compile(r"secret:(env|file)/([^\s@;,'\"]+)")
_SECRET_NAME = re.compile(
    r"(?i)(^|[_\-.])(password|passwd|pwd|secret|api_?key|access_?key|private_?key|token|credentials?)s?$"
)
_NO_SECRETS = ("PWD", "OLDPWD")  # the shell's working directory, not a password
_SHORTEST = 4  # shorter values would blank out ordinary words
_SHORTEST_INSIDE = 8  # shorter ones stand in ordinary texts by chance

# Order matters: the whole key block first, then the shapes of well-known tokens, then `name = value`.
_SHAPES = [
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    re.compile(r"\b(?:ghp|gho|ghs|github_pat|glpat|xoxb|xoxp|hf|sk|pypi)[_-][A-Za-z0-9_\-]{16,}"),
    re.compile(r"(?<=Bearer )[A-Za-z0-9._~+/=\-]{8,}"),
    re.compile(r"(?<=://)(?P<user>[^\s:/@]+):(?P<value>(?!secret:)[^\s@/]+)(?=@)"),
    re.compile(
        r"(?i)(?P<name>[\w.\-]*(?:password|passwd|secret|api_?key|access_?key|private_?key|token|credential)s?"
        r"[\"']?[ \t]*[:=][ \t]*[\"']?)(?P<value>(?!secret:|env/|file/)[^\s\"',;}]{4,})"
    ),
]
_known: dict[str, str] = {}


class Secret:
    """A reference that a step receives; `reveal()` gives the value at the moment it is needed.

    >>> Secret("secret:env/TOKEN")
    Secret('secret:env/TOKEN')
    """

    def __init__(self, reference: str) -> None:
        if not _REFERENCE.fullmatch(reference):
            # What was given may be the secret itself, so it is not shown.
            raise SecretError("This is not a secret reference; write secret:env/NAME or secret:file/PATH.")
        self.reference = reference

    def reveal(self) -> str:
        """The value; from here on it is redacted from everything that is recorded.

        Raises:
            SecretError: the variable is not set, or the file can't be read.
        """
        return resolve(self.reference)

    def __repr__(self) -> str:
        return f"Secret({self.reference!r})"

    def __str__(self) -> str:
        return self.reference

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reference == self.reference

    def __hash__(self) -> int:
        return hash(self.reference)


def resolve(text: str) -> str:
    """A text with each secret reference in it replaced by its value.

    Raises:
        SecretError: a variable is not set, or a file can't be read; the text names the reference only.

    >>> resolve("plain")
    'plain'
    """
    return _REFERENCE.sub(lambda match: _value(match[1], match[2], match[0]), text)


def is_reference(text: str) -> bool:
    """Whether a text is one secret reference and nothing else.

    >>> is_reference("secret:file/run/secrets/db"), is_reference("hunter2")
    (True, False)
    """
    return _REFERENCE.fullmatch(text) is not None


def names_secret(name: str) -> bool:
    """Whether a parameter or variable of this name holds a secret by convention.

    >>> names_secret("db_password"), names_secret("MLFLOW_TRACKING_TOKEN"), names_secret("max_tokens_per_row")
    (True, True, False)
    """
    return _SECRET_NAME.search(name) is not None


def redact(text: str) -> str:
    """A text without the secrets that were resolved, those in the environment, and what has the shape of one.

    >>> redact("postgresql://me:hunter22@db/x and api_key = 'abcd1234'")
    "postgresql://me:[redacted]@db/x and api_key = '[redacted]'"
    """
    for value, reference in (_in_environment() | _known).items():
        if value in text:
            text = text.replace(value, f"[{reference}]")
    for shape in _SHAPES:
        text = shape.sub(_blank, text)
    return text


def redact_value(name: str, value: object) -> object:
    """A parameter's value as it may be recorded: a secret by name or shape becomes `[redacted]`, references stay.

    >>> redact_value("password", "hunter2"), redact_value("password", "secret:env/PW"), redact_value("n", 3)
    ('[redacted]', 'secret:env/PW', 3)
    """
    if isinstance(value, Secret):
        return value.reference
    if isinstance(value, str):
        if not value or is_reference(value):
            return value
        return "[redacted]" if names_secret(name) else redact(value)
    if isinstance(value, dict):
        return {key: redact_value(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_value(name, item) for item in value]
    return value


def refuse_value(place: str, name: str, value: object) -> None:
    """Refuse a secret's value in a place that is recorded, where a reference to it belongs.

    Raises:
        SecretError: the name says that the value is a secret, or it holds one that was resolved or is in the environment.
    """
    if isinstance(value, str | dict | list | tuple):
        _refuse(place, name, value, _in_environment() | _known)


def refuse_output(place: str, value: object) -> None:
    """Refuse a result that is, or holds, the value of a secret that was resolved in this process: it would be stored.

    Containers and records are walked; of other values, such as tables, what their `repr` shows is looked at. Where no
    secret was resolved it costs nothing.

    Raises:
        SecretError: place and reference are named, never the value.
    """
    if _known and (reference := _held(value, set())) is not None:
        raise SecretError(
            f"{place}: it holds the value of `{reference}`, which would be stored. Return what was made with the secret,"
            " and pass on the ms.Secret instead of its value."
        )


def _held(value: object, met: set[int]) -> str | None:
    """The reference of the first secret that a value holds."""
    if value is None or isinstance(value, bool | int | float):
        return None
    if isinstance(value, str):
        return _held_in_text(value)
    if isinstance(value, bytes | bytearray):
        return _held_in_text(value.decode("utf-8", "replace"))
    if id(value) in met:
        return None
    met.add(id(value))
    inner = _parts(value)
    if inner is None:
        return _held_in_text(_shown(value))
    return next((found for item in inner if (found := _held(item, met)) is not None), None)


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  # a class of somebody else may do anything
        return ""


def _parts(value: object) -> list[object] | None:
    """What a container or record holds; None for what is neither."""
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    fields = getattr(type(value), "__struct_fields__", None) or getattr(type(value), "__dataclass_fields__", None)
    return [getattr(value, name, None) for name in fields] if fields else None


def _held_in_text(text: str) -> str | None:
    for secret, reference in _known.items():
        if text == secret or (len(secret) >= _SHORTEST_INSIDE and secret in text):
            return reference
    return None


def _refuse(place: str, name: str, value: object, known: dict[str, str]) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse(place, str(key), item, known)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse(place, name, item, known)
    elif isinstance(value, str):
        _refuse_text(place, name, value, known)


def _refuse_text(place: str, name: str, value: str, known: dict[str, str]) -> None:
    if is_reference(value) or not value:
        return
    if names_secret(name):
        raise SecretError(
            f"{place}: `{name}` is a secret by its name, and its value would be recorded. Give a reference,"
            " secret:env/NAME or secret:file/PATH (or give it another name, if it is none)."
        )
    for secret, reference in known.items():
        if secret in value:
            raise SecretError(
                f"{place}: it holds the value of `{reference}`, which would be recorded. Pass ms.Secret(…)."
            )


def _blank(match: re.Match[str]) -> str:
    groups = match.groupdict()
    if "value" not in groups:
        return "[redacted]"
    return match[0].replace(groups["value"], "[redacted]") if groups["value"] != "[redacted]" else match[0]


def _value(kind: str, name: str, reference: str) -> str:
    if kind == "env":
        value = os.environ.get(name)
        if value is None:
            raise SecretError(f"`{reference}`: the environment variable `{name}` is not set")
    else:
        # `secret:file/run/secrets/db` is absolute: the slash belongs to the reference and to the path.
        path = Path(name) if name.startswith(("~", ".")) else Path("/" + name)
        try:
            value = path.expanduser().read_text().rstrip("\n")
        except OSError as error:
            raise SecretError(f"`{reference}`: {path} can't be read ({os.strerror(error.errno or 0)})") from error
    if len(value) >= _SHORTEST:
        _known[value] = reference
    return value


def _in_environment() -> dict[str, str]:
    return {
        value: f"secret:env/{name}"
        for name, value in os.environ.items()
        if len(value) > _SHORTEST
        and names_secret(name)
        and name not in _NO_SECRETS
        and not value.isdigit()
        and not is_reference(value)
    }
