"""The media type of a file: by its first bytes where they are telling, else by its name. The machine's tables don't count."""

from __future__ import annotations

from functools import lru_cache
from mimetypes import MimeTypes

UNKNOWN = "application/octet-stream"
_MORE = {
    ".avif": "image/avif", ".csv": "text/csv", ".flac": "audio/flac", ".gz": "application/gzip", ".heic": "image/heic",
    ".jsonl": "application/x-ndjson", ".md": "text/markdown", ".ndjson": "application/x-ndjson", ".npy": "application/x-npy",
    ".onnx": "application/onnx", ".parquet": "application/vnd.apache.parquet", ".toml": "application/toml",
    ".webp": "image/webp", ".yaml": "application/yaml", ".yml": "application/yaml", ".zst": "application/zstd",
}  # fmt: skip
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"), (b"%PDF-", "application/pdf"),
    (b"PAR1", "application/vnd.apache.parquet"), (b"II*\0", "image/tiff"), (b"MM\0*", "image/tiff"),
    (b"\x1f\x8b", "application/gzip"), (b"\x28\xb5\x2f\xfd", "application/zstd"), (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"), (b"\x93NUMPY", "application/x-npy"), (b"SQLite format 3\0", "application/vnd.sqlite3"),
)  # fmt: skip
_STARTS = (*(magic for magic, _ in _MAGIC), b"RIFF")
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/x-wav", b"AVI ": "video/x-msvideo"}


def media_type(path: str) -> str:
    """The media type that a name's suffix says.

    >>> media_type("scans/a.PNG"), media_type("labels.jsonl"), media_type("README")
    ('image/png', 'application/x-ndjson', 'application/octet-stream')
    """
    name = path.rpartition("/")[2]
    return _by_suffix(name[name.rfind(".") :].lower()) if "." in name else UNKNOWN


def sniffed(path: str, head: bytes) -> str:
    r"""The media type that a file's first bytes say, if its name says another; else empty.

    >>> sniffed("a.png", b"\x89PNG\r\n\x1a\n"), sniffed("a.png", b"GIF89a"), sniffed("a.docx", b"PK")
    ('', 'image/gif', '')
    """
    if not head.startswith(_STARTS):
        return ""
    if head.startswith(b"RIFF"):
        found = _RIFF.get(head[8:12], "")
    else:
        found = next(media for magic, media in _MAGIC if head.startswith(magic))
    return "" if found == media_type(path) else found


def is_image(path: str, media: str) -> bool:
    """Whether a file is an image of pixels, by its media type, or is to be one by its name.

    >>> is_image("a.jfif", "image/jpeg"), is_image("a.png", "application/pdf"), is_image("a.svg", "image/svg+xml")
    (True, True, False)
    """
    return any(each.startswith("image/") and "svg" not in each for each in (media, media_type(path)))


@lru_cache(maxsize=1024)
def _by_suffix(suffix: str) -> str:
    others, standard = _table().types_map
    return _MORE.get(suffix) or standard.get(suffix) or others.get(suffix) or UNKNOWN


@lru_cache(maxsize=1)
def _table() -> MimeTypes:
    return MimeTypes()  # Python's own: what the machine lists must not change a profile
