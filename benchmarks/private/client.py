"""A client over bare sockets, so that the time is the server's."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import NamedTuple
from urllib.parse import urlsplit

BUFFER = 1024**2
TIMEOUT = 120  # seconds of silence; who reads all of a big file first takes long
SMALL_TIMEOUT = 10  # seconds, for a small file


class Answer(NamedTuple):
    """What came back: seconds until the first byte of the body and until the last."""

    status: int
    headers: dict[str, str]
    first: float
    seconds: float
    size: int
    tail: bytes


class Connection:
    """One connection to a server, which stays open where the server lets it."""

    def __init__(self, url: str, timeout: float):
        self._timeout = timeout
        self._where = (urlsplit(url).hostname, urlsplit(url).port)
        self._buffer = memoryview(bytearray(BUFFER))
        self._sock: socket.socket | None = None

    def close(self) -> None:
        """Close it."""
        if self._sock:
            self._sock.close()
            self._sock = None

    def get(self, target: str, headers: tuple[str, ...] = (), keep: int = 0) -> Answer:
        """Return the answer with the last ``keep`` bytes of its body. Raises OSError and ValueError."""
        kept_alive = self._sock is not None
        try:
            return self._get(target, headers, keep)
        except (ConnectionError, EOFError):
            self.close()
            if not kept_alive:
                raise
        return self._get(target, headers, keep)  # the server had closed it meanwhile

    def _get(self, target: str, headers: tuple[str, ...], keep: int) -> Answer:
        start = time.perf_counter()
        if self._sock is None:
            self._sock = socket.create_connection(self._where, self._timeout)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host = f"{self._where[0]}:{self._where[1]}"
        request = "\r\n".join([f"GET {target} HTTP/1.1", f"Host: {host}", *headers, "", ""])
        self._sock.sendall(request.encode())
        status, fields, body = self._head()
        if "transfer-encoding" in fields:
            if status < 300:
                raise ValueError("an answer of unknown length is not what a download should be")
            while not body.endswith(b"0\r\n\r\n"):
                body += self._sock.recv(65536)
        length = int(fields.get("content-length", len(body)))
        # The head may come without a byte of the body.
        first, size, tail = 0.0, 0, body
        if body or not length:
            first, size = time.perf_counter() - start, len(body)
        while size < length:
            count = self._sock.recv_into(self._buffer)
            if not count:
                raise EOFError(f"{size} of {length} bytes came")
            first = first or time.perf_counter() - start
            size += count
            if keep:
                tail = (tail + bytes(self._buffer[max(0, count - keep) : count]))[-keep:]
        seconds = time.perf_counter() - start
        if fields.get("connection", "").lower() == "close":
            self.close()
        return Answer(status, fields, first, seconds, size, tail[-keep:] if keep else b"")

    def _head(self) -> tuple[int, dict[str, str], bytes]:
        received = b""
        while b"\r\n\r\n" not in received:
            piece = self._sock.recv(65536)
            if not piece:
                raise EOFError("no answer came")
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.split(":", 1) for line in lines)
        return int(first.split()[1]), {name.lower(): value.strip() for name, value in fields.items()}, body


class Client:
    """Ask a site for files, over as many redirects as there are."""

    def __init__(self, url: str, timeout: float = TIMEOUT):
        self._url, self._timeout = url, timeout
        self._connections: dict[str, Connection] = {}

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.values():
            connection.close()

    def get(self, target: str, headers: tuple[str, ...] = (), keep: int = 0) -> Answer:
        """Return the last answer, with the time of all."""
        url, spent = self._url, 0.0
        for _ in range(5):
            connection = self._connections.setdefault(url, Connection(url, self._timeout))
            answer = connection.get(target, headers, keep)
            if answer.status not in (301, 302, 307):
                return answer._replace(first=answer.first + spent, seconds=answer.seconds + spent)
            spent += answer.seconds
            where = urlsplit(answer.headers["location"])
            url, target = f"{where.scheme}://{where.netloc}", f"{where.path}?{where.query}"
        raise ValueError("redirected in a circle")


def ask_many(url: str, target: str, count: int, connections: int, size: int) -> float:
    """Return the seconds of ``count`` requests over so many connections at once; raises ValueError for a wrong one."""
    numbers = iter(range(count))
    failures: list[BaseException] = []
    lock = threading.Lock()

    def work():
        with contextlib.closing(Client(url, SMALL_TIMEOUT)) as client:
            try:
                while not failures:
                    with lock:
                        if next(numbers, None) is None:
                            return
                    answer = client.get(target)
                    if (answer.status, answer.size) != (200, size):
                        raise ValueError(f"{answer.status} with {answer.size} bytes")
            except (OSError, ValueError, EOFError) as error:
                failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(connections)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    if failures:
        raise failures[0]
    return seconds
