"""Readers of one object: by ranges, of one range, decompressed."""

from __future__ import annotations

import contextlib
import gzip
import io
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

from storages import process
from storages.contract import Body, Stat
from storages.streams import read_chunks

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
LARGEST_WINDOW = 2 * MIB
LONE_WINDOW = 4 * MIB  # where the network is so fast that one at a time will do, the work for a request is the cost
MOST_AHEAD = 8  # times what the run has read
# What is taken from the connection at a time.
READ_SIZE = 256 * KIB
# Pieces of a read() of all that is left.
READALL_RANGE = 8 * MIB
# A broken answer is asked for again as long as this much time has not gone by: a stalled server is not asked twice.
RETRY_SECONDS = 20
RETRIES = 2
# A reader that waits longer than this for a block is slowed by the network, and gets more of them at a time. Blocks
# that come sooner make up for it: one pause of a busy machine must not cost the memory of many ranges.
LONG_WAIT = 0.02  # seconds
MOST_CREDIT = 0.2  # seconds
MORE_AT_A_TIME = 4  # times as many; each step is a round trip in which the reader waits


class RangeReader(io.RawIOBase):
    """Read one object by ranges: one request for a small one, read-ahead for a run, little after a seek.

    ``fetch(start, end, etag)`` gives the Body of bytes ``start`` to ``end``, the first one with a Stat. Memory is at
    most ``ahead`` bytes and two blocks, whatever the object's size.
    """

    def __init__(self, fetch: Callable[[int, int, str | None], Body], *, depth: int = 12, ahead: int = 24 * MIB):
        self._fetch = fetch
        self._etag: str | None = None  # of the first answer; all later ones must be of the same object
        self._depth = depth
        self._most_ahead = ahead
        self._pending: deque[tuple[int, int, Future[memoryview]]] = deque()  # (start, end, bytes)
        self._blocks: deque[tuple[int, memoryview]] = deque()  # (start, bytes), the newest last
        self._spare: list[bytearray] = []  # buffers of large blocks, to be filled again
        self._position = 0
        self._start_run()
        self.stat, first = self._first()
        self._size, self._etag = self.stat.size, self.stat.etag
        self._blocks.append((0, memoryview(first)))

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
        piece = block[offset : offset + len(target)]
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
            self._position = max(self._size, position)
            return bytes(self._blocks[-1][1][position:])
        if not self._run and 0 < self._size - position <= TAIL and not self._kept():
            start, block = self._block(self._size - position)  # all of the tail, which is asked for again
            self._position = self._size
            return bytes(block[position - start :])
        self._drop_pending()
        self._position = max(self._size, position)
        return self._gather(position, self._size)

    def close(self) -> None:
        if not self.closed:
            self._drop_pending()
            self._blocks.clear()
            self._spare.clear()
        super().close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def _start_run(self) -> None:
        self._run = 0
        self._window = FIRST_RANGE
        self._waited = 0.0  # seconds beyond LONG_WAIT for each block
        self._wanted_depth = min(1, self._depth)

    def _block(self, wanted: int) -> tuple[int, memoryview]:
        """Return the block that holds the position: kept, on its way, or fetched now."""
        if kept := self._kept():
            return kept
        while self._pending:
            start, end, coming = self._pending.popleft()
            if start <= self._position < end:
                asked = time.monotonic()
                self._keep(start, coming.result())
                self._waited = max(self._waited + time.monotonic() - asked - LONG_WAIT, -MOST_CREDIT)
                if self._waited > 0:
                    self._waited = 0.0
                    self._wanted_depth = min(self._wanted_depth * MORE_AT_A_TIME, self._depth)
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

    def _kept(self) -> tuple[int, memoryview] | None:
        for start, block in reversed(self._blocks):
            if start <= self._position < start + len(block):
                return start, block
        return None

    def _keep(self, start: int, block: memoryview) -> None:
        # One large block, or a few short ones: with what is on its way they are the memory that a reader costs.
        while len(self._blocks) > 2 or sum(len(kept) for _, kept in self._blocks) > TAIL:
            _, old = self._blocks.popleft()
            if isinstance(old.obj, bytearray) and len(old.obj) >= LARGEST_WINDOW:
                self._spare.append(old.obj)
        self._blocks.append((start, block))

    def _read_ahead(self, after: int) -> None:
        start = self._pending[-1][1] if self._pending else after
        ahead = sum(end - start for start, end, _ in self._pending)
        most = min(self._most_ahead, MOST_AHEAD * self._run)
        largest = LARGEST_WINDOW if self._wanted_depth > 1 else LONE_WINDOW
        while len(self._pending) < self._wanted_depth and start < self._size:
            end = min(start + min(self._window, largest), self._size)
            if ahead + end - start > most:
                return
            buffer = self._spare.pop() if self._spare and self._window >= LARGEST_WINDOW else b""
            self._pending.append((start, end, process.submit(self._range, start, end, buffer)))
            ahead += end - start
            start = end
            self._window = min(self._window * 2, largest)

    def _drop_pending(self) -> None:
        for _, _, coming in self._pending:
            coming.cancel()
        self._pending.clear()

    def _range(self, start: int, end: int, buffer: bytes | bytearray = b"") -> memoryview:
        block = memoryview(buffer if len(buffer) >= end - start else bytearray(end - start))[: end - start]
        self._fill(block[:], start)
        return block

    def _first(self) -> tuple[Stat, bytes]:
        """Fetch the first range, which tells the size; asked for again when the answer breaks off."""
        for left in reversed(range(RETRIES + 1)):
            started = time.monotonic()
            body = self._fetch(0, FIRST_RANGE, None)
            if body.stat is None:
                raise TypeError("A backend with ranges must give a Stat with each")
            with contextlib.closing(body):
                try:
                    block = body.read()
                    _check_length(block, min(FIRST_RANGE, body.stat.size))
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
            for kept_at, block in sorted(self._blocks, key=lambda kept: kept[0]):
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
        """Fetch a range into ``target``, which is released; an answer that breaks off is taken up where it ended."""
        with target:
            done, tries = 0, 0
            while done < len(target):
                started, tries = time.monotonic(), tries + 1
                body = self._fetch(start + done, start + len(target), self._etag)
                with contextlib.closing(body):
                    try:
                        for chunk in read_chunks(body, READ_SIZE):
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


class Unzipped(gzip.GzipFile):
    """The decompressed bytes of a reader, which it closes; seeking backwards starts again at the front."""

    def __init__(self, reader: io.BufferedReader):
        self._reader = reader
        super().__init__(fileobj=reader, mode="rb")

    def close(self) -> None:
        super().close()
        self._reader.close()
