"""What has the shape of a secret in a text: well-known tokens, keys, URLs with passwords, and values behind names of secrets.

A shape with a `name` counts where `names_secret` says so; it may have a `quoted` or plain `value`, else all of it is secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from mainspring.secrets.names import names_secret

_STANDS_IN = (  # for a value: a reference, what was redacted before, a gap of a template
    r"(?!\[?secret:|\[redacted\]|env/|file/|\$?\{[^}\s]*\}|\$[A-Z][A-Z0-9_]*\b|<[\w \-]*>|%\(\w+\)s|\*+(?![^\s@\"']))"
)
_TYPE = (  # behind a parameter's name, as a traceback shows it
    r"(?:(?:\w+\.)*Optional\[)?(?:\w+\.)*(?:Secret(?:Str)?|bytes)\]?"
    r"|(?:\w+\.)*(?:[Ll]ist|[Tt]uple|[Ss]et|[Dd]ict|Sequence|Iterable|Mapping)\[[\w., |\[\]]*\]"
)
_NOTHING = rf"(?!(?:None|null|[Tt]rue|[Ff]alse|{_TYPE})(?![^\s,;)}}\]\"']))"
_NEXT = r"[})\]]*(?:[,;&][ \t]*[\"']?[\w.\-]+[\"']?[ \t]*[:=]|[,;]?(?:\s|$))"  # where a value without quotes ends
KEY_BLOCK = r"(?s:-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z))"
KEY_LINE = r"[\s\"'|>]*(?:[A-Za-z0-9+/=]+|-----END [A-Z ]*PRIVATE KEY-----)[\s\"',;)\\]*"
_TOKENS = {
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b": ("akia", "asia"),
    r"\bms_[0-9a-f]{12}_[A-Za-z0-9_\-]{43}": ("ms_",),  # a person's, of Mainspring's server
    r"\b(?:gh[opsu]|github_pat|glpat|xox[bp]|xapp|hf|[ps]k|npm|pypi|do[op]_v1)[_-](?=[A-Za-z_\-]*\d)[A-Za-z0-9_\-]{16,}": (
        *("gh", "glpat", "xox", "xapp", "hf", "sk", "pk", "npm", "pypi", "_v1"),
    ),
    r"\bAIza[0-9A-Za-z_\-]{35}": ("aiza",),  # Google's
    r"\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*": ("eyj",),  # JSON Web Token, RFC 7519
    r"(?<=hooks\.slack\.com/services/)[A-Za-z0-9_/]{16,}": ("hooks.slack.com",),
}
_HEADER = (
    rf"(?i:(?:authorization|\bcookie)[\"']?[ \t]*[:=][ \t]*[\"']?(?:(?:basic|bearer|digest|token)[ \t]+)?){_STANDS_IN}"
    r"(?P<value>[^\s\"',;]{8,})"
)
# A port is no password, and a password may hold slashes and at signs though it should not.
_IN_URL = (
    rf"(?<=://)[^\s:/@\[]*:(?!\d{{1,5}}[/,?#]){_STANDS_IN}"
    r"(?P<value>[^\s@\"'<>]{1,256}(?:@[^\s@/?#:,\"'<>]{1,256}){0,8})(?=@)"
)
# A name that may be one of a secret, each looked through once: the rule of names decides.
_NAME = r"(?=[\w.\-]*?(?i:pass|pwd|secret|token|credential|key|auth|pat))(?P<name>[\w.\-]++)"
_IN_SETTINGS = (  # of a query string, or of a database driver
    rf"(?<![^\s?&;,]){_NAME}={_STANDS_IN}(?P<value>(?=[^\s&;,]*\d)[^\s&;,\"']{{4,}})"
)
_SIGNATURE = r"(?<=[?&]sig=)(?P<value>[^\s&\"']{16,})"  # of Azure's shared access
_NAMED = (
    rf"(?<![\w.\-]){_NAME}(?:\\?[\"'])?\]?[ \t]*[:=]{{1,2}}>?[ \t]*"
    rf"(?:[bBrRuUfF]{{0,2}}(?P<quote>\\?[\"']){_STANDS_IN}(?P<quoted>(?:(?!(?P=quote))(?:\\.|[^\\\n])){{4,}})(?P=quote)"
    rf"|(?:\\?[\"'])?{_STANDS_IN}{_NOTHING}(?![=:>])(?P<value>(?:(?!{_NEXT})[^\s\"']){{4,}}))"
)
_PHRASE = (  # several words
    rf"(?<![\w.\-])(?i:(?P<name>[\w.\-]*passphrase))[ \t]*[:=][ \t]*+{_STANDS_IN}{_NOTHING}(?P<value>[^\n\"',;]{{4,}})"
)
_OPTION = (  # of a command, as a line or as a list
    rf"(?<![\w\-])--?{_NAME}(?:[ \t]+|\\?[\"'][ \t]*,[ \t]*)(?![-\"']-)"
    rf"(?:(?P<quote>\\?[\"']){_STANDS_IN}(?P<quoted>(?:(?!(?P=quote))[^\\\n]){{4,}})(?P=quote)"
    rf"|{_STANDS_IN}(?!-)(?P<value>[^\s\"'\\]{{4,}}))"
)
_USER_OPTION = r"(?<!\S)(?:-u|--user)[ \t=]+[\"']?[^\s:\"']*[^\s:\d\"'][^\s:\"']*:(?P<value>[^\s\"']{4,})"
_GLUED_OPTION = r"\b(?:mysql|mariadb|sshpass)[\w\-]*+[^\n|;&]{0,200}?[ \t]-p(?P<value>[^\s\"']{4,})"


class Shape(NamedTuple):
    """A pattern, and small texts of which every match has one, as a search for them takes a tenth of the time."""

    pattern: str
    hints: tuple[str, ...]


_OF_NAMES = ("pass", "pwd", "secret", "token", "credential", "key", "auth", "pat")
_KEYS_AND_TOKENS = (
    Shape(KEY_BLOCK, ("private key-----",)),
    *(Shape(pattern, hints) for pattern, hints in _TOKENS.items()),
    Shape(r"(?<=Bearer )[A-Za-z0-9._~+/=\-]{8,}", ("bearer ",)),
    Shape(_HEADER, ("authorization", "cookie")),
    Shape(_IN_URL, ("://",)),
    Shape(_SIGNATURE, ("sig=",)),
)
# Order matters: the whole key block first, then the shapes of well-known tokens, then `name = value`.
SHAPES = (
    *_KEYS_AND_TOKENS,
    Shape(_PHRASE, ("passphrase",)),
    Shape(_NAMED, _OF_NAMES),
    Shape(_OPTION, _OF_NAMES),
    Shape(_USER_OPTION, ("-u",)),
    Shape(_GLUED_OPTION, ("mysql", "mariadb", "sshpass")),
)
SURE_SHAPES = tuple(  # not met in ordinary prose
    shape for shape in (*_KEYS_AND_TOKENS, Shape(_IN_SETTINGS, _OF_NAMES)) if shape.hints != ("bearer ",)
)


def without_shapes(text: str, shapes: tuple[Shape, ...]) -> str:
    """A text with `[redacted]` in the place of what has one of the shapes."""
    for pattern in _hinted(text, shapes):
        shown, end = "", 0
        for start, stop in _secrets(pattern, text):
            shown += f"{text[end:start]}[redacted]"
            end = stop
        text = shown + text[end:]
    return text


def has_shape(text: str, shapes: tuple[Shape, ...]) -> bool:
    """Whether something in a text has one of the shapes."""
    return any(True for pattern in _hinted(text, shapes) for _ in _secrets(pattern, text))


def _hinted(text: str, shapes: tuple[Shape, ...]) -> list[re.Pattern[str]]:
    lower = text.lower()
    return [_compiled(shape.pattern) for shape in shapes if any(hint in lower for hint in shape.hints)]


@cache  # when first needed, as it takes milliseconds
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _secrets(shape: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    """Where the secrets of a shape stand. Behind a name that says nothing the search goes on with its value."""
    at = 0
    while match := shape.search(text, at):
        groups = match.groupdict()
        name = groups.get("name")
        group = next((each for each in ("quoted", "value") if groups.get(each) is not None), 0)
        at = max(match.end(), at + 1)
        if name is not None and not names_secret(name):
            at = match.end("name")
        elif match[group] != "[redacted]" and not _is_count(name, match[group]):
            yield match.span(group)


def _is_count(name: str | None, value: str) -> bool:
    """Whether a number says how much a language model read."""
    return name is not None and name.lower().endswith("tokens") and value.isdigit()
