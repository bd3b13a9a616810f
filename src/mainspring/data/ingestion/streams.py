"""Bytes of a file on their way in: digested as they are read, decompressed, decoded, and cut into blocks of whole records."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from encodings.aliases import aliases
from typing import Any, BinaryIO, NamedTuple, cast

from blake3 import blake3

from mainspring.data.ingestion.source import StaleState
from mainspring.errors import InvalidError, MissingExtraError, StorageError, close_names

BLOCK_BYTES = 16 << 20
_LONGEST_RECORD = 256 << 20
_READ_BYTES = 1 << 20
_MARKS = (  # that of UTF-32 begins as that of UTF-16 does
    (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"), (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip
_MARK_BYTES = 4
_MAGIC = ((b"\x1f\x8b", "gzip"), (b"BZh", "bz2"), (b"\xfd7zXZ\x00", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"))
_MAGIC_BYTES = 6
_NO_TEXT = {"base64-codec", "bz2-codec", "hex-codec", "quopri-codec", "rot-13", "uu-codec", "zlib-codec", "mbcs", "oem"}


class Prefix(NamedTuple):
    """How much of a file was read, and the digest of that."""

    size_bytes: int
    digest: str


class DigestedStream(io.RawIOBase):
    """A file that digests what is read from it. What was read before must still stand there, or `StaleState` is raised."""

    def __init__(self, file: BinaryIO, expected: Prefix | None = None) -> None:
        self._file, self._expected = file, expected
        self._hasher = blake3()
        self.size_bytes = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: object) -> int:
        """Some bytes."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # whatever has a buffer
        expected = self._expected
        wanted = len(view) if expected is None else min(len(view), max(expected.size_bytes - self.size_bytes, 1))
        data = self._file.read(wanted)
        view[: len(data)] = data
        self._hasher.update(data)
        self.size_bytes += len(data)
        if expected is not None and (self.size_bytes >= expected.size_bytes or not data):
            if self.prefix != expected:
                raise StaleState
            self._expected = None
        return len(data)

    @property
    def prefix(self) -> Prefix:
        """What was read so far."""
        return Prefix(self.size_bytes, self._hasher.hexdigest())

    def drain(self) -> Prefix:
        """Read to the end."""
        while self.read(_READ_BYTES):
            pass
        return self.prefix


def decompressed(stream: DigestedStream, uri: str) -> BinaryIO:
    """The bytes that a file stands for: gzip, bzip2, xz and Zstandard are known by how they begin.

    Raises:
        MissingExtraError: it is Zstandard, and its library is not installed.
    """
    buffered = io.BufferedReader(stream, _READ_BYTES)
    head = buffered.peek(_MAGIC_BYTES)
    kind = next((kind for magic, kind in _MAGIC if head.startswith(magic)), "")
    if kind == "gzip":
        return cast("BinaryIO", gzip.GzipFile(fileobj=buffered))
    if kind == "bz2":
        return cast("BinaryIO", bz2.BZ2File(buffered))
    if kind == "xz":
        return cast("BinaryIO", lzma.LZMAFile(buffered))
    if kind == "zstd":
        try:
            import zstandard
        except ImportError as error:
            raise MissingExtraError("zstandard", "zstd", f"Reading `{uri}`") from error
        return cast("BinaryIO", _Zstandard(zstandard.ZstdDecompressor(), buffered))
    return cast("BinaryIO", buffered)


class _Zstandard(io.RawIOBase):
    """Zstandard frames one behind the other; the library's own reader doesn't notice that the last one is cut off."""

    def __init__(self, decompressor: Any, file: BinaryIO) -> None:
        self._decompressor, self._file = decompressor, file
        self._frame = decompressor.decompressobj()
        self._is_begun = False
        self._ready = b""

    def read(self, size: int = -1) -> bytes:
        """Some bytes; EOFError if they end within a frame."""
        while not self._ready:
            data = self._frame.unused_data if self._frame.eof else b""
            data = data or self._file.read(_READ_BYTES)
            if not data:
                if self._is_begun and not self._frame.eof:
                    raise EOFError("it ends within a frame")
                return b""
            if self._frame.eof:
                self._frame = self._decompressor.decompressobj()
            self._is_begun = True
            self._ready = self._frame.decompress(data)
        taken = self._ready if size < 0 else self._ready[:size]
        self._ready = self._ready[len(taken) :]
        return taken


class Blocks:
    """The text of a file in UTF-8, in blocks that end with a record; `line` counts the lines before the next block.

    `quote` is the character between which a line break ends no record, if there is one. Reading goes on behind `skip` bytes
    of text if that is given.
    """

    def __init__(
        self, file: BinaryIO, uri: str, *, encoding: str = "auto", quote: bytes = b"", skip: int = 0, line: int = 0
    ) -> None:
        self.uri, self.line, self.taken_bytes = uri, line, 0
        self._file, self._quote, self._skip = file, quote, skip
        self._encoding, self._declared = encoding, encoding
        self._decoder: codecs.IncrementalDecoder | None = None
        self._is_begun, self._is_leading = False, True
        self._lines_decoded = line

    def __iter__(self) -> Iterator[bytes]:
        """Each block."""
        rest = b""
        while True:
            data, is_end = self._filled(rest)
            end = len(data) if is_end else self._last_end(data)
            if end:
                block, rest = data[:end], data[end:]
                self._check(block)
                self.taken_bytes += end
                if self.taken_bytes > self._skip:  # blocks are cut where they were before
                    start = max(self._skip - (self.taken_bytes - end), 0)
                    yield block[start:]
                    self.line += block.count(b"\n", start)
            else:
                rest = data
                if len(rest) > _LONGEST_RECORD:
                    raise InvalidError(
                        f"{self.uri}, line {self.line + 1}", rest[:60].decode("utf-8", "replace"),
                        "a record that ends within 256 MiB", "Is a quote left open, or another separator meant?",
                    )  # fmt: skip
            if is_end:
                return

    def _filled(self, rest: bytes) -> tuple[bytes, bool]:
        pieces, size = [rest], len(rest)
        wanted = size + BLOCK_BYTES
        while size < wanted:
            piece = self._read()
            if piece is None:
                return b"".join(pieces), True
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces), False

    def _read(self) -> bytes | None:
        """Some text as UTF-8; None at the end."""
        data = read_some(self._file, self.uri, _READ_BYTES)
        if not self._is_begun:
            data = self._begin(data)
        if self._decoder is None:
            return data or None
        try:
            text = self._decoder.decode(data, final=not data)
        except UnicodeError as error:  # UTF-16 that begins with no mark, where one was declared, stands at no byte
            raise self._undecodable(data, getattr(error, "start", 0)) from error
        if self._is_leading:  # what joins files puts one mark behind another
            text = text.lstrip("\ufeff")
            self._is_leading = not text
        self._lines_decoded += text.count("\n")
        return text.encode() if data or text else None

    def _begin(self, data: bytes) -> bytes:
        self._is_begun = True
        data = self._at_least(data, _MARK_BYTES)
        for mark, encoding in _MARKS:
            if data.startswith(mark) and _fits(self._encoding, encoding):
                self._encoding = encoding
                break
        if self._encoding == "auto":
            self._encoding = "utf-8"
        info = codecs.lookup(self._encoding)
        if info.name not in ("utf-8", "utf-8-sig", "ascii"):
            self._decoder = info.incrementaldecoder()
            return data
        while data.startswith(codecs.BOM_UTF8):
            data = self._at_least(data[len(codecs.BOM_UTF8) :], len(codecs.BOM_UTF8))
        return data

    def _at_least(self, data: bytes, count: int) -> bytes:
        """These bytes, and so many of those behind them that a mark isn't cut."""
        while len(data) < count and (more := read_some(self._file, self.uri, _READ_BYTES)):
            data += more
        return data

    def _check(self, block: bytes) -> None:
        if self._decoder is not None or block.isascii():
            return
        try:
            block.decode()
        except UnicodeDecodeError as error:
            raise self._undecodable(block, error.start) from error

    def _undecodable(self, data: bytes, start: int) -> InvalidError:
        before = self._lines_decoded if self._decoder is not None else self.line
        line = before + data.count(b"\n", 0, start) + 1
        hint = (
            "Declare the file's encoding, e.g. encoding='cp1252' (Western Windows) or 'latin-1'."
            if self._declared == "auto"
            else "Another encoding is meant."
        )
        given = f"byte 0x{data[start]:02x}" if start < len(data) else "the end of the file"
        return InvalidError(f"{self.uri}, line {line}", given, f"text in {self._encoding}", hint)

    def _last_end(self, data: bytes) -> int:
        """Where the last whole record ends: behind a line break outside of quotes."""
        end = data.rfind(b"\n") + 1
        if not self._quote or not end:
            return end
        is_open = data.count(self._quote, 0, end) % 2 == 1
        while end and is_open:
            before = data.rfind(b"\n", 0, end - 1) + 1
            is_open ^= data.count(self._quote, before, end) % 2 == 1
            end = before
        return end


def read_some(file: BinaryIO, uri: str, size: int) -> bytes:
    """Some bytes of a file; what is cut off or damaged is an error that names it."""
    try:
        return file.read(size)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise StorageError(uri, f"the compressed file is cut off or damaged ({error})") from error
    except OSError as error:
        raise StorageError(uri, f"it can't be read ({error.strerror or error})") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "zstandard":
            raise
        raise StorageError(uri, f"the compressed file is cut off or damaged ({error})") from error


def expect_encoding(name: str) -> None:
    """Go on only if it is `auto` or text is written so; raises `InvalidError`, as of `base64`, which Python knows, too."""
    try:
        if name != "auto":
            "".encode(name)
            codecs.getincrementaldecoder(name)
    except (LookupError, ValueError) as error:
        near = close_names(name.lower(), sorted({each.replace("_", "-") for each in aliases.values()} - _NO_TEXT))
        hint = f"Nearest: {', '.join(near)}." if near else ""
        raise InvalidError(
            "encoding", name, "a text encoding, e.g. `utf-8`, `utf-16`, `cp1252` or `latin-1`", hint
        ) from error


def _fits(declared: str, marked: str) -> bool:
    return declared == "auto" or marked.startswith(codecs.lookup(declared).name.removesuffix("-sig"))
