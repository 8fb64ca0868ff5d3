"""File objects: readers that fetch ranges, writers that publish at a clean close, and the File that users hold."""

from __future__ import annotations

import contextlib
import gzip
import io
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from typing import Any

from django.core.files.base import File

from storages import process
from storages.contract import Body, PartUpload, Stat
from storages.streams import Spool, gzip_packer, read_chunks

logger = logging.getLogger("storages")

KIB = 1024
MIB = 1024**2

# What open() fetches: an object up to this size costs one request, an image's header or a 404 too.
FIRST_RANGE = 256 * KIB
# What a seek fetches at the least: a header and what follows it.
SHORT_RANGE = 64 * KIB
# Formats with their index at the end (zip, parquet, mp4) read around there: one request for all of it.
TAIL = 512 * KIB
# A parser that stops early must not pay for read-ahead, so it starts after a run of this length, doubling its window.
RUN = FIRST_RANGE // 2
LARGEST_WINDOW = 4 * MIB
# Pieces of a read() of all that is left.
READALL_RANGE = 8 * MIB
# A broken answer is asked for again as long as this much time has not gone by: a stalled server is not asked twice.
RETRY_SECONDS = 20
RETRIES = 2
# An abort is a courtesy to the bill; the error that led to it must not wait longer for it.
ABORT_SECONDS = 10
# From here on parts grow, so that the ten thousand parts that S3 allows hold the five tebibytes that it allows.
PARTS_OF_ONE_SIZE = 1000


class RangeReader(io.RawIOBase):
    """Read one object by ranges: one request for a small one, read-ahead for a run, little after a seek.

    ``fetch(start, end, etag)`` gives the Body of bytes ``start`` to ``end``, the first one with a Stat. Memory is at most
    ``ahead`` bytes and two blocks, whatever the object's size.
    """

    def __init__(self, fetch: Callable[[int, int, str | None], Body], *, depth: int = 10, ahead: int = 40 * MIB):
        self._fetch = fetch
        self._etag: str | None = None  # of the first answer; all later ones must be of the same object
        self._depth = depth
        self._most_ahead = ahead
        self._pending: deque[tuple[int, int, Future[bytes]]] = deque()  # (start, end, bytes)
        self._blocks: deque[tuple[int, bytes]] = deque(maxlen=3)  # (start, bytes), the newest last
        self._position = 0
        self._start_run()
        stat, first = self._whole(0, FIRST_RANGE)
        assert stat is not None, "the first range tells the size"
        self.stat, self._size, self._etag = stat, stat.size, stat.etag
        self._blocks.append((0, first))

    def readable(self) -> bool:
        return True

    seekable = readable

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._check_open()
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}.get(whence)
        if base is None:
            raise ValueError(f"invalid whence: {whence}")
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        if base + offset != self._position:
            self._position = base + offset
            self._start_run()
        return self._position

    def readinto(self, target: Any, /) -> int:
        self._check_open()
        if self._position >= self._size or not len(target):
            return 0
        start, block = self._block(len(target))
        offset = self._position - start
        piece = memoryview(block)[offset : offset + len(target)]
        target[: len(piece)] = piece
        self._position += len(piece)
        self._run += len(piece)
        if self._run > RUN:
            self._read_ahead(start + len(block))
        return len(piece)

    def readall(self) -> bytes:
        self._check_open()
        start, position = self._blocks[-1][0], self._position
        if start == 0 and len(self._blocks[-1][1]) == self._size:
            self._position = self._size
            return self._blocks[-1][1][position:]
        self._drop_pending()
        self._position = max(self._size, position)
        return self._gather(position, self._size)

    def close(self) -> None:
        if not self.closed:
            self._drop_pending()
            self._blocks.clear()
        super().close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def _start_run(self) -> None:
        self._run = 0
        self._window = FIRST_RANGE
        self._wanted_depth = min(1, self._depth)

    def _block(self, wanted: int) -> tuple[int, bytes]:
        """Return the block that holds the position: kept, on its way, or fetched now."""
        for start, block in reversed(self._blocks):
            if start <= self._position < start + len(block):
                return start, block
        while self._pending:
            start, end, coming = self._pending.popleft()
            if start <= self._position < end:
                self._keep(start, coming.result())
                self._wanted_depth = min(self._wanted_depth + 1, self._depth)
                return self._blocks[-1]
            coming.cancel()
        start, end = self._position, self._position + max(wanted, SHORT_RANGE)
        if not self._run and self._size - self._position <= TAIL:
            start, end = max(self._size - TAIL, 0), self._size
        elif self._run:
            end = self._position + max(wanted, self._window)
        end = min(end, self._size)
        self._keep(start, self._range(start, end))
        return self._blocks[-1]

    def _keep(self, start: int, block: bytes) -> None:
        # Two large blocks at the most: together with what is on its way they are the memory that a reader costs.
        while sum(len(kept) for _, kept in self._blocks) > LARGEST_WINDOW:
            self._blocks.popleft()
        self._blocks.append((start, block))

    def _read_ahead(self, after: int) -> None:
        start = self._pending[-1][1] if self._pending else after
        ahead = sum(end - start for start, end, _ in self._pending)
        while len(self._pending) < self._wanted_depth and start < self._size:
            end = min(start + self._window, self._size)
            if ahead + end - start > self._most_ahead:
                return
            self._pending.append((start, end, process.submit(self._range, start, end)))
            ahead += end - start
            start = end
            self._window = min(self._window * 2, LARGEST_WINDOW)

    def _drop_pending(self) -> None:
        for _, _, coming in self._pending:
            coming.cancel()
        self._pending.clear()

    def _range(self, start: int, end: int) -> bytes:
        return self._whole(start, end)[1]

    def _whole(self, start: int, end: int) -> tuple[Stat | None, bytes]:
        """Fetch one range into memory; asked for again when the answer breaks off."""
        for left in reversed(range(RETRIES + 1)):
            started = time.monotonic()
            body = self._fetch(start, end, self._etag)
            with contextlib.closing(body):
                try:
                    block = body.read()
                    _check_length(block, (min(end, body.stat.size) if body.stat else end) - start)
                    return body.stat, block
                except Exception:
                    if not left or time.monotonic() - started > RETRY_SECONDS:
                        raise
        raise AssertionError("unreachable")

    def _gather(self, start: int, end: int) -> bytes:
        """Fetch all of a long range, several pieces at a time, into the one buffer that becomes the result."""
        if start >= end:
            return b""
        whole = io.BytesIO()
        whole.seek(end - start - 1)
        whole.write(b"\0")
        with whole.getbuffer() as view:
            position = start
            for kept_at, block in sorted(self._blocks):
                if kept_at <= position < kept_at + len(block):
                    piece = block[position - kept_at : end - kept_at]
                    view[position - start : position - start + len(piece)] = piece
                    position += len(piece)
            coming: deque[Future[None]] = deque()
            try:
                for piece_start in range(position, end, READALL_RANGE):
                    piece_end = min(piece_start + READALL_RANGE, end)
                    target = view[piece_start - start : piece_end - start]
                    if not self._depth:
                        self._fill(target, piece_start)
                        continue
                    if len(coming) >= self._depth:
                        coming.popleft().result()
                    coming.append(process.submit(self._fill, target, piece_start))
                while coming:
                    coming.popleft().result()
            finally:
                wait([piece for piece in coming if not piece.cancel()])  # they write into the buffer
        return whole.getvalue()  # shares the buffer: no second copy

    def _fill(self, target: memoryview, start: int) -> None:
        with target:
            done, tries = 0, 0
            while done < len(target):
                started, tries = time.monotonic(), tries + 1
                body = self._fetch(start + done, start + len(target), self._etag)
                with contextlib.closing(body):
                    try:
                        for chunk in read_chunks(body, MIB):
                            target[done : done + len(chunk)] = chunk
                            done += len(chunk)
                        _check_length(target[:done], len(target))
                    except Exception:
                        if tries > RETRIES or time.monotonic() - started > RETRY_SECONDS:
                            raise


def _check_length(block: bytes | memoryview, expected: int) -> None:
    if len(block) != expected:
        raise ConnectionError(f"the service's answer broke off after {len(block)} of {expected} bytes")


class RangeFile(io.BufferedReader):
    """The bytes of one range: a readable that is not seekable, over a Body of just that range.

    ``skip`` and ``end`` cut the range out of a Body of the whole object, for a backend without ranges.
    """

    def __init__(self, body: Body, skip: int = 0, end: int | None = None):
        super().__init__(_RawRange(body, skip, end), 64 * KIB)
        self.stat = body.stat


class _RawRange(io.RawIOBase):
    def __init__(self, body: Body, skip: int, end: int | None):
        self._body = body
        self._skip = skip
        self._left = None if end is None else end - skip

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any, /) -> int:
        while self._skip:
            dropped = len(self._body.read(min(self._skip, MIB)))
            self._skip = self._skip - dropped if dropped else 0
        size = len(target) if self._left is None else min(len(target), self._left)
        data = self._body.read(size) if size else b""
        if self._left is not None:
            self._left -= len(data)
        target[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._body.close()
        super().close()


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
        if not self.closed:
            self.discard()
        super().close()

    def __del__(self) -> None:
        if not self.done:
            logger.warning("A file was dropped without close(); what was written to it is not stored")
        super().__del__()

    def _write(self, data: memoryview) -> int:
        raise NotImplementedError

    def _publish(self) -> None:
        raise NotImplementedError

    def _give_up(self) -> None:
        """Free what is held for the write."""


class PartWriter(Writer):
    """Send a long write in parts, several at a time; a short one is a single ``put(body)`` at the end.

    ``start()`` begins a PartUpload. Memory is at most ``depth + 2`` parts of ``part_size`` bytes.
    """

    def __init__(
        self,
        put: Callable[[io.BytesIO], Any],
        start: Callable[[], PartUpload],
        *,
        part_size: int,
        depth: int = 4,
    ):
        self._put = put
        self._start = start
        self._part_size = part_size
        self._depth = depth
        self._upload: PartUpload | None = None
        self._number = 0
        self._sending: deque[Future[None]] = deque()
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
                self._send()
                continue
            self._part.write(left[:room])
            left = left[room:]
        self._position += len(data)
        return len(data)

    def _size_of_next(self) -> int:
        return self._part_size << (self._number // PARTS_OF_ONE_SIZE)

    def _send(self) -> None:
        if self._upload is None:
            self._upload = self._start()
        body, self._part = self._part, io.BytesIO()
        body.seek(0)
        self._number += 1
        if not self._depth:
            self._upload.send(self._number, body)
            return
        depth = max(self._depth * self._part_size // self._size_of_next(), 1)
        while len(self._sending) >= depth:
            self._sending.popleft().result()
        self._sending.append(process.submit(self._upload.send, self._number, body))

    def _publish(self) -> None:
        if self._upload is None:
            self._part.seek(0)
            self._put(self._part)
        else:
            self._send()
            while self._sending:
                self._sending.popleft().result()
            self._upload.complete()
        self._part = io.BytesIO()

    def _give_up(self) -> None:
        self._part = io.BytesIO()
        if self._upload is None:
            return
        on_their_way = [part for part in self._sending if not part.cancel()]
        self._sending.clear()
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
    except Exception as error:
        logger.warning("An unfinished upload could not be removed, its parts stay until a lifecycle rule or you do: %s", error)


class SpoolWriter(Writer):
    """Gather a write in a spool, in any order, and publish it at the end.

    Serves the modes that read as well, and backends that cannot take a write in parts. ``always`` publishes even when
    nothing was written.
    """

    def __init__(self, publish: Callable[[Iterator[bytes]], Any], spool: Spool, *, always: bool, append: bool, reads: bool):
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
        if self._append:
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


def parse_mode(mode: str) -> tuple[str, bool]:
    """Return the mode without ``b`` and ``t``, and whether it is text. Raises ValueError as open() does."""
    kinds = [letter for letter in mode if letter in "rwxa"]
    rest = sorted(mode.replace("".join(kinds), "", 1)) if kinds else None
    if len(kinds) != 1 or rest not in ([], ["+"], ["b"], ["t"], ["+", "b"], ["+", "t"]):
        raise ValueError(f"invalid mode: {mode!r}; use one of r, w, x, a with + and b or t as for open()")
    return kinds[0] + ("+" if "+" in rest else ""), "b" not in rest


class StorageFile(File):
    """What ``storage.open()`` gives: a Django File over a reader or a writer of one object.

    Leaving a ``with`` block by an exception publishes nothing; so does dropping the file without ``close()``.
    """

    def __init__(
        self,
        name: str,
        mode: str,
        storage: Any,
        buffer_size: int | None = None,
        *,
        encoding: str | None = None,
        newline: str | None = None,
        errors: str | None = None,
    ):
        self._storage = storage
        self.buffer_size = buffer_size  # bytes of a part of a long write; None: the storage's part_size
        self._text = {"encoding": encoding or "utf-8", "newline": newline, "errors": errors}
        self._start(name, mode)

    def _start(self, name: str, mode: str) -> None:
        kind, text = parse_mode(mode)
        self._writer: Writer | None = None
        self.stat: Stat | None = None  # of the object as it was when opened; None for a new one
        if kind == "r":
            binary, self.stat = self._storage._reader(name)
        else:
            binary, self.stat = self._storage._writer(name, kind, self.buffer_size)
            self._writer = binary
        super().__init__(io.TextIOWrapper(binary, **self._text) if text else binary, name)
        self.mode = mode

    @property
    def size(self) -> int:
        """Return the size in bytes: of the object as stored for a reader, of what was written so far for a writer."""
        if self._writer is None:
            assert self.stat is not None
            return self.stat.size
        self._flush_text()
        spooled = getattr(self._writer, "size", None)
        return self._writer.tell() if spooled is None else spooled

    def write(self, data: Any) -> int:  # type: ignore[override]
        """Write text or bytes, whichever the mode; text in the file's encoding. Raises io.UnsupportedOperation."""
        if self._writer is None:
            self.file.write("" if isinstance(self.file, io.TextIOBase) else b"")  # says why not
        text = isinstance(self.file, io.TextIOBase)
        if text and not isinstance(data, str):
            self._flush_text()
            return self.file.buffer.write(data)
        if not text and isinstance(data, str):
            data = data.encode(self._text["encoding"] or "utf-8")
        return self.file.write(data)

    def writelines(self, lines: Any) -> None:  # type: ignore[override]
        for line in lines:
            self.write(line)

    def open(self, mode: str | None = None, *args: Any, **kwargs: Any) -> StorageFile:  # type: ignore[override]
        """Go back to the start, or after close() open again, in the same mode or another; return self."""
        if self.closed:
            self._start(self.name, mode or self.mode)
        elif self.file.seekable():
            self.seek(0)
        return self

    def close(self) -> None:
        """Close; a writer publishes. Raises what the service raises, and nothing is stored then."""
        if self.closed:
            return
        try:
            if self._writer is not None:
                self._flush_text()
                self._writer.commit()
        finally:
            self._drop()

    def discard(self) -> None:
        """Close without publishing: the object stays as it was."""
        if not self.closed:
            self._drop()

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        if exc_type is None:
            self.close()
        else:
            self.discard()

    def _drop(self) -> None:
        if self._writer is not None:
            self._writer.discard()
            if isinstance(self.file, io.TextIOBase):
                # What the text layer still holds after a failure has nowhere to go, and closing it would try again.
                self._writer.write = len  # type: ignore[method-assign]
        self.file.close()

    def _flush_text(self) -> None:
        if isinstance(self.file, io.TextIOBase):
            self.file.flush()


class Unzipped(gzip.GzipFile):
    """The decompressed bytes of a reader, which it closes; seeking backwards starts again at the front."""

    def __init__(self, reader: io.BufferedReader):
        super().__init__(fileobj=reader, mode="rb")

    def close(self) -> None:
        reader = self.fileobj
        super().close()
        if reader is not None:
            reader.close()
