"""Files that a caller may hand to ``save()``: pipes, short reads, failures."""

from __future__ import annotations

import io

from django.core.files import File


class SourceError(Exception):
    """What a failing source raises."""


class Pipe(io.RawIOBase):
    """Read ``content`` once from start to end, at most ``most`` bytes at a time, and never all in one call."""

    def __init__(self, content: bytes, most: int = 1024**2):
        self._rest = memoryview(content)
        self._most = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        size = min(len(buffer), self._most, len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def readall(self) -> bytes:
        raise AssertionError("a source of unknown length is to be read in chunks")


class BrokenPipe(Pipe):
    """Read ``content``, then raise SourceError where its end should be."""

    def readinto(self, buffer) -> int:
        size = super().readinto(buffer)
        if not size:
            raise SourceError("the source broke half-way")
        return size


class OnlyChunks(File):
    """Yield its content from ``chunks()``, while the file that it wraps holds something else."""

    def __init__(self, chunks: list[bytes], name: str | None = None):
        super().__init__(io.BytesIO(b"not the content"), name)
        self._chunks = chunks

    def chunks(self, chunk_size=None):
        yield from self._chunks
