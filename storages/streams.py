"""Bytes on their way: out of any content that Django accepts, compressed or not, in the shape that a hook takes."""

from __future__ import annotations

import io
import itertools
import os
import stat
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from django.core.files.base import File

from storages.contract import Stat

CHUNK_SIZE = 64 * 1024  # bytes; Django's File.DEFAULT_CHUNK_SIZE

# gzip's own default for one file is 9, which costs three times the time of 6 for about 1 % of the size.
_GZIP_LEVEL = 6
_GZIP_WINDOW = (
    16 + zlib.MAX_WBITS
)  # 16: with gzip's header and trailer, whose time stays 0, so equal input is equal output


def chunks_of(content: Any) -> Iterator[bytes]:
    """Yield the bytes of a Django File from its start, text as UTF-8; never closes it.

    Only ``chunks()`` is used: a File may have no more than that, and a short read is not its end.
    Raises ValueError where the content is closed.
    """
    for chunk in content.chunks():
        if chunk:
            yield chunk.encode() if isinstance(chunk, str) else bytes(chunk)


def file_on_disk(content: Any) -> tuple[int, int] | None:
    """Return descriptor and size of the file on disk that a Django File shows whole, or None where it is not that."""
    if not hasattr(os, "pread") or getattr(type(content), "chunks", None) is not File.chunks:
        return None
    file = content
    while isinstance(file, (File, tempfile._TemporaryFileWrapper)):
        file = file.file
    if type(file) not in (io.BufferedReader, io.BufferedRandom) or type(file.raw) is not io.FileIO or file.closed:
        return None  # a text file, a decompressing one: its bytes are not those on disk
    file.flush()
    status = os.fstat(file.fileno())
    return (file.fileno(), status.st_size) if stat.S_ISREG(status.st_mode) else None


class SmallReads:
    """A seekable body of which one read gets at most CHUNK_SIZE, for SDKs that ask for more and copy it."""

    def __init__(self, body: Any):
        self._body = body
        self.seek, self.tell = body.seek, body.tell

    def read(self, size: int | None = -1, /) -> bytes:
        return self._body.read(size if size is None or size < 0 else min(size, CHUNK_SIZE))


class FileSlice(io.RawIOBase):
    """A seekable readable of ``size`` bytes of an open file from ``start``, which moves nobody else's position."""

    def __init__(self, descriptor: int, start: int, size: int):
        self._descriptor = descriptor
        self._start = start
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    seekable = readable

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(self._size - self._position, 0)
        wanted = left if size is None or size < 0 else min(size, left)
        data = os.pread(self._descriptor, wanted, self._start + self._position)
        if wanted and not data:
            raise OSError("The file became shorter while it was sent")
        self._position += len(data)
        return data


def gzip_packer(level: int = _GZIP_LEVEL) -> Any:
    """Return a compressor whose output is one gzip file."""
    return zlib.compressobj(level, zlib.DEFLATED, _GZIP_WINDOW)


def gzipped(chunks: Iterable[bytes], packer: Any = None) -> Iterator[bytes]:
    """Yield ``chunks`` compressed, as they come."""
    packer = packer or gzip_packer()
    for chunk in chunks:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()


def taken(chunks: Iterator[bytes], size: int) -> tuple[io.BytesIO, Iterator[bytes]]:
    """Read ``chunks`` until more than ``size`` bytes are there; return those, rewound, and the rest."""
    head = io.BytesIO()
    for chunk in chunks:
        head.write(chunk)
        if head.tell() > size:
            head.seek(0)
            return head, chunks
    head.seek(0)
    return head, iter(())


def read_chunks(body: Any, size: int = CHUNK_SIZE) -> Iterator[bytes]:
    """Yield what is left of a readable."""
    return iter(lambda: body.read(size), b"")


class ChunkReader(io.RawIOBase):
    """A readable over chunks: the body for a hook that reads as it sends. Raises what the chunks raise."""

    def __init__(self, chunks: Iterable[bytes]):
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any, /) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        size = min(len(target), len(self._rest))
        target[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def reader(head: io.BytesIO, rest: Iterator[bytes]) -> io.BufferedReader:
    """Return one readable over what taken() gave."""
    return io.BufferedReader(ChunkReader(itertools.chain([head.getvalue()], rest)), CHUNK_SIZE)


def range_header(start: int, end: int | None) -> dict[str, str]:
    """Return the header that asks for the bytes from ``start`` to before ``end``; none where that is all."""
    return {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if start or end is not None else {}


def size_of_whole(content_range: str, length: Any) -> int:
    """Return the size that the Content-Range of an answer tells, or its own length where there is none."""
    total = content_range.rpartition("/")[2]
    return int(total if total.isdigit() else length)


class EmptyBody(io.BytesIO):
    """The body of a range in which nothing lies."""

    def __init__(self, stat: Stat | None):
        super().__init__()
        self.stat = stat


class AnswerBody:
    """The body of an answer that ``requests`` has, as it was sent; compared with its digest when it ends.

    ``digest`` has update() and digest(), which must give ``expected`` then; without that, nothing is compared.
    """

    def __init__(self, answer: Any, stat: Stat, digest: Any = None, expected: bytes | None = None):
        self.stat: Stat | None = stat
        self.close = answer.close
        self._raw = answer.raw
        self._digest = digest
        self._expected = expected

    def read(self, size: int = -1, /) -> bytes:
        data: bytes = self._raw.read(None if size < 0 else size, decode_content=False)
        if self._expected:
            self._digest.update(data)
            at_end = size < 0 or (size and not data)
            if at_end and self._digest.digest() != self._expected:
                raise ConnectionError("What arrived is not what is stored: its checksum is another one; read it again")
        return data


class Spool(io.BufferedIOBase):
    """A seekable file in memory up to ``limit`` bytes, then a temporary file on disk.

    ``tempfile.SpooledTemporaryFile`` is no IOBase before Python 3.11 and takes a limit of 0 for no limit at all.
    """

    def __init__(self, limit: int, directory: str | None = None):
        self._file: Any = io.BytesIO()
        self._limit = limit
        self._directory = directory
        self.written = False

    def readable(self) -> bool:
        return True

    writable = seekable = readable

    def read(self, size: int | None = -1, /) -> bytes:
        return self._file.read(-1 if size is None else size)

    read1 = read

    def readinto(self, target: Any, /) -> int:
        return self._file.readinto(target)

    def write(self, data: Any, /) -> int:
        self.written = True
        if isinstance(self._file, io.BytesIO) and self._file.tell() + memoryview(data).nbytes > self._limit:
            self._roll()
        return self._file.write(data)

    def truncate(self, size: int | None = None, /) -> int:
        self.written = True
        size = self.tell() if size is None else size
        if isinstance(self._file, io.BytesIO) and size > self.size:  # memory does not grow by truncate(), a disk does
            position = self.tell()
            if size > self._limit:
                self._roll()
            self._file.seek(size - 1)
            self._file.write(b"\0")
            self._file.seek(position)
        return self._file.truncate(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()

    @property
    def size(self) -> int:
        """Return the number of bytes; leaves the position where it is."""
        position = self._file.tell()
        size = self._file.seek(0, io.SEEK_END)
        self._file.seek(position)
        return size

    def _roll(self) -> None:
        position = self._file.tell()
        disk = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115 -- closed by close()
        try:
            disk.write(self._file.getbuffer())
            disk.seek(position)
        except BaseException:
            disk.close()
            raise
        self._file = disk
