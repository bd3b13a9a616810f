"""The error tree. Every error says what is wrong, what was expected and what to do, and keeps its data as attributes.

MainspringError
├── NotFoundError (LookupError)        something named does not exist; carries the nearest names
│   └── RemovedError                   its data was removed, its record is kept
├── ExistsError (ValueError)           something is there already
├── InvalidError (ValueError)          a value is wrong: path, what was given, what was expected
├── WrongTypeError (TypeError)         a value has the wrong type: path, given, expected
├── ConfigError (ValueError)           a setting is wrong: where it was set, and what it takes
├── SecretError (LookupError)          a secret reference can't be resolved
├── MissingExtraError (ImportError)    an optional dependency is not installed
├── MissingLibraryError (OSError)      a shared library of the system is not installed
├── GraphError (ValueError)            a pipeline can't be run as declared: cycle, missing output, unknown step
├── CodecError (TypeError)             no codec takes a value, or one can't keep its promise for it
├── NotServedError (LookupError)       a server has no such route
├── UnsupportedError (RuntimeError)    what a server doesn't take; clients may go another way
├── StepError (RuntimeError)           a step failed: its place, kind, attempt and log
├── ModelError (RuntimeError)           a model failed in a process of its own
├── WorkerError (RuntimeError)         the workers of a server don't start; the code is that of why
├── RebuildError (RuntimeError)         a recorded environment can't be had here
├── NotAllowedError (PermissionError)  the action needs a permission that was not given
├── ConflictError (RuntimeError)       somebody else changed it first; transient
│   └── LeaseLostError                 the work was taken over; the late commit is refused
└── StorageError (OSError)             state can't be read or written: the directory or address is named
    ├── CorruptBlobError               stored bytes no longer match their digest
    └── UnavailableError               a database or blob store can't be reached; transient
        └── ModelAwayError             a model's own process ended or isn't ready; transient
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath

_NOT_LOADED = re.compile(r"(?P<library>[^\s/:]+\.so[.\d]*): cannot open shared object file")  # as glibc says it
_PACKAGES = {"libgomp.so.1": "libgomp1"}  # of Debian, by the library


class MainspringError(Exception):
    """What every error of Mainspring is."""

    code = "error"
    transient = False


class NotFoundError(MainspringError, LookupError):
    """Something named does not exist, anywhere or in its `owner`."""

    code = "not_found"

    def __init__(self, kind: str, name: str, near: Sequence[str] = (), hint: str = "", owner: str = "") -> None:
        self.kind, self.name, self.near, self.owner = kind, name, tuple(near), owner
        nearest = f" Nearest: {', '.join(near)}." if near else ""
        what = f"{owner} has no {kind}" if owner else f"No {kind}"
        super().__init__(f"{what} `{name}`.{nearest}{' ' + hint if hint else ''}")


class RemovedError(NotFoundError):
    """The data of something was removed; its record is kept. `removed_at` says when, in words."""

    code = "removed"

    def __init__(self, kind: str, name: str, removed_at: str) -> None:
        super().__init__(f"data of {kind}", name, hint=f"It was removed at {removed_at}; its record is kept.")
        self.removed_at = removed_at


class ExistsError(MainspringError, ValueError):
    """Something is there already."""

    code = "exists"

    def __init__(self, kind: str, name: str, hint: str = "") -> None:
        self.kind, self.name = kind, name
        super().__init__(f"There is {article(kind)} `{name}` already.{' ' + hint if hint else ''}")


class InvalidError(MainspringError, ValueError):
    """A value is wrong."""

    code = "invalid"

    def __init__(self, path: str, given: object, expected: str, hint: str = "") -> None:
        self.path, self.given, self.expected, self.hint = path, given, expected, hint
        super().__init__(f"{path}: `{shorten(given)}` is not {expected}.{' ' + hint if hint else ''}")

    def at(self, path: str) -> InvalidError:
        """The same of a place that is known better."""
        return InvalidError(path, self.given, self.expected, self.hint)


class WrongTypeError(MainspringError, TypeError):
    """A value has the wrong type."""

    code = "wrong_type"

    def __init__(self, path: str, given: object, expected: str, hint: str = "") -> None:
        self.path, self.given, self.expected = path, given, expected
        kind = type(given).__qualname__
        super().__init__(
            f"{path}: `{shorten(given)}` is {article(kind)}, expected {expected}.{' ' + hint if hint else ''}"
        )


class ConfigError(MainspringError, ValueError):
    """A setting is wrong."""

    code = "config"

    def __init__(self, message: str, origin: str = "") -> None:
        self.origin = origin
        super().__init__(f"{origin}: {message}" if origin else message)


class SecretError(MainspringError, LookupError):
    """A secret reference can't be resolved. The text never holds a secret's value."""

    code = "secret"


class MissingExtraError(MainspringError, ImportError):
    """An optional dependency is not installed."""

    code = "missing_extra"

    def __init__(self, module: str, extra: str, purpose: str) -> None:
        self.module, self.extra = module, extra
        super().__init__(f"{purpose} needs `{module}`, which is not installed. Run: pip install 'mainspring[{extra}]'")


class MissingLibraryError(MainspringError, OSError):
    """A shared library of the system, which something is linked to, is not installed."""

    code = "missing_library"

    def __init__(self, library: str, purpose: str) -> None:
        self.library = library
        package = _PACKAGES.get(library)
        install = f"Run: apt-get install {package}" if package else "Install the package of this system that has it."
        super().__init__(f"{purpose} needs the shared library `{library}`, which this system doesn't have. {install}")

    @classmethod
    def of(cls, error: Exception, purpose: str) -> MissingLibraryError | None:
        """The same as what a loader says, if that is what it says."""
        found = _NOT_LOADED.search(str(error)) if isinstance(error, OSError | ImportError) else None
        return cls(found["library"], purpose) if found else None


class GraphError(MainspringError, ValueError):
    """A pipeline can't be run as declared."""

    code = "graph"

    def __init__(self, message: str, step: str = "") -> None:
        self.step = step
        super().__init__(f"Step `{step}`: {message}" if step else message)


class CodecError(MainspringError, TypeError):
    """No codec takes a value, or a codec can't keep its promise for it."""

    code = "codec"


class NotServedError(MainspringError, LookupError):
    """A server has no such route."""

    code = "not_served"


class UnsupportedError(MainspringError, RuntimeError):
    """A request that a server doesn't take; clients may go another way."""

    code = "unsupported"


class StepError(MainspringError, RuntimeError):
    """A step failed.

    `kind` is one of error, timeout, memory, signal, exit, lost.
    """

    code = "step_failed"

    def __init__(self, step: str, kind: str, message: str, attempt: int = 1) -> None:
        self.step, self.kind, self.attempt, self.message = step, kind, attempt, message
        super().__init__(f"Step `{step}` failed ({kind}, attempt {attempt}): {message}")


class ModelError(MainspringError, RuntimeError):
    """A model failed, in its own process or `where` is said. `kind` is the type of what it raised, `trace` where, as text."""

    code = "model_failed"

    def __init__(
        self, model: str, kind: str, message: str, trace: str = "", *, where: str = "in its own process"
    ) -> None:
        self.model, self.kind, self.message, self.trace, self.where = model, kind, message, trace, where
        super().__init__(f"{model} failed {where}: {kind}{': ' if message else ''}{message}")


class WorkerError(MainspringError, RuntimeError):
    """The workers of a server don't start. Its `code` is that of what the last one said, if it said something."""

    code = "worker_failed"

    def __init__(self, said: str, code: str = "") -> None:
        self.said, self.code = said, code or type(self).code
        super().__init__(said)


class RebuildError(MainspringError, RuntimeError):
    """A recorded environment can't be had here. `missing` names what is lacking."""

    code = "rebuild"

    def __init__(self, missing: str, reason: str, hint: str = "") -> None:
        self.missing, self.reason = missing, reason
        super().__init__(
            f"The recorded environment can't be rebuilt here: {missing} can't be had, {reason}.{' ' + hint if hint else ''}"
        )


class NotAllowedError(MainspringError, PermissionError):
    """The action needs a permission that was not given."""

    code = "not_allowed"


class ConflictError(MainspringError, RuntimeError):
    """Somebody else changed it first; reading again and retrying may succeed."""

    code = "conflict"
    transient = True


class LeaseLostError(ConflictError):
    """The work was taken over by another worker, so this commit is refused."""

    code = "lease_lost"
    transient = False

    def __init__(self, name: str, token: int, current: int | None, *, was_taken_over: bool = False) -> None:
        self.name, self.token, self.current = name, token, current
        now = f"token {current} holds it now" if current is not None else "nobody holds it now"
        if was_taken_over:
            now = "another process took it over, and has ended since"
        super().__init__(f"The lease `{name}` with token {token} is lost: {now}. Nothing was committed.")


class StorageError(MainspringError, OSError):
    """State can't be read or written."""

    code = "storage"

    def __init__(self, place: str, reason: str, hint: str = "") -> None:
        self.place, self.reason = place, reason
        super().__init__(f"{place}: {reason}.{' ' + hint if hint else ''}")


class CorruptBlobError(StorageError):
    """Stored bytes no longer match their digest. `needed_by` is what was read, the innermost first, where that is known."""

    code = "corrupt_blob"

    def __init__(self, digest: str, found: str, place: str, needed_by: Sequence[str] = ()) -> None:
        self.digest, self.found, self.needed_by = digest, found, tuple(needed_by)
        known = f"It is {' of '.join(needed_by)}. " if needed_by else ""
        super().__init__(
            place,
            f"the blob `{digest[:12]}` is corrupt (its bytes hash to `{found[:12]}`)",
            f"{known}`mainspring doctor --blobs` says what depends on it; adding or committing the same content again "
            "repairs it.",
        )


class UnavailableError(StorageError):
    """A database or blob store can't be reached."""

    code = "unavailable"
    transient = True


class ModelAwayError(UnavailableError):
    """A model's own process ended or isn't ready. `retry_s` is after how many seconds it is worth asking again."""

    code = "model_away"

    def __init__(self, model: str, reason: str, retry_s: float) -> None:
        self.model, self.retry_s = model, retry_s
        super().__init__(model, reason)


@contextmanager
def depended_on(what: str) -> Iterator[None]:
    """Have a corrupt blob that is met in the block say what needs it.

    >>> with depended_on("run 1f"), depended_on("the recorded code"):
    ...     raise CorruptBlobError("ab", "cd", "/blobs")
    Traceback (most recent call last):
    mainspring.errors.CorruptBlobError: /blobs: the blob `ab` is corrupt (...). It is the recorded code of run 1f. ...
    """
    try:
        yield
    except CorruptBlobError as error:
        raise CorruptBlobError(error.digest, error.found, error.place, (*error.needed_by, what)) from error


def close_names(name: str, known: Iterable[str], at_most: int = 3) -> list[str]:
    """The known names nearest to a misspelt one, best first.

    >>> close_names("chrun", ["churn", "flights"])
    ['churn']
    """
    import difflib  # only a misspelt name pays for it

    return difflib.get_close_matches(name, list(known), n=at_most, cutoff=0.5)


def listed(names: Sequence[str], at_most: int = 8) -> str:
    """Names as a part of a sentence, the first few of many.

    >>> listed(["a", "b"]), listed([]), listed(["a", "b", "c", "d"], 2)
    ('`a`, `b`', 'none', '`a`, `b` and 2 more')
    """
    shown = ", ".join(f"`{name}`" for name in names[:at_most])
    return f"{shown} and {len(names) - at_most} more" if len(names) > at_most else shown or "none"


def counted(count: int, noun: str) -> str:
    """A count with its noun.

    >>> counted(1, "run"), counted(2_000, "run")
    ('1 run', '2,000 runs')
    """
    return f"{count:,} {noun if count == 1 else noun + 's'}"


def shorten(value: object, at_most: int = 80) -> str:
    """A value as text that fits an error line; the path of a file is whole, as it is of no use otherwise.

    >>> shorten("x" * 200, 10)
    'xxxxxxx...'
    """
    if isinstance(value, PurePath):
        return str(value)
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= at_most else text[: at_most - 3] + "..."


def article(noun: str) -> str:
    """The noun behind its indefinite article.

    >>> article("int"), article("str")
    ('an int', 'a str')
    """
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
