"""Secrets are references, never values: `secret:env/NAME`, `secret:file/PATH`.

A reference is what gets recorded, hashed and shown; it is resolved where it is used. What was resolved, and what looks
like a secret, is taken out of every text that is about to be recorded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from mainspring.errors import SecretError

_REFERENCE = re.compile(r"secret:(env|file)/([^\s@;,'\"]+)")
_SECRET_NAME = re.compile(
    r"(?i)(?:(?:^|[_\-.])(?:pwd|pass|token|credentials?)s?|(?-i:[a-z](?:Pwd|Token|Credentials?))"
    r"|password|passwd|passphrase|sshpass|secret|(?:secret|api|access|private)[_\-]?key)s?$"
)
_NO_SECRETS = ("PWD", "OLDPWD")  # the shell's working directory, not a password
_SHORTEST = 4  # shorter values would blank out ordinary words
_SHORTEST_INSIDE = 8  # shorter ones stand in ordinary texts by chance
_SHORTEST_DIGITS = 6  # as do shorter numbers
# Set by whoever installs a database or a server: they hide nothing, and stand in ordinary texts.
_DEFAULTS = frozenset(
    """admin administrator changeme change-me change_me default disabled enabled example false guest localhost mainspring minio
    minioadmin mongodb mysql oracle passw0rd password placeholder postgres postgresql rabbitmq redis secret testing
    token unused your-password""".split()
)
_DEEPEST_QUOTED = 3  # JSON in JSON in the `repr` of an exception
_LONGEST_KEY = 400  # lines of a private key; RSA with 16,384 bits has 200
_STRANGE_LINE = 80  # of these; after five lines that are no part of a key it is taken for ended

_NAMES = r"(?:password|passwd|passphrase|[_\-.]pwd|secret|api_?key|access_?key|private_?key|token|credential)s?"
_STANDS_IN = (  # for a value: a reference, what was redacted before, a gap of a template
    r"(?!\[?secret:|\[redacted\]|env/|file/|\$?\{[^}\s]*\}|\$[A-Z][A-Z0-9_]*\b|<[\w \-]*>|%\(\w+\)s|\*+(?![^\s@\"']))"
)
_TYPE = (  # behind a parameter's name, as a traceback shows it
    r"(?:(?:\w+\.)*Optional\[)?(?:\w+\.)*(?:Secret(?:Str)?|bytes)\]?"
    r"|(?:\w+\.)*(?:[Ll]ist|[Tt]uple|[Ss]et|[Dd]ict|Sequence|Iterable|Mapping)\[[\w., |\[\]]*\]"
)
_NOTHING = rf"(?!(?:None|null|[Tt]rue|[Ff]alse|{_TYPE})(?![^\s,;)}}\]\"']))"
_NEXT = r"[})\]]*(?:[,;&][ \t]*[\"']?[\w.\-]+[\"']?[ \t]*[:=]|[,;]?(?:\s|$))"  # where a value without quotes ends
_KEY_BLOCK = r"(?s:-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z))"
_KEY_LINE = r"[\s\"'|>]*(?:[A-Za-z0-9+/=]+|-----END [A-Z ]*PRIVATE KEY-----)[\s\"',;)\\]*"
_TOKENS = [
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    r"\bms_[0-9a-f]{12}_[A-Za-z0-9_\-]{43}",  # a person's, of Mainspring's server
    r"\b(?:ghp|gho|ghs|github_pat|glpat|xoxb|xoxp|hf|sk|pypi)[_-](?=[A-Za-z_\-]*\d)[A-Za-z0-9_\-]{16,}",
]
_HEADER = (
    rf"(?i:authorization[\"']?[ \t]*[:=][ \t]*[\"']?(?:(?:basic|bearer|digest|token)[ \t]+)?){_STANDS_IN}"
    r"(?P<value>[^\s\"',;]{8,})"
)
# A port is no password, and a password may hold slashes and at signs though it should not.
_IN_URL = (
    rf"(?<=://)[^\s:/@\[]*:(?!\d{{1,5}}[/,?#]){_STANDS_IN}"
    r"(?P<value>[^\s@\"'<>]{1,256}(?:@[^\s@/?#:,\"'<>]{1,256}){0,8})(?=@)"
)
_IN_SETTINGS = (  # of a query string, or of a database driver
    rf"(?i:(?<![^\s?&;,])(?P<name>[\w.\-]*{_NAMES})=){_STANDS_IN}(?P<value>(?=[^\s&;,]*\d)[^\s&;,\"']{{4,}})"
)
_NAMED = (
    rf"(?i:(?<![\w.\-])(?P<name>[\w.\-]*{_NAMES})(?:\\?[\"'])?[ \t]*[:=]{{1,2}}>?[ \t]*)"
    rf"(?:[bBrRuUfF]{{0,2}}(?P<quote>\\?[\"']){_STANDS_IN}(?P<quoted>(?:(?!(?P=quote))(?:\\.|[^\\\n])){{4,}})(?P=quote)"
    rf"|(?:\\?[\"'])?{_STANDS_IN}{_NOTHING}(?![=:>])(?P<value>(?:(?!{_NEXT})[^\s\"']){{4,}}))"
)
# Order matters: the whole key block first, then the shapes of well-known tokens, then `name = value`. They are compiled
# when first needed, as that takes milliseconds.
_SHAPES = (_KEY_BLOCK, *_TOKENS, r"(?<=Bearer )[A-Za-z0-9._~+/=\-]{8,}", _HEADER, _IN_URL, _NAMED)
_SURE_SHAPES = (_KEY_BLOCK, *_TOKENS, _HEADER, _IN_URL, _IN_SETTINGS)  # not met in ordinary prose
# One for the process, as its log and its environment are: whoever resolved a secret, no thread may record it.
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


def references_in(text: str) -> list[str]:
    """The secret references in a text.

    >>> references_in("Bearer secret:env/TOKEN"), references_in("plain")
    (['secret:env/TOKEN'], [])
    """
    return [match[0] for match in _REFERENCE.finditer(text)]


def names_secret(name: str) -> bool:
    """Whether a parameter or variable of this name holds a secret by convention.

    >>> names_secret("db_password"), names_secret("PGPASSWORD"), names_secret("max_tokens_per_row")
    (True, True, False)
    """
    return _names_secret(name)


@lru_cache(maxsize=4096)  # each text that is redacted asks for every variable of the environment
def _names_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def redact(text: str) -> str:
    """A text without the secrets that were resolved, those in the environment, and what has the shape of one.

    >>> redact("postgresql://me:hunter22@db/x and api_key = 'abcd1234'")
    "postgresql://me:[redacted]@db/x and api_key = '[redacted]'"
    """
    for value, reference in _values():
        if value in text:
            text = (
                re.sub(_whole(value), f"[{reference}]", text)
                if value.isdigit()
                else text.replace(value, f"[{reference}]")
            )
    for shape in _compiled(_SHAPES):
        text = shape.sub(_blank, text)
    return text


class LineRedaction:
    """Redacts a text that comes line by line, in which a private key is many lines.

    >>> redaction = LineRedaction()
    >>> [redaction.line(line) for line in ("-----BEGIN PRIVATE KEY-----", "MIIEvQ==", "-----END PRIVATE KEY-----", "loss")]
    ['[redacted]', '[redacted]', '[redacted]', 'loss']
    """

    def __init__(self, redact_line: Callable[[str], str] = redact) -> None:
        self._redact_line = redact_line
        self._left = 0  # lines for which a key may still go on

    def part(self, text: str) -> str:
        """A line that is not finished, as it may be shown; it is given again when it has grown."""
        return "[redacted]" if self._left and re.fullmatch(_KEY_LINE, text) else self._redact_line(text)

    def line(self, text: str) -> str:
        """A finished line as it may be recorded."""
        shown = self.part(text)
        blocks = list(re.finditer(_KEY_BLOCK, text))
        if blocks and not blocks[-1][1]:
            self._left = _LONGEST_KEY
        elif self._left:
            is_end = "-----END" in text
            self._left = 0 if is_end else max(0, self._left - (1 if re.fullmatch(_KEY_LINE, text) else _STRANGE_LINE))
        return shown


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
        return {
            redact(key) if isinstance(key, str) else key: redact_value(str(key), item) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact_value(name, item) for item in value]
    return value


def refuse_value(place: str, name: str, value: object) -> None:
    """Refuse a secret's value in a place that is recorded, where a reference to it belongs.

    Raises:
        SecretError: the name says that the value is a secret, or it holds one: by its shape, such as a URL with a
            password, or because it was resolved or is in the environment.
    """
    if isinstance(value, str | dict | list | tuple) or _record_fields(value):
        _refuse(place, name, value, set())


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


def refuse_name(place: str, name: str) -> None:
    """Refuse the name of something that is recorded if it holds the value of a secret that was resolved in this process.

    Raises:
        SecretError: place and reference are named, never the value.
    """
    if _known and (reference := _held_in_text(name)) is not None:
        raise SecretError(f"{place}: it holds the value of `{reference}`, which would be recorded. Name it without.")


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
    fields = _record_fields(value)
    return [getattr(value, name, None) for name in fields] if fields else None


def _record_fields(value: object) -> Iterable[str]:
    """The names of the fields of a Struct, dataclass or named tuple; none for all else."""
    kind = type(value)
    found: Iterable[str] = getattr(kind, "__struct_fields__", ()) or getattr(kind, "__dataclass_fields__", ())
    return found or (getattr(kind, "_fields", ()) if isinstance(value, tuple) else ())


def _held_in_text(text: str) -> str | None:
    return next((reference for secret, reference in _known.items() if _holds(text, secret)), None)


def _holds(text: str, secret: str) -> bool:
    return text == secret or (len(secret) >= _SHORTEST_INSIDE and secret in text)


def _without(reference: str) -> str:
    """How to go on if what a reference leads to is no secret."""
    kind, _, name = reference.partition("/")
    return f", or start without the variable if it is no secret: `env -u {name} …`" if kind == "secret:env" else ""


def _refuse(place: str, name: str, value: object, met: set[int]) -> None:
    fields = _record_fields(value)
    if fields and id(value) not in met:
        met.add(id(value))  # records may lead back to themselves
        for field in fields:
            _refuse(place, field, getattr(value, field, None), met)
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse(place, str(key), item, met)
    elif isinstance(value, list | tuple) and not fields:
        for item in value:
            _refuse(place, name, item, met)
    elif isinstance(value, str) and value and not is_reference(value):
        _refuse_text(place, name, value)


def _refuse_text(place: str, name: str, value: str) -> None:
    if names_secret(name):
        raise SecretError(
            f"{place}: `{name}` is a secret by its name, and its value would be recorded. Give a reference,"
            " secret:env/NAME or secret:file/PATH (or give it another name, if it is none)."
        )
    for secret, reference in _values():
        if _holds(value, secret) and (not secret.isdigit() or re.search(_whole(secret), value)):
            raise SecretError(
                f"{place}: `{name}` holds the value of `{reference}`, which would be recorded. Pass ms.Secret(…)"
                f"{_without(reference)}."
            )
    if any(_blank(match) != match[0] for shape in _compiled(_SURE_SHAPES) for match in shape.finditer(value)):
        raise SecretError(
            f"{place}: `{name}` holds what has the shape of a secret, such as a key, a token or a URL with a password,"
            " which would be recorded. Pass ms.Secret(…), reveal it inside the step, and keep the rest apart from it"
            " (if it is none, let a step read or make it)."
        )


@lru_cache
def _compiled(shapes: tuple[str, ...]) -> list[re.Pattern[str]]:
    return [re.compile(shape) for shape in shapes]


def _blank(match: re.Match[str]) -> str:
    """A match without its secret."""
    groups = match.groupdict()
    group = next((name for name in ("quoted", "value") if groups.get(name) is not None), None)
    if group is None:
        return "[redacted]"
    value, start = groups[group], match.start(group) - match.start()
    if (groups.get("name") or "").lower().endswith("tokens") and value.isdigit():
        return match[0]  # a count of what a language model read
    return match[0] if value == "[redacted]" else f"{match[0][:start]}[redacted]{match[0][start + len(value) :]}"


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
    if len(value) >= _SHORTEST and not _is_default(value):
        for each in _as_recorded(value):
            _known[each] = reference
    return value


def _values() -> tuple[tuple[str, str], ...]:
    """The values that are secrets here, with their references, the longest first: one may be a part of another."""
    return _ordered(tuple(_in_environment()), len(_known))


@lru_cache(maxsize=4)  # asked for each text that is redacted; what is known only grows
def _ordered(in_environment: tuple[tuple[str, str], ...], count: int) -> tuple[tuple[str, str], ...]:  # noqa: ARG001  # says which are known
    found = {form: reference for reference, value in in_environment for form in _as_recorded(value)}
    return tuple(sorted((found | _known).items(), key=lambda known: -len(known[0])))


def _in_environment() -> Iterator[tuple[str, str]]:
    """The references to variables that hold secrets, with their values."""
    for name in os.environ:
        if not _names_secret(name) or name in _NO_SECRETS:
            continue
        value = os.environ.get(name, "")
        is_number = value.isdigit() and (len(value) < _SHORTEST_DIGITS or name.lower().endswith("tokens"))
        if len(value) > _SHORTEST and not is_number and not is_reference(value) and not _is_default(value):
            yield f"secret:env/{name}", value


def _is_default(value: str) -> bool:
    return value.lower() in _DEFAULTS


@lru_cache(maxsize=4096)  # asked for each text that is redacted
def _as_recorded(value: str) -> tuple[str, ...]:
    """The value, as logs are read line by line each of its lines that says something by itself, and their other forms."""
    lines = value.splitlines() if "\n" in value else ()
    plain = [value, *(line for line in lines if len(line) >= _SHORTEST_INSIDE and not line.startswith("-----"))]
    return tuple(dict.fromkeys([*plain, *(form for text in plain for form in _forms(text))]))


def _forms(text: str) -> Iterator[str]:
    """How others write a text: within URLs and HTML, as bytes, and in quotes, also those of a text within a text."""
    from html import escape
    from urllib.parse import quote, quote_plus

    data = text.encode("utf-8", "surrogatepass")
    for form in (quote(data), quote(data, safe=""), quote_plus(data), quote_plus(data, safe="/")):
        yield from (form, re.sub("%..", lambda match: match[0].lower(), form))
    yield from (escape(text), escape(text, quote=False))
    quoted = {text}
    for _ in range(_DEEPEST_QUOTED):
        quoted = {form for each in quoted for form in (each, *_quoted(each))}
    yield from quoted
    if len(data) >= _SHORTEST_INSIDE:
        yield from (data.hex(), data.hex().upper(), *_in_base64(data))


def _quoted(text: str) -> tuple[str, ...]:
    """A text as JSON and Python write it between quotes; what stands before it may be why they escape its own."""
    import json

    data = ("\"'" + text).encode("utf-8", "surrogatepass")
    return (
        json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1], ascii(text)[1:-1],
        repr("\"'" + text)[4:-1], ascii("\"'" + text)[4:-1], repr(data[2:])[2:-1], repr(data)[5:-1],
    )  # fmt: skip


def _in_base64(data: bytes) -> Iterator[str]:
    """What bytes are in base64, whatever stands before and behind them there: the characters that they alone decide."""
    from base64 import b64encode, urlsafe_b64encode

    for encode in (b64encode, urlsafe_b64encode):
        yield encode(data).decode()
        for before in range(3):
            start, end = -(-before * 8 // 6), (before + len(data)) * 8 // 6
            yield encode(bytes(before) + data).decode()[start:end]


def _whole(number: str) -> str:
    return rf"(?<!\d){number}(?!\d)"
