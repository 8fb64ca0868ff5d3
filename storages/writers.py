"""Writers of one object, which publish at a clean commit or not at all."""

from __future__ import annotations

import io
import logging
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from typing import Any, BinaryIO

from storages import process
from storages.contract import PartUpload
from storages.streams import FileSlice, Spool, gzip_packer, read_chunks

logger = logging.getLogger("storages")

# An abort is a courtesy to the bill; the error that led to it must not wait longer for it.
ABORT_SECONDS = 10
# After so many the parts double, so that the ten thousand parts that S3 allows hold the five tebibytes that it allows.
PARTS_OF_ONE_SIZE = 900
LARGEST_PART = 4 * 1024**3  # bytes
MOST_PARTS = 10_000


class Writer(io.BufferedIOBase):
    """A file open for writing whose bytes show only after ``commit()``; closing it without is giving up."""

    done = False  # committed or given up

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        if self.closed:
            raise ValueError("write to closed file")
        if self.done:
            raise OSError("an earlier write failed; nothing of this file is stored")
        try:
            return self._write(memoryview(data).cast("B"))
        except BaseException:
            self.discard()
            raise

    def commit(self) -> None:
        """Publish what was written, whole. Raises what the service raises; nothing shows then."""
        if not self.done:
            try:
                self._publish()
            except BaseException:
                self.discard()
                raise
            self.done = True

    def discard(self) -> None:
        """Leave the object as it was."""
        if not self.done:
            self.done = True
            self._give_up()

    def close(self) -> None:
        if not self.closed and not self.done:
            logger.warning("A file was dropped without close(); what was written to it is not stored")
            self.discard()
        super().close()

    def __exit__(self, exc_type: object, exc_value: object, traceback: object) -> None:
        self.discard()  # what is to stay was committed
        self.close()

    def _write(self, data: memoryview) -> int:
        raise NotImplementedError

    def _publish(self) -> None:
        raise NotImplementedError

    def _give_up(self) -> None:
        """Free what is held for the write."""


class Parts:
    """The parts of one upload, several on their way at a time; ``start()`` begins the PartUpload with the first."""

    def __init__(self, start: Callable[[], PartUpload]):
        self._start = start
        self._upload: PartUpload | None = None
        self._sending: deque[tuple[Future[None], BinaryIO]] = deque()
        self.count = 0

    def send(self, body: Any, depth: int) -> Any:
        """Send a part beside at most ``depth - 1`` others, 0: in this thread. Return the body of one that is done."""
        if self._upload is None:
            self._upload = self._start()
        self.count += 1
        if not depth:
            self._upload.send(self.count, body)
            return body
        done = self._wait(depth - 1)
        self._sending.append((process.submit(self._upload.send, self.count, body), body))
        return done

    def _wait(self, most: int) -> Any:
        """Wait until at most so many are on their way; return the body of the last one that was waited for."""
        body = None
        while len(self._sending) > most:
            sending, body = self._sending.popleft()
            sending.result()
        return body

    def complete(self) -> None:
        """Publish the parts as one object."""
        self._wait(0)
        if self._upload is not None:
            self._upload.complete()

    def abort(self) -> None:
        """Remove what was sent."""
        on_their_way = [sending for sending, _ in self._sending if not sending.cancel()]
        self._sending.clear()
        if self._upload is None:
            return
        try:
            wait([process.submit(_abort, self._upload, on_their_way)], ABORT_SECONDS)
        except RuntimeError:  # the interpreter is going down and starts no more work
            _abort(self._upload, on_their_way)


def _abort(upload: PartUpload, sending: list[Future[None]]) -> None:
    # A part that arrives after the abort would stay. Those still on their way run in other workers, each within its
    # own timeout, and were started before this: waiting for them here cannot lock up.
    wait(sending)
    try:
        upload.abort()
    except Exception as error:  # noqa: BLE001 -- the error that led here is the one to raise
        logger.warning(
            "An unfinished upload could not be removed, its parts stay until a lifecycle rule or you do: %s", error
        )


def send_file(start: Callable[[], PartUpload], descriptor: int, size: int, *, part_size: int, depth: int) -> None:
    """Write a file on disk in parts, all or nothing. It takes no memory, so that many may be on their way."""
    part_size = max(part_size, -(-size // MOST_PARTS))
    parts = Parts(start)
    try:
        for offset in range(0, size, part_size):
            parts.send(FileSlice(descriptor, offset, min(part_size, size - offset)), depth)
        parts.complete()
    except BaseException:
        parts.abort()
        raise


class PartWriter(Writer):
    """Send a long write in parts, several at a time; a short one is a single ``put(body)`` at the end.

    Memory is ``depth + 1`` buffers of ``part_size`` bytes, used again and again.
    """

    def __init__(
        self, put: Callable[[io.BytesIO], Any], start: Callable[[], PartUpload], *, part_size: int, depth: int = 3
    ):
        self._put = put
        self._part_size = part_size
        self._depth = depth
        self._parts = Parts(start)
        self._part = io.BytesIO()
        self._position = 0

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self._position

    def _write(self, data: memoryview) -> int:
        left = data
        while left:
            room = self._size_of_next() - self._part.tell()
            if not room:  # sent only when more follows, so that the last part is never empty
                self._part = self._send() or _buffer(self._size_of_next())
                self._part.seek(0)
                continue
            self._part.write(left[:room])
            left = left[room:]
        self._position += len(data)
        return len(data)

    def _size_of_next(self) -> int:
        return min(self._part_size << (self._parts.count // PARTS_OF_ONE_SIZE), LARGEST_PART)

    def _send(self) -> io.BytesIO | None:
        body = self._part
        body.truncate()  # used before, it may hold more
        body.seek(0)
        return self._parts.send(body, max(self._depth * self._part_size // self._size_of_next(), min(1, self._depth)))

    def _publish(self) -> None:
        if self._parts.count:
            self._send()
            self._parts.complete()
        else:
            self._part.seek(0)
            self._put(self._part)
        self._part = io.BytesIO()

    def _give_up(self) -> None:
        self._part = io.BytesIO()
        self._parts.abort()


def _buffer(size: int) -> io.BytesIO:
    """Return a buffer that has ``size`` bytes of memory at once: growing to them piece by piece takes more."""
    buffer = io.BytesIO()
    buffer.seek(size - 1)
    buffer.write(b"\0")
    return buffer


class SpoolWriter(Writer):
    """Gather a write in a spool, in any order, and publish it at the end.

    Serves the modes that read as well, and backends that cannot take a write in parts. ``always`` publishes even when
    nothing was written.
    """

    def __init__(
        self, publish: Callable[[Iterator[bytes]], Any], spool: Spool, *, always: bool, append: bool, reads: bool
    ):
        self._publish_chunks = publish
        self._spool = spool
        self._always = always
        self._append = append
        self._reads = reads

    def readable(self) -> bool:
        return self._reads

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        if not self._reads:
            raise io.UnsupportedOperation("not readable")
        return self._spool.read(size)

    read1 = read

    def readinto(self, target: Any, /) -> int:
        data = self.read(len(target))
        target[: len(data)] = data
        return len(data)

    def _write(self, data: memoryview) -> int:
        if self._append and data:
            self._spool.seek(0, io.SEEK_END)
        return self._spool.write(data)

    def truncate(self, size: int | None = None, /) -> int:
        return self._spool.truncate(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._spool.seek(offset, whence)

    def tell(self) -> int:
        return self._spool.tell()

    @property
    def size(self) -> int:
        return self._spool.size

    def _publish(self) -> None:
        if self._always or self._spool.written:
            self._spool.seek(0)
            self._publish_chunks(read_chunks(self._spool))
        self._spool.close()

    def _give_up(self) -> None:
        self._spool.close()


class GzipWriter(Writer):
    """Compress what is written on its way into another writer."""

    def __init__(self, writer: Writer):
        self._writer = writer
        self._packer = gzip_packer()
        self._position = 0

    def tell(self) -> int:
        """Return the number of bytes written, before compression."""
        return self._position

    def _write(self, data: memoryview) -> int:
        if packed := self._packer.compress(data):
            self._writer.write(packed)
        self._position += len(data)
        return len(data)

    def _publish(self) -> None:
        self._writer.write(self._packer.flush())
        self._writer.commit()

    def _give_up(self) -> None:
        self._writer.discard()
