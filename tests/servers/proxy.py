"""A TCP proxy that counts HTTP requests on the wire, with faults to order."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from typing_extensions import Self

HOST = "127.0.0.1"
PIECE = 2**18  # bytes read at once

Direction = Literal["up", "down"]  # to the server, to the client
Deed = Literal["reset", "close", "stall"]

SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SlowDown</Code><Message>Please reduce your request rate.'
    b"</Message><RequestId>proxy</RequestId></Error>"
)


@dataclass
class Exchange:
    """One request and its answer, as they were on the wire; bodies are counted without HTTP's chunk framing."""

    method: str
    path: str  # as sent: quoted, with the query
    headers: dict[str, str] = field(repr=False)  # names in lower case
    request_body_bytes: int = 0
    status: int | None = None  # None: not answered
    response_headers: dict[str, str] = field(default_factory=dict, repr=False)
    response_body_bytes: int = 0
    interim_100: bool = False  # the server was asked first: Expect: 100-continue


class Seen(list[Exchange]):
    """The exchanges of one ``counting()`` block, in the order of their requests."""

    connections = 0  # opened in the block

    @property
    def methods(self) -> list[str]:
        return [exchange.method for exchange in self]

    @property
    def uploaded(self) -> int:
        """Bytes of all request bodies."""
        return sum(exchange.request_body_bytes for exchange in self)

    @property
    def downloaded(self) -> int:
        """Bytes of all response bodies."""
        return sum(exchange.response_body_bytes for exchange in self)


class Proxy:
    """Stand between clients and ``host:port``; ``with Proxy(host, port) as proxy`` listens at ``proxy.url``.

    Every fault acts on connections that are open and on later ones until ``heal()``. With ``http=False`` the bytes
    are not read: nothing is counted but connections, and ``slow_down()`` does not apply.
    """

    def __init__(self, host: str, port: int, *, http: bool = True):
        self._target = (host, port)
        self._http = http
        self._loop = asyncio.new_event_loop()
        self._loop.set_debug(False)  # python -X dev would trace every piece
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._listener: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._cuts: list[_Cut] = []
        self._slow_downs = 0.0
        self._muted = self._resetting = False
        self._left_to_live: int | None = None
        self._counters: list[Seen] = []
        self.requests = Seen()
        self.latency = 0.0  # seconds before each request goes on; without HTTP, before each piece
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections were accepted so far."""
        return self.requests.connections

    @contextlib.contextmanager
    def counting(self) -> Iterator[Seen]:
        """Collect the exchanges whose requests begin inside the block."""
        seen = Seen()
        self._counters.append(seen)
        try:
            yield seen
        finally:
            # By identity: two empty lists are equal.
            self._counters = [counter for counter in self._counters if counter is not seen]

    # Faults. ``times=None`` means until heal().

    def reset(self, *, up: int | None = None, down: int | None = None, times: int | None = 1) -> None:
        """Reset a connection once that many bytes went up or down on it, counted from now."""
        self._arm("reset", up, down, times)

    def hang_up(self, *, up: int | None = None, down: int | None = None, times: int | None = 1) -> None:
        """Close a connection in good order once that many bytes went up or down on it, counted from now."""
        self._arm("close", up, down, times)

    def stall(self, *, up: int | None = None, down: int | None = None, times: int | None = None) -> None:
        """Pass nothing on in that direction once that many bytes went up or down, counted from now."""
        self._arm("stall", up, down, times)

    def slow_down(self, times: int | None = 1) -> None:
        """Answer the next requests with S3's 503 SlowDown; their bodies are read and thrown away."""
        self._slow_downs = float("inf") if times is None else times

    def mute(self) -> None:
        """Accept and read, but pass nothing on and never answer."""
        self._muted = True

    def reset_at_accept(self) -> None:
        """Reset every connection, the open ones too."""

        def arm() -> None:
            self._resetting = True
            self._reset_all()

        self._call(arm)

    def refuse(self) -> None:
        """Stop listening, and reset what is open."""

        async def arm() -> None:
            self._stop_listening()
            self._reset_all()

        self._await(arm())

    def die(self, *, up: int) -> None:
        """Refuse, as refuse() does, once that many bytes went up on all connections together, counted from now."""

        def arm() -> None:
            self._left_to_live = up

        self._call(arm)

    @property
    def dead(self) -> bool:
        """Whether nobody listens."""
        return self._listener is None

    def drop_idle(self) -> int:
        """Close the connections that wait for no answer, as a server does after a while; return how many."""

        def drop() -> int:
            idle = [link for link in self._links if not link.pending]
            for link in idle:
                link.finish()
            return len(idle)

        dropped: int = self._call(drop)
        return dropped

    def heal(self) -> None:
        """End every fault, and reset the connections that one of them still holds."""

        async def disarm() -> None:
            self._cuts.clear()
            self._slow_downs = self.latency = 0.0
            for link in list(self._links):
                if link.stuck:
                    link.reset()
            self._muted = self._resetting = False
            self._left_to_live = None
            if self._listener is None:
                await self._listen()

        self._await(disarm())

    def __enter__(self) -> Self:
        self._thread.start()
        self._await(self._listen())
        return self

    def __exit__(self, *exc: object) -> None:
        self._await(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # All below runs in the proxy's own thread, but for the two callers.

    def _await(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=10)

    def _call(self, function: Callable[[], Any]) -> Any:
        async def call() -> Any:
            return function()

        return self._await(call())

    def _arm(self, deed: Deed, up: int | None, down: int | None, times: int | None) -> None:
        if (up is None) == (down is None):
            raise ValueError("say either up= or down=, in bytes")
        cut = _Cut(deed, "up", up, times) if up is not None else _Cut(deed, "down", down or 0, times)

        def arm() -> None:
            for link in self._links:
                link.moved[cut.direction] = 0
            self._cuts.append(cut)

        self._call(arm)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._accept, HOST, self.port, limit=PIECE)
        self.port = self._listener.sockets[0].getsockname()[1]

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _reset_all(self) -> None:
        for link in list(self._links):
            link.reset()

    async def _shut(self) -> None:
        self._stop_listening()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # an aborted transport closes its socket in the next round

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        for counter in (self.requests, *self._counters):
            counter.connections += 1
        link = _Link(reader, writer)
        self._links.add(link)
        try:
            # Python 3.12.1 logs a cancelled callback of a stream as an error.
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._join(link)
        finally:
            link.release()
            self._links.discard(link)

    async def _join(self, link: _Link) -> None:
        """Move bytes both ways until one side is done."""
        if self._resetting:
            return
        link.connect(await asyncio.open_connection(*self._target, limit=PIECE))
        up = asyncio.create_task(self._pump_up(link))
        try:
            await self._pump_down(link)
            if not link.stuck and not link.finished:
                link.finish()
            await up
        finally:
            up.cancel()
            await asyncio.gather(up, return_exceptions=True)

    async def _pump_up(self, link: _Link) -> None:
        requests = _Requests(link)
        try:
            async for data in self._pieces(link, "up"):
                if self._http:
                    await self._pass_requests(requests, data)
                else:
                    await asyncio.sleep(self.latency)
                    await self._send(link, "up", data)
            if not link.finished:
                link.writers["up"].write_eof()
        except OSError:
            link.reset()

    async def _pump_down(self, link: _Link) -> None:
        framing = _Framing(link.response_length)
        async for data in self._pieces(link, "down"):
            for piece in framing.feed(data) if self._http else ():
                link.note_answer(piece)
            await self._send(link, "down", data)

    async def _pieces(self, link: _Link, direction: Direction) -> AsyncIterator[bytes]:
        """Read one direction to its end, without what arrives while the proxy is mute or after a hang-up."""
        while data := await link.readers[direction].read(PIECE):
            link.stuck = link.stuck or self._muted
            if not link.stuck and not link.finished:
                yield data

    async def _pass_requests(self, requests: _Requests, data: bytes) -> None:
        """Pass on the requests in these bytes, or answer them here."""
        link = requests.link
        for piece in requests.framing.feed(data):
            if piece.head:
                requests.exchange = self._record(link, piece.head)
                await asyncio.sleep(self.latency)
                requests.refused = self._slow_downs > 0
                self._slow_downs -= requests.refused
                if requests.refused and "expect" in piece.head.headers:
                    await self._send(link, "down", b"HTTP/1.1 100 Continue\r\n\r\n")
            requests.exchange.request_body_bytes += piece.payload
            if not requests.refused:
                await self._send(link, "up", piece.raw)
            elif piece.last:
                await self._refuse_politely(link, requests.exchange)

    def _record(self, link: _Link, head: _Head) -> Exchange:
        method, path, _ = head.start.split(" ", 2)
        exchange = Exchange(method, path, head.headers)
        link.pending.append(exchange)
        for counter in (self.requests, *self._counters):
            counter.append(exchange)
        return exchange

    async def _refuse_politely(self, link: _Link, exchange: Exchange) -> None:
        body = b"" if exchange.method == "HEAD" else SLOW_DOWN
        link.pending.remove(exchange)
        exchange.status, exchange.response_body_bytes = 503, len(body)
        head = f"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: {len(SLOW_DOWN)}\r\n\r\n"
        await self._send(link, "down", head.encode() + body)

    async def _send(self, link: _Link, direction: Direction, data: bytes) -> None:
        """Pass bytes on, up to the first fault that they reach."""
        if link.finished:
            return
        if direction == "up" and self._left_to_live is not None:
            self._left_to_live -= len(data)
            if self._left_to_live <= 0:
                self._left_to_live = None
                self._stop_listening()
                self._reset_all()
                return
        moved = link.moved[direction]
        due = [cut for cut in self._cuts if cut.direction == direction and moved + len(data) >= cut.after]
        if not due:
            await link.write(direction, data)
            return
        cut = min(due, key=lambda cut: cut.after)
        if cut.times is not None:
            cut.times -= 1
            if not cut.times:
                self._cuts.remove(cut)
        await link.write(direction, data[: max(0, cut.after - moved)])
        if cut.deed == "reset":
            link.reset()
        elif cut.deed == "close":
            link.finish()
        else:
            link.stuck = True
            await link.ended.wait()


@dataclass
class _Cut:
    """A fault that waits for its byte."""

    deed: Deed
    direction: Direction
    after: int  # bytes
    times: int | None


class _Link:
    """A client's connection and the one to the server that it is joined to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.readers = {"up": reader}
        self.writers = {"down": writer}
        self.moved = {"up": 0, "down": 0}
        self.pending: deque[Exchange] = deque()  # not answered yet
        self.stuck = False  # held by a fault
        self.finished = False  # nothing more goes out; what still comes in is thrown away
        self.ended = asyncio.Event()
        writer.transport.set_write_buffer_limits(high=0)  # so that drain() returns when all is with the kernel

    def connect(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self.readers["down"], self.writers["up"] = streams
        self.writers["up"].transport.set_write_buffer_limits(high=0)

    async def write(self, direction: Direction, data: bytes) -> None:
        self.moved[direction] += len(data)
        self.writers[direction].write(data)
        await self.writers[direction].drain()

    def reset(self) -> None:
        """End both sides with a TCP reset."""
        self.finished = True
        self.ended.set()
        for writer in self.writers.values():
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def finish(self) -> None:
        """Send the client an end of file; closing with bytes unread would be a reset."""
        self.finished = True
        with contextlib.suppress(OSError):
            self.writers["down"].get_extra_info("socket").shutdown(socket.SHUT_WR)
        if "up" in self.writers:
            self.writers["up"].transport.abort()

    def release(self) -> None:
        """Close both sockets; what has not been finished is reset."""
        if not self.finished:
            self.reset()
        for writer in self.writers.values():
            writer.transport.abort()

    def response_length(self, head: _Head) -> float | None:
        """Return the length of the body of the next answer; see _Framing."""
        status = head.status
        if status < 200 or status in (204, 304) or (self.pending and self.pending[0].method == "HEAD"):
            return 0
        return _body_length(head, default=float("inf"))

    def note_answer(self, piece: _Piece) -> None:
        """Write down what one piece of an answer tells about the oldest open request."""
        if not self.pending:
            return
        exchange = self.pending[0]
        exchange.response_body_bytes += piece.payload
        if piece.head and piece.head.status < 200:
            exchange.interim_100 = True
            return
        if piece.head:
            exchange.status, exchange.response_headers = piece.head.status, piece.head.headers
        if piece.last:
            self.pending.popleft()


class _Requests:
    """Where one client is in its stream of requests."""

    def __init__(self, link: _Link):
        self.link = link
        self.framing = _Framing(_request_length)
        self.exchange = Exchange("", "", {})
        self.refused = False


class _Head(NamedTuple):
    start: str
    headers: dict[str, str]

    @property
    def status(self) -> int:
        return int(self.start.split(" ", 2)[1])


class _Piece(NamedTuple):
    raw: bytes
    payload: int = 0  # bytes of body in it
    head: _Head | None = None
    last: bool = False  # the message ends here


def _request_length(head: _Head) -> float | None:
    return _body_length(head, default=0)


def _body_length(head: _Head, default: float) -> float | None:
    if "chunked" in head.headers.get("transfer-encoding", ""):
        return None
    return int(head.headers.get("content-length", default)) if "content-length" in head.headers else default


class _Framing:
    """Cut one direction of a connection into heads and bodies, without changing a byte.

    ``length_of(head)`` returns the body's length in bytes: infinity where it ends with the connection, None where
    it is chunked.
    """

    def __init__(self, length_of: Callable[[_Head], float | None]):
        self._length_of = length_of
        self._held = b""  # an unfinished head or chunk line
        self._step = self._read_head
        self._left = 0.0

    def feed(self, data: bytes) -> Iterator[_Piece]:
        data = self._held + data
        self._held = b""
        while data:
            piece = self._step(data)
            if piece is None:
                self._held = data
                return
            yield piece
            data = data[len(piece.raw) :]

    def _read_head(self, data: bytes) -> _Piece | None:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return None
        start, *lines = data[:end].decode("latin-1").split("\r\n")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        head = _Head(start, headers)
        length = self._length_of(head)
        self._step = self._read_chunk_line if length is None else self._read_body
        self._left = length or 0
        return self._piece(data[: end + 4], head=head, last=length == 0)

    def _read_body(self, data: bytes) -> _Piece:
        raw = data if self._left >= len(data) else data[: int(self._left)]
        self._left -= len(raw)
        return self._piece(raw, payload=len(raw), last=self._left == 0)

    def _read_chunk_line(self, data: bytes) -> _Piece | None:
        end = data.find(b"\r\n") + 2
        if end < 2:
            return None
        size = int(data[:end].split(b";")[0], 16)
        self._left = size
        self._step = self._read_chunk if size else self._read_trailer
        return _Piece(data[:end])

    def _read_chunk(self, data: bytes) -> _Piece | None:
        if self._left:
            raw = data[: int(self._left)]
            self._left -= len(raw)
            return _Piece(raw, payload=len(raw))
        if len(data) < 2:
            return None
        self._step = self._read_chunk_line
        return _Piece(data[:2])

    def _read_trailer(self, data: bytes) -> _Piece | None:
        end = data.find(b"\r\n") + 2
        if end < 2:
            return None
        return self._piece(data[:end], last=end == 2)

    def _piece(self, raw: bytes, *, payload: int = 0, head: _Head | None = None, last: bool) -> _Piece:
        if last:
            self._step = self._read_head
        return _Piece(raw, payload, head, last)
