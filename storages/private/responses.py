"""Answers whose bytes come from a storage, as WSGI and ASGI want them."""

from __future__ import annotations

import asyncio
import datetime
import errno
import hashlib
import mimetypes
import os
import posixpath
import secrets
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.cache import patch_vary_headers

from storages.contract import ObjectChanged, Stat
from storages.lazy import unwrapped
from storages.private import http
from storages.private.http import Asked, Range, State
from storages.private.models import PrivateFile
from storages.readers import Unzipped
from storages.streams import file_on_disk

CHUNK_SIZE = 256 * 1024  # bytes; what is read before it is sent, and the most that an answer holds
# What is fetched to learn of an object on which the answer depends: all of a small one.
PROBE = 64 * 1024  # bytes
# Where hardly any object reaches, and not every service understands the number.
FAR = 10**12  # bytes

# What Asked.of() reads, as META has it: request.headers gives another form to every header before it tells one.
_ASKED = {
    "Range": "HTTP_RANGE",
    "If-Match": "HTTP_IF_MATCH",
    "If-None-Match": "HTTP_IF_NONE_MATCH",
    "If-Modified-Since": "HTTP_IF_MODIFIED_SINCE",
    "If-Unmodified-Since": "HTTP_IF_UNMODIFIED_SINCE",
    "If-Range": "HTTP_IF_RANGE",
}


def stream(private_file: PrivateFile) -> HttpResponseBase:
    """Return the answer to ``private_file.request``: the file, ranges of it, or why not (304, 412, 416).

    Raises FileNotFoundError, and what the storage raises, before anything is sent; later the connection breaks.
    """
    meta = private_file.request.META
    told = {name: meta[key] for name, key in _ASKED.items() if key in meta}
    asked = Asked.of(str(private_file.request.method), told)
    with suppress(ObjectChanged):
        return _answered(private_file, asked)
    with suppress(ObjectChanged):
        return _answered(private_file, asked)
    # It changes faster than it can be asked about: one request for all of it tells bytes and state together.
    return _answered(private_file, asked.whole(), at_once=True)


def _answered(private_file: PrivateFile, asked: Asked, *, at_once: bool = False) -> HttpResponseBase:
    source = _source_of(private_file)
    try:
        source.look(asked, at_once=at_once)
        response = _response(private_file, asked, source)
    except BaseException as error:
        source.close()
        if _says_no_file(error):
            raise FileNotFoundError(errno.ENOENT, "There is no such file", private_file.relative_name) from error
        raise
    if not response.streaming:
        source.close()
    return response


def _says_no_file(error: BaseException) -> bool:
    """Whether an error other than FileNotFoundError means that no file has this name."""
    if isinstance(error, OSError):
        return isinstance(error, (IsADirectoryError, NotADirectoryError)) or error.errno == errno.ENAMETOOLONG
    return False


def _response(private_file: PrivateFile, asked: Asked, source: _Source) -> HttpResponseBase:
    coding = _coding(private_file, source.stat)
    decode = coding == "gzip" and not http.accepts(private_file.request.headers.get("Accept-Encoding", ""), coding)
    state = _state(source, decode)
    verdict = asked.answer(state)
    response = _body_response(private_file, source, state, verdict, decode) or _bodiless(verdict.status)
    headers = state.headers()
    if verdict.status in (200, 206, 416):
        headers["Accept-Ranges"] = "bytes" if state.ranges else "none"
    if verdict.status == 416:
        headers["Content-Range"] = http.content_range(None, state.size)
    if verdict.status == 200 and not decode:
        headers["Content-Length"] = str(state.size)
    if coding:
        patch_vary_headers(response, ["Accept-Encoding"])
        if verdict.status in (200, 206) and not decode:
            headers["Content-Encoding"] = coding
    if asked.method == "HEAD" and verdict.status == 200:
        headers["Content-Type"] = private_file.response_type
    for name, value in headers.items():
        response.headers[name] = value
    return response


def _body_response(
    private_file: PrivateFile, source: _Source, state: State, verdict: http.Verdict, decode: bool
) -> FileBytes | None:
    """Return the answer with bytes, if there are any to be sent: the first of them are on their way then."""
    if private_file.request.method != "GET" or verdict.status not in (200, 206):
        return None
    if decode:
        source.decode()
    content_type = private_file.response_type
    whole = Range(0, state.size)
    pieces: Sequence[bytes | Range] = verdict.ranges or [whole]
    headers = {}
    if len(verdict.ranges) > 1:
        boundary = secrets.token_hex(16)
        pieces = list(http.byteranges(boundary, content_type, state.size, verdict.ranges))
        content_type = f"multipart/byteranges; boundary={boundary}"
    elif verdict.ranges:
        headers["Content-Range"] = http.content_range(verdict.ranges[0], state.size)
    if verdict.ranges:
        headers["Content-Length"] = str(http.length_of(pieces))
    if not decode:
        source.start(next(piece for piece in pieces if isinstance(piece, Range)))
    body = Body(source, pieces, exact=not decode)
    is_async = isinstance(private_file.request, ASGIRequest)
    content = AsyncBody(body) if is_async else body
    response = FileBytes(content, status=verdict.status, content_type=content_type, headers=headers)
    if verdict.status == 200 and not is_async:
        response.file_to_stream = source.whole_file
    return response


def _bodiless(status: int) -> HttpResponse:
    """Return an answer without content, whose headers may tell of some."""
    response = HttpResponse(status=status)
    del response.headers["Content-Type"]
    if status in (412, 416):
        response.headers["Content-Length"] = "0"
    return response


def _coding(private_file: PrivateFile, stat: Stat) -> str | None:
    """Return how the content is packed for its way; what is an archive by its name is meant to arrive as one."""
    if not stat.content_encoding:
        return None
    name = posixpath.basename(private_file.relative_name)
    packed = mimetypes.guess_type(f"./{name}")[1]  # "data:..." is a name, and no URL
    return None if packed else stat.content_encoding


def _state(source: _Source, decode: bool) -> State:
    stat = source.stat
    settled = http.is_settled(stat.modified, datetime.datetime.now(datetime.timezone.utc))
    raw = stat.etag
    if raw and source.content_addressed:  # it would tell the client an address that asks no permission
        raw = hashlib.blake2b(raw.encode(), digest_size=16).hexdigest()
    if not raw and stat.modified:
        raw = f"{int(stat.modified.timestamp() * 1_000_000):x}-{stat.size:x}"
    weak = decode or (not settled and (source.timed_etags or not stat.etag))
    etag = http.etag_of(raw, weak=weak) if raw else None
    return State(stat.size, etag, stat.modified, settled, ranges=not decode)


# Where the bytes come from


def _source_of(private_file: PrivateFile) -> _Source:
    storage, name = unwrapped(private_file.storage), private_file.relative_name
    if hasattr(storage, "open_range"):
        return _Ranges(storage, name)
    if isinstance(storage, FileSystemStorage):
        return _OnDisk(storage, name, os.path.join(*private_file.place))  # noqa: PTH118
    return _Opened(storage, name)


class _Source:
    """One file of a storage, of which a range at a time is read; ``look()`` comes first and finds out about it."""

    timed_etags = True
    content_addressed = False
    whole_file: Any = None  # for wsgi.file_wrapper, where that can be
    stat: Stat

    def __init__(self, storage: Any, name: str):
        self._storage = storage
        self._name = name
        self._body: Any = None

    def look(self, asked: Asked, *, at_once: bool) -> None:
        """Learn of the file, in as few calls as what is asked of it needs. Raises FileNotFoundError."""
        raise NotImplementedError

    def start(self, one: Range) -> None:
        """Go to a range. Raises ObjectChanged where the file is not what was looked at."""
        raise NotImplementedError

    def decode(self) -> None:
        """Go to the start of the file, to read what it holds unpacked."""
        self.start(Range(0, self.stat.size))
        self._body = Unzipped(self._body)

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes, fewer only at the end of the range."""
        return self._body.read(size)

    def finish(self) -> None:
        """Say that a range was read: what compares a digest does it now."""

    def close(self) -> None:
        """Let go of the storage."""
        body, self._body = self._body, None
        if body is not None:
            body.close()


class _Ranges(_Source):
    """An object of a storage with ``open_range()``."""

    def __init__(self, storage: Any, name: str):
        super().__init__(storage, name)
        self.timed_etags = getattr(storage.capabilities, "timed_etags", False)
        self.content_addressed = getattr(storage.capabilities, "content_addressed", False)
        self._opened: Range | None = None  # what _body is
        self._probe = b""

    def look(self, asked: Asked, *, at_once: bool) -> None:
        if asked.method == "HEAD":
            self.stat = self._storage.stat(self._name)
            return
        start, end, probes = (0, None, False) if at_once else _first_look(asked)
        self._body = self._storage.open_range(self._name, start, end)
        told = self._body.stat
        if told is None or (start >= told.size and not (told.etag or told.modified)):
            told = self._storage.stat(self._name)  # an answer without bytes may tell the size, or nothing
        self.stat, size = told, told.size
        self._opened = Range(start, size if end is None else min(end, size))
        if probes:
            self._probe = self._body.read()
            if len(self._probe) != self._opened.length:
                raise ConnectionError(f"the storage sent {len(self._probe)} of {self._opened.length} bytes")
            self._drop()

    def start(self, one: Range) -> None:
        if one == self._opened:
            return
        self._drop()
        if one.start < len(self._probe):
            head = self._probe[one.start : one.end]
            rest = self._open(Range(len(self._probe), one.end)) if one.end > len(self._probe) else None
            self._body = _Joined(head, rest)
        elif one.length:
            self._body = self._open(one)
        else:
            self._body = _Joined(b"", None)
        self._opened = one

    def _open(self, one: Range) -> Any:
        # To the end of an object, not to a number that is the same: the whole of it may be compared with a digest.
        end = None if one.end == self.stat.size else one.end
        body = self._storage.open_range(self._name, one.start, end, if_match=self.stat.etag)
        if body.stat and _differ(self.stat, body.stat):
            body.close()
            raise ObjectChanged(errno.EIO, "Another writer changed the object while it was sent", self._name)
        return body

    def finish(self) -> None:
        if self._body.read(1):
            raise ConnectionError("the storage sent more than it was asked for")
        self._drop()

    def _drop(self) -> None:
        self._opened = None
        super().close()

    close = _drop


def _first_look(asked: Asked) -> tuple[int, int | None, bool]:
    """Return start and end of what to ask for first, and whether it only serves to learn of the object."""
    if not (asked.conditional or asked.specs):
        return 0, None, False
    first, last = asked.specs[0] if len(asked.specs) == 1 else (None, None)
    if asked.conditional or first is None or first >= FAR or (asked.if_range is not None and first < PROBE):
        return 0, PROBE, True
    return first, None if last is None or last >= FAR else last + 1, False


class _Joined:
    """Bytes that are there already, and a readable of the rest."""

    def __init__(self, head: bytes, rest: Any):
        self._head, self._rest = head, rest

    def read(self, size: int) -> bytes:
        head, self._head = self._head[:size], self._head[size:]
        if len(head) < size and self._rest is not None:
            head += self._rest.read(size - len(head))
        return head

    def close(self) -> None:
        if self._rest is not None:
            self._rest.close()


def _differ(one: Stat, other: Stat) -> bool:
    if one.etag and other.etag:
        return one.etag != other.etag
    return (one.size, one.modified) != (other.size, other.modified)


class _Opened(_Source):
    """A file of any Django storage: opened once, then read from wherever it is wanted."""

    _position = 0

    def look(self, asked: Asked, *, at_once: bool) -> None:
        size = self._storage.size(self._name)
        try:
            modified = self._storage.get_modified_time(self._name)
        except NotImplementedError:
            modified = None
        if modified is not None and timezone.is_naive(modified):
            modified = timezone.make_aware(modified, timezone.get_default_timezone())
        self.stat = Stat(size, modified)

    def start(self, one: Range) -> None:
        if self._body is None:
            self._open()
        if one.start == self._position:
            return
        seekable = getattr(self._body, "seekable", None)
        if seekable and seekable():
            self._body.seek(one.start)
            self._position = one.start
            return
        if one.start < self._position:
            super().close()
            self._open()
        while self._position < one.start:
            if not self.read(min(one.start - self._position, CHUNK_SIZE)):
                raise ConnectionError(f"the file ended after {self._position} bytes")

    def _open(self) -> None:
        self._body = self._storage.open(self._name, "rb")
        self._position = 0

    def read(self, size: int) -> bytes:
        data = self._body.read(size)
        while data and len(data) < size and (more := self._body.read(size - len(data))):  # a short read is not the end
            data += more
        self._position += len(data)
        return data


class _OnDisk(_Opened):
    """A file below a directory of this machine; below that, ``path`` is without links."""

    def __init__(self, storage: Any, name: str, path: str):
        super().__init__(storage, name)
        self._path = path
        cls: Any = type(storage)
        usual: Any = FileSystemStorage
        self._opens = (cls.open, cls._open) != (usual.open, usual._open)

    def look(self, asked: Asked, *, at_once: bool) -> None:
        if self._opens or asked.method != "HEAD":
            self._open()
            if self._opens and file_on_disk(self._body) is None:  # of its bytes the disk does not tell
                super().look(asked, at_once=at_once)
                return
            found = os.fstat(self._body.fileno())
            self.whole_file = self._body
        else:
            found = os.stat(self._path)  # noqa: PTH116 -- at a third of the time
        modified = datetime.datetime.fromtimestamp(found.st_mtime, datetime.timezone.utc)
        etag = f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"
        self.stat = Stat(found.st_size, modified, etag=etag)

    def _open(self) -> None:
        if self._opens:  # in a way of its own
            super()._open()
        else:
            # Unbuffered: what is read at once is sent at once, and a buffer takes two more calls to open.
            self._body = File(open(self._path, "rb", buffering=0))  # noqa: PTH123, SIM115 -- closed by close()
            self._position = 0
        self._close_file = self._body.close  # for WSGI servers, Django puts its own in that place

    def close(self) -> None:
        if self._body is not None:
            self._body = None
            self._close_file()


# On their way to the client


class Body:
    """The bytes of an answer, exactly as many as were promised; ``close()`` at any time, from any thread.

    Raises what the storage raises, and ConnectionError where it sends too little: the server breaks the connection.
    """

    def __init__(self, source: _Source, pieces: Sequence[bytes | Range], *, exact: bool = True):
        self._source = source
        self._pieces = deque(pieces)
        self._exact = exact  # else the one piece ends where the source does
        self._left: int | None = None  # of the range that is being read
        self._closing = False
        self._busy = threading.Lock()

    def __iter__(self) -> Body:
        return self

    def __next__(self) -> bytes:
        chunk = None
        try:
            with self._busy:
                if not self._closing:
                    chunk = self._chunk()
        except BaseException:
            self.close()
            raise
        if chunk is None or self._closing:  # close() leaves it to whoever is reading
            self.close()
        if chunk is None:
            raise StopIteration
        return chunk

    @property
    def finished(self) -> bool:
        """Whether the last chunk was read."""
        return not self._pieces

    def _chunk(self) -> bytes | None:
        while self._pieces:
            piece = self._pieces[0]
            if isinstance(piece, bytes):
                self._pieces.popleft()
                return piece
            if self._left is None:
                self._source.start(piece)
                self._left = piece.length
            if chunk := self._read():
                return chunk
        return None

    def _read(self) -> bytes:
        wanted = min(self._left or 0, CHUNK_SIZE) if self._exact else CHUNK_SIZE
        chunk = self._source.read(wanted) if wanted else b""
        if self._exact and len(chunk) < wanted:
            raise ConnectionError(f"the storage broke off {(self._left or 0) - len(chunk)} bytes before the end")
        self._left = (self._left or 0) - len(chunk)
        if (self._left == 0) if self._exact else not chunk:
            self._source.finish()  # before the last chunk goes out: without it, an answer does not look whole
            self._pieces.popleft()
            self._left = None
        return chunk

    def close(self) -> None:
        """Let go of the storage, at once or, where a thread is reading, when it has."""
        self._closing = True
        if self._busy.acquire(blocking=False):
            try:
                self._source.close()
            finally:
                self._busy.release()

    def __del__(self) -> None:  # an answer that nobody took: the client left before there was one
        self.close()


class AsyncBody:
    """A Body for ASGI: read in threads, one chunk at a time, when the one before has gone out."""

    def __init__(self, body: Body):
        self._body = body
        self.close = body.close

    def __aiter__(self) -> AsyncBody:
        return self

    async def __anext__(self) -> bytes:
        if self._body.finished:  # no thread has to be asked for that
            raise StopAsyncIteration
        try:
            chunk = await asyncio.to_thread(next, self._body, None)
        except asyncio.CancelledError:
            asyncio.get_running_loop().run_in_executor(None, self._body.close)
            raise
        if chunk is None:
            raise StopAsyncIteration
        return chunk


class FileBytes(StreamingHttpResponse):
    """An answer with a file, or ranges of it."""

    block_size = CHUNK_SIZE
    file_to_stream: Any = None  # Django gives it to the server's wsgi.file_wrapper

    def _set_streaming_content(self, value: Any) -> None:
        self.file_to_stream = None  # a middleware that changes the content does not mean the file
        super()._set_streaming_content(value)  # type: ignore[misc]

    def has_header(self, header: str) -> bool:
        """Whether there is such a header; GZipMiddleware leaves alone what has a Content-Encoding.

        Ranges are of the bytes as stored, so to pack them would give the client something else.
        """
        return super().has_header(header) or (self.status_code == 206 and header.lower() == "content-encoding")
