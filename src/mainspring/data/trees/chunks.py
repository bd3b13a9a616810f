"""Large files as content-defined chunks, so that an edit or an insertion stores only what it changed.

Invariant: the chunks of a file are those that FastCDC cuts, whatever was stored before. A cut depends only on the bytes
since the cut before it, so a chunk of the older version found again at a cut needs no cutting, only its digest.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from blake3 import blake3
from pyfastcdc import FastCDC

from mainspring.artifacts import BlobAccess
from mainspring.data.trees.manifest import Chunk

LEAST_BYTES, AVERAGE_BYTES, MOST_BYTES = 256 << 10, 1 << 20, 4 << 20
Moved = Callable[[int], None]


class Chunked:
    """Reads an open file once: its digest and its chunks, of which those that `before` lacks are stored.

    The digest of the whole and those of the chunks are made by two threads from the same buffer, while it is in the
    processor's cache. With `blobs=None` nothing is stored.
    """

    def __init__(self, handle: int, before: list[Chunk], blobs: BlobAccess | None, moved: Moved) -> None:
        self.chunks: list[Chunk] = []
        self.written: list[str] = []
        self.size_bytes = 0
        self._handle, self._blobs, self._moved = handle, blobs, moved
        self._end = os.fstat(handle).st_size
        self._before, self._known = before, {chunk.digest: at for at, chunk in enumerate(before)}
        self._next = 0 if before else -1  # the older chunk expected here; −1: none is
        self._new: set[bytes] = set()
        self._cutter = FastCDC(AVERAGE_BYTES, min_size=LEAST_BYTES, max_size=MOST_BYTES)
        self._whole = blake3()
        self._buffers = [memoryview(bytearray(MOST_BYTES)) for _ in range(2)]
        self._held = 0  # bytes of the present buffer that are read and in no chunk yet

    def read(self) -> bytes:
        """Read to the end; gives the digest of the whole."""
        with ThreadPoolExecutor(1) as other:
            pending: Future[blake3] | None = None
            while True:
                count, known = self._fill()
                if not count:
                    break
                buffer = self._buffers[0]
                hashed = other.submit(self._whole.update, buffer[:count])
                self._add(buffer[:count], known)
                if pending is not None:
                    pending.result()  # the other buffer is free again
                pending = hashed
                rest = self._held - count
                self._buffers.reverse()
                self._buffers[0][:rest] = buffer[count : self._held]
                self._held = rest
            if pending is not None:
                pending.result()
        return self._whole.digest()

    def _fill(self) -> tuple[int, Chunk | None]:
        """Read as far as the next chunk needs; gives how long that is, and the chunk if it is the expected older one."""
        expected = self._expected()
        if expected is not None:
            size = expected.size_bytes
            if self._read_to(size) >= size and blake3(self._buffers[0][:size]).digest() == expected.digest:
                return size, expected
        count = self._read_to(MOST_BYTES)
        return (next(iter(self._cutter.cut_buf(self._buffers[0][:count]))).length if count else 0), None

    def _expected(self) -> Chunk | None:
        if not 0 <= self._next < len(self._before):
            return None
        chunk = self._before[self._next]
        # The last one was cut by the end of the file, so it is a chunk only where the file ends now.
        is_last = self._next == len(self._before) - 1
        return None if is_last and self.size_bytes + chunk.size_bytes != self._end else chunk

    def _read_to(self, wanted: int) -> int:
        buffer = self._buffers[0]
        while self._held < wanted and (count := os.readv(self._handle, [buffer[self._held : wanted]])):
            self._held += count
        return self._held

    def _add(self, data: memoryview, known: Chunk | None) -> None:
        if known is not None:
            self._next += 1
        else:
            digest = blake3(data).digest()
            known = Chunk(digest, len(data))
            at = self._known.get(digest)
            self._next = -1 if at is None else at + 1
            if at is None and digest not in self._new:
                self._new.add(digest)
                if self._blobs is not None:
                    self.written.append(self._blobs.put(bytes(data)))
        self.chunks.append(known)
        self.size_bytes += len(data)
        self._moved(len(data))
