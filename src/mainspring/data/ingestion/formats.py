"""How files are to be read: their format, and what can be said about each."""

from __future__ import annotations

from typing import Literal

import msgspec

from mainspring.data.ingestion.streams import expect_encoding
from mainspring.errors import InvalidError, close_names

Format = Literal["", "csv", "ndjson", "parquet", "excel"]
FORMATS = {
    "csv": "csv", "tsv": "csv", "txt": "csv", "ndjson": "ndjson", "jsonl": "ndjson", "parquet": "parquet", "pq": "parquet",
    "xlsx": "excel", "xls": "excel", "xlsb": "excel", "ods": "excel",
}  # fmt: skip
_COMPRESSED = ("gz", "bz2", "xz", "zst", "zstd")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How files are read. What is left out is known by the name's ending, a byte-order mark, or is CSV's custom.

    `encoding` is `auto` (UTF-8, or what a byte-order mark says) or declared, and so is `separator` (a comma, or a tab if the
    name says so). `ragged="pad"` fills lines that are short with nulls; long ones are an error always. `dates` looks for
    dates and times of ISO 8601 in text columns of CSV. `sheet` is Excel's, the first if empty. `changed` is what becomes of
    a file that was read before and differs now: `refuse`, or be read `again`; an upsert reads it again without being told.
    """

    format: Format = ""
    encoding: str = "auto"
    separator: str = "auto"
    quote: str = '"'
    ragged: Literal["refuse", "pad"] = "refuse"
    null_values: tuple[str, ...] = ()
    dates: bool = False
    sheet: str = ""
    changed: Literal["refuse", "again"] = "refuse"

    def __post_init__(self) -> None:
        """Raises `InvalidError` if text can't be written so."""
        expect_encoding(self.encoding)
        if self.quote and not _is_sign(self.quote, spaces=False):
            expected = (
                "one ASCII character, or none if quotes are plain text, and no letter, digit, space or line break"
            )
            raise InvalidError("quote", _shown(self.quote), expected)
        if self.separator != "auto" and (not _is_sign(self.separator) or self.separator == self.quote):
            expected = "one ASCII character other than `quote`, letters, digits and line breaks"
            raise InvalidError("separator", _shown(self.separator), expected)


def _is_sign(text: str, *, spaces: bool = True) -> bool:
    """Whether a text is one character that may stand between fields, or around them without `spaces`, but not in them."""
    is_one = len(text) == 1 and text.isascii() and not text.isalnum() and text not in "\n\r\0"
    return is_one and (spaces or (text.isprintable() and text != " "))


def _shown(text: str) -> str:
    """A text whose line breaks, tabs and the like can be seen."""
    return repr(text)[1:-1]


def options_of(given: Options, name: str) -> Options:
    r"""What holds for a file of this name.

    Raises:
        InvalidError: the name doesn't say its format, and nobody does; or an option has no meaning.

    >>> found = options_of(Options(), "january.tsv.gz")
    >>> found.format, found.separator
    ('csv', '\t')
    """
    ending = _ending(name)
    found = given.format or FORMATS.get(ending, "")
    if found not in set(FORMATS.values()):
        near = close_names(ending, FORMATS)
        raise InvalidError(
            f"{name}: format", found or ending, "one of csv, ndjson, parquet, excel",
            f"Say format='…'{f', or name it .{near[0]}' if near else ''}.",
        )  # fmt: skip
    separator = ("\t" if ending == "tsv" else ",") if given.separator == "auto" else given.separator
    return msgspec.structs.replace(given, format=found, separator=separator)


def part_of(given: Options, name: str) -> str:
    """Which part of a file of this name is read: a sheet, empty for the first one or the whole.

    >>> part_of(Options(sheet="May"), "2013.xlsx"), part_of(Options(sheet="May"), "2013.csv")
    ('May', '')
    """
    return given.sheet if (given.format or FORMATS.get(_ending(name))) == "excel" else ""


def _ending(name: str) -> str:
    """What a name says of the format, behind which only a compression's ending may come."""
    endings = [ending for ending in name.lower().rpartition("/")[2].split(".")[1:] if ending not in _COMPRESSED]
    return endings[-1] if endings else ""
