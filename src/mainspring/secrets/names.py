"""Which names say by convention that they hold a secret: one rule for parameters, variables, options and settings.

A name is its words, at separators and humps. The last one decides, with the one before where it has other uses (`sort_key`,
`pad_token`, `first_pass`); what says where or in which form a secret is held is left out (`PASSWORD_PROD`, `PASSWORD2`).
"""

from __future__ import annotations

import re
from functools import lru_cache

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_]+")
_SECRETS = ("password", "passwd", "passphrase", "passwort", "pwd", "secret", "credential")
_KEYS = frozenset(
    """access account admin aes api auth cipher crypto deploy encrypt encryption fernet hmac jwt license licence master private
    secret sign signing ssh subscription""".split()
)
_KEYS_OF_VARIABLES = frozenset("app application client kaggle service session shared storage wandb webhook".split())
# A language model's tokens, and places in sequences.
_OTHER_TOKENS = frozenset(
    """begin bos cached cls completion count eos end eot first generated image input last mask max min more n new next num
    number output pad padding per prefix prompt reasoning sep space special start stop suffix top total unk""".split()
)
# Runs over something, filters, and words that end so.
_OTHER_PASSES = frozenset(
    """all backward band bi bottom by com double each encom fast final first forward full half high im inner last low multi next
    no one only outer over per render second single skip slow sub sur third train tres two under wave""".split()
)
_BEHIND = frozenset(
    """backup base current default dev development main new old plain previous primary prod production raw secondary stage
    staging str string test testing text value""".split()
)


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
    if not words:
        return False
    last, before = _singular(words[-1]), words[-2] if len(words) > 1 else ""
    is_variable = name.isupper()
    if last.endswith(_SECRETS):
        return True
    if last.endswith("token"):
        return (last.removesuffix("token") or before) not in _OTHER_TOKENS
    if last.endswith("pass"):
        return (last.removesuffix("pass") or before) not in _OTHER_PASSES
    if last.endswith("key"):
        whose = last.removesuffix("key") or before
        return whose in _KEYS or (is_variable and whose in _KEYS_OF_VARIABLES)
    return is_variable and bool(before) and last in ("auth", "pat")


def _singular(word: str) -> str:
    return word if word.endswith("ss") else word.removesuffix("s")
