"""What has the shape of a secret in a text: well-known tokens, keys, URLs with passwords, and values behind names of secrets.

Each search takes time in proportion to the text: nothing that may be long is looked through from more than one place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from mainspring.secrets.names import names_secret


class Shape(NamedTuple):
    """A pattern whose `value` is secret, or all of it. Where it has a `name`, that must be one of a secret, and `behind` it
    follows what is secret. Every match holds one of the `hints`: a search for those takes a tenth of the time.
    """

    pattern: str
    hints: tuple[str, ...]
    behind: str = ""


_STANDS_IN = (  # for a value: a reference, what was redacted before, a gap of a template
    r"(?!\[?secret:|\[redacted\]|env/|file/|\$?\{[^}\s]{0,99}\}|\$[A-Z][A-Z0-9_]{0,99}\b|<[\w \-]{0,99}>|%\(\w{0,99}\)s"
    r"|\*{1,99}(?![^\s@\"']))"
)
_TYPE = (  # behind a parameter's name, as a traceback shows it
    r"(?:(?:\w+\.)*Optional\[)?(?:\w+\.)*(?:Secret(?:Str)?|bytes)\]?"
    r"|(?:\w+\.)*(?:[Ll]ist|[Tt]uple|[Ss]et|[Dd]ict|Sequence|Iterable|Mapping)\[[\w., |\[\]]{0,99}\]"
)
_CALL = r"[A-Za-z_][\w.]{0,99}[(\[]"  # an expression, which says where a value comes from
_NOTHING = rf"(?!(?:None|null|[Tt]rue|[Ff]alse|{_TYPE})(?![^\s,;)}}\]\"'])|{_CALL})"
_NEXT = r"[})\]]{0,8}(?:[,;&][ \t]{0,8}[\"']?[\w.\-]{1,64}[\"']?[ \t]{0,8}[:=]|[,;]?(?:\s|$))"  # where one without quotes ends
_LONG = 4_096
_QUOTED = (
    rf"[bBrRuUfF]{{0,2}}(?P<quote>\\?(?:\"{{3}}|'{{3}}|[\"'])){_STANDS_IN}"
    rf"(?P<quoted>(?:(?!(?P=quote))(?:\\.|[^\\\n])){{4,{_LONG}}})(?P=quote)"
)
_VALUE = rf"(?:\\?[\"'])?{_STANDS_IN}{_NOTHING}(?![=:>])(?P<value>(?:\\.|(?!{_NEXT})[^\s\"']){{4,{_LONG}}})"

KEY_BLOCK = r"(?s:-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z))"
KEY_LINE = r"[\s\"'|>]*(?:[A-Za-z0-9+/=]+|-----END [A-Z ]*PRIVATE KEY-----)[\s\"',;)\\]*"
_START = r"(?<![A-Za-z0-9_\-])"
_PREFIXES = ("gh", "glpat", "xox", "xapp", "hf", "sk", "pk", "npm", "pypi", "_v1")
_KNOWN = r"(?:gh[opsu]|github_pat|glpat|xox[bp]|xapp|hf|[ps]k|npm|pypi|do[op]_v1)[_-]"
_TOKENS = (
    Shape(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b", ("akia", "asia")),
    Shape(r"\bms_[0-9a-f]{12}_[A-Za-z0-9_\-]{43}", ("ms_",)),  # a person's, of Mainspring's server
    Shape(
        rf"{_START}{_KNOWN}"
        r"(?=[A-Za-z_\-]{0,64}\d)[A-Za-z0-9_\-]{16,}",
        _PREFIXES,
    ),
    Shape(r"\bAIza[0-9A-Za-z_\-]{35}", ("aiza",)),  # Google's
    Shape(
        rf"{_START}eyJ[A-Za-z0-9_\-]{{8,}}\.[A-Za-z0-9_\-]{{8,}}\.[A-Za-z0-9_\-]*", ("eyj",)
    ),  # JSON Web Token, RFC 7519
    Shape(r"(?<=hooks\.slack\.com/services/)[A-Za-z0-9_/]{16,}", ("hooks.slack.com",)),
)
_BEARER = Shape(r"(?<=Bearer )[A-Za-z0-9._~+/=\-]{8,}", ("bearer ",))
_AUTHORIZATION = Shape(
    rf"(?i:authorization[\"']?[ \t]{{0,8}}[:=][ \t]{{0,8}}[\"']?(?:[a-z]{{1,16}}[ \t]{{1,8}})?){_STANDS_IN}"
    r"(?P<value>(?=[^\s\"',;]{0,20}\d|[^\s\"',;]{20})[^\s\"',;]{8,})",
    ("authorization",),
)
_COOKIE = Shape(
    rf"(?i:\bcookie[\"']?[ \t]{{0,8}}[:=][ \t]{{0,8}}[\"']?){_STANDS_IN}(?P<value>[\w.\-]{{1,64}}=[^\n\"']{{3,}})",
    ("cookie",),
)
# A port is no password, and a password may hold slashes and at signs though it should not.
_IN_URL = Shape(
    rf"(?<=://)[^\s:/@\[]{{0,256}}:(?!\d{{1,5}}[/,?#]){_STANDS_IN}"
    r"(?P<value>[^\s@\"'<>]{1,256}(?:@[^\s@/?#:,\"'<>]{1,256}){0,8})(?=@)",
    ("://",),
)
_SIGNATURE = Shape(  # of a signed address: Azure's `sig`, `X-Amz-Signature`, `X-Goog-Signature`
    rf"(?i:[?&;](?:[\w.\-]{{0,40}}signature|sig)=){_STANDS_IN}(?P<value>[^\s&;\"'<>]{{8,}})", ("sig",)
)

_OF_NAMES = ("pass", "pwd", "secret", "token", "credential", "key", "auth", "pat", "jwt")
# A name that may be one of a secret, each looked through once: the rule of names decides.
_NAME = rf"(?=[\w.\-]*?(?i:{'|'.join(_OF_NAMES)}))(?P<name>[\w.\-]++)"
_IN_SETTINGS = Shape(  # of a query string, or of a database driver
    rf"(?<![^\s?&;,]){_NAME}=", _OF_NAMES, rf"{_STANDS_IN}(?P<value>(?=[^\s&;,]{{0,64}}\d)[^\s&;,\"']{{4,}})"
)
_ANNOTATED = r"(?:[ \t]{0,8}:[ \t]{0,8}[A-Za-z_][\w.\[\], |]{0,64}=(?=[ \t]{0,8}[\w.(]{0,40}[bBrRuUfF]{0,2}[\"']))"
_GIVEN = (  # what stands between a name and its value
    rf"(?:{_ANNOTATED}|(?!{_ANNOTATED})(?:\\?[\"'])?\]?[ \t]{{0,8}}[:=]{{1,2}}>?)[ \t]{{0,8}}"
)
_WRAPPED = rf"(?:(?:[A-Za-z_][\w.]{{0,40}})?\({{1,2}})?{_QUOTED}"
_SET_TO = r"(?:(?i:set|changed)[ \t]{1,3}to[ \t]{1,3})?+"
_NAMED = Shape(rf"(?<![\w.\-]){_NAME}", _OF_NAMES, rf"{_GIVEN}{_SET_TO}(?:{_WRAPPED}|{_VALUE})")
# What no word is: it has a digit, is long, has underscores and is not short, or begins as known keys do.
_NO_WORD = (
    rf"(?=[^\s\"',;]{{0,64}}\d|[^\s\"',;]{{20}}|(?=[^\s\"',;_]{{0,64}}_)[^\s\"',;]{{16}}|{_KNOWN}[^\s\"',;]{{8}})"
)
_WORDS = Shape(  # as people write a name; of those who tell about a key, many give no value
    r"(?<![\w.\-])(?P<name>[A-Za-z]{2,20}[ \t]{1,3}(?i:key|token))",
    ("key", "token"),
    rf"(?:\\?[\"'])?[ \t]{{0,8}}[:=][ \t]{{0,8}}(?:{_QUOTED}|{_NO_WORD}{_VALUE})",
)
_PHRASE = Shape(  # several words: to the end of the line, to what closes a quote around it, or to the next `name=`
    r"(?<![\w.\-])(?P<name>[\w.\-]*+(?i:(?<=passphrase))|(?i:pass[ \t]{1,3}phrase))", ("phrase",),
    rf"{_GIVEN}(?:{_WRAPPED}|(?:\\?[\"'])?(?!\s){_STANDS_IN}{_NOTHING}(?!str[ \t]{{0,8}}(?:[,)=|]|$))"
    r"(?P<value>(?:(?![})\]]{0,8}[,;&][ \t]{0,8}[\w.\-]{1,64}=)[^\n\"']|(?<=\w)[\"'](?=\w)){4,}))",
)  # fmt: skip
_DEFAULT = Shape(  # of a variable that is not set
    rf"(?:getenv|setdefault|environ\.get)\([ \t]{{0,8}}[\"']{_NAME}", ("getenv", "setdefault", "environ.get"),
    rf"[\"'][ \t]{{0,8}},[ \t]{{0,8}}{_QUOTED}",
)  # fmt: skip
_OPTION = Shape(  # of a command, as a line or as a list
    rf"(?<![\w\-])--?{_NAME}", _OF_NAMES,
    r"(?:[ \t]{1,8}(?:\\\n[ \t]{0,8})?|\\?[\"'][ \t]{0,8},[ \t]{0,8})(?![-\"']-)"
    rf"(?:{_QUOTED}|[\"'$\\]{{0,8}}{_STANDS_IN}(?!-)(?P<value>[^\s\"'\\]{{4,}}))",
)  # fmt: skip
_OWN_OPTION = Shape(  # of programs that are known for it
    r"\b(?:(?:curl|wget|https?)[ \t][^\n|;]{0,300}?(?<=[ \t])(?:-u[ \t]*|--user[ \t=]+)"
    r"[\"']?[^\s:\"']{1,128}+:"
    r"|(?:mysql|mariadb)[\w\-]{0,16}[ \t][^\n|;&]{0,200}?(?<=[ \t])-p|sshpass[ \t]+-p[ \t]*"
    r"|redis(?:-cli)?[ \t][^\n|;&]{0,200}?(?<=[ \t])(?:-a|--pass)[ \t]+"
    r"|docker[ \t]+login[ \t][^\n|;&]{0,200}?(?<=[ \t])-p[ \t]+)"
    rf"[\"'$\\]{{0,8}}{_STANDS_IN}(?P<value>[^\s\"']{{4,}})",
    ("curl", "wget", "http", "mysql", "mariadb", "sshpass", "redis", "docker"),
)
SURE_SHAPES = (  # not met in ordinary prose
    Shape(KEY_BLOCK, ("private key-----",)), *_TOKENS, _AUTHORIZATION, _IN_URL, _SIGNATURE, _IN_SETTINGS
)  # fmt: skip
# Order matters: the whole key block first, then the shapes of well-known tokens, then `name = value`.
SHAPES = (*SURE_SHAPES[:-1], _BEARER, _COOKIE, _PHRASE, _WORDS, _DEFAULT, _NAMED, _OPTION, _OWN_OPTION)
_TOLD = frozenset(
    "absent accepted blank denied deleted empty expired expires expiring failed found ignored invalid malformed missing none"
    " optional present rejected required revoked unknown unset unused used valid verified wrong".split()
)  # of a token; any other word may be one
_BEHIND_WORD = rf"(?<=:)[ \t]{{1,3}}(?:\\?[\"'])?{_NO_WORD}{_VALUE}"  # as in `invalid: hunter22`
_WORD_BEFORE = r"(?<![\w.\-])([A-Za-z]{2,20})[ \t]{1,3}\Z"
_NUMBER = re.compile(r"[~≈±+\-]?\d[\d.,:_]*(?:[eE][+\-]?\d+)?(?:%.*|[|/].*|[A-Za-z]{0,3})")


def without_shapes(text: str, shapes: tuple[Shape, ...]) -> str:
    """A text with `[redacted]` in the place of what has one of the shapes."""
    for shape in _hinted(text, shapes):
        shown, end = "", 0
        for start, stop in _secrets(shape, text):
            shown += f"{text[end:start]}[redacted]"
            end = stop
        text = shown + text[end:]
    return text


def has_shape(text: str, shapes: tuple[Shape, ...]) -> bool:
    """Whether something in a text has one of the shapes."""
    return any(True for shape in _hinted(text, shapes) for _ in _secrets(shape, text))


def _hinted(text: str, shapes: tuple[Shape, ...]) -> list[Shape]:
    lower = text.lower()
    return [shape for shape in shapes if any(hint in lower for hint in shape.hints)]


@cache  # when first needed, as it takes milliseconds
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _secrets(shape: Shape, text: str) -> Iterator[tuple[int, int]]:
    """Where the secrets of a shape stand."""
    search, at = _compiled(shape.pattern), 0
    while match := search.search(text, at):
        at = max(match.end(), at + 1)
        name = match.groupdict().get("name")
        if name is not None and not names_secret(name):
            continue  # with what follows, which may hold another name
        found = _compiled(shape.behind).match(text, match.end()) if shape.behind else match
        if found is None:
            continue
        group = next((each for each in ("quoted", "value") if found.groupdict().get(each) is not None), 0)
        at = max(found.end(), at)
        if found[group] == "[redacted]" or _is_quantity(name, found[group]):
            continue
        if group == "value" and _is_told(text, match.start(), found):
            found = _compiled(_BEHIND_WORD).match(text, found.end("value"))
            if found is None or _is_quantity(name, found["value"]):
                continue
            at = found.end()
        yield found.span(group)


def _is_told(text: str, start: int, found: re.Match[str]) -> bool:
    """Whether a word behind `token:` tells about a token that people name in two words, as in `access token: expired`."""
    if found["value"].rstrip(":") not in _TOLD or not text.startswith(("token:", "Token:"), start):
        return False
    before = _compiled(_WORD_BEFORE).search(text, max(start - 24, 0), start)
    return before is not None and names_secret(f"{before[1]} token")


def _is_quantity(name: str | None, value: str) -> bool:
    """Whether a number says how much there was of something: of a text's tokens, or in a pass."""
    if name is None or not name.lower().endswith(("token", "tokens", "pass", "passes")):
        return False
    return _NUMBER.fullmatch(value.strip("()[]{}")) is not None
