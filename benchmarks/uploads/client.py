"""A browser's part of an upload, by the protocol or as a form; every byte that the site gets is counted."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 600  # seconds of silence; a form is answered when the storage has all of it
TYPE = "application/octet-stream"
BOUNDARY = "benchmark-benchmark-benchmark"


class Client:
    """A session on the site. Raises OSError, and ValueError for an answer that is not the expected one."""

    def __init__(self, url: str):
        self._site = urlsplit(url).netloc
        self._local = threading.local()
        self._cookies: dict[str, str] = {}
        self.requests = self.sent = 0  # to the site; bytes of the bodies
        self._ask("GET", "/process")

    def direct(self, path: Path, kinds: tuple[str, ...]) -> int:
        """Upload by the protocol and save the form; return the size that the storage then has."""
        slot = self._call("slot", {"field": "clips.Clip.direct"})["slot"]
        size = path.stat().st_size
        asked = {"slot": slot, "filename": path.name, "size": size, "content_type": TYPE, "accepts": kinds}
        begun = self._call("begin", asked)
        if begun["kind"] not in kinds:
            raise ValueError(f"begun as {begun['kind']}")
        if begun["kind"] == "tus":
            self._send_in_order(path, begun)
        else:
            self._send_parts(path, begun)
        token = self._call("finish", {"upload": begun["upload"]})["token"]
        return self._save(_form("direct", f"storages-upload:{token}"))

    def form(self, path: Path) -> int:
        """Post the file in a form; return the size that the storage then has."""
        with path.open("rb") as file:
            return self._save(_form("posted", (file, 0, path.stat().st_size), path.name))

    # The site

    def _call(self, verb: str, said: dict[str, Any]) -> dict[str, Any]:
        return json.loads(self._ask("POST", f"/uploads/{verb}/", [json.dumps(said).encode()], "application/json"))

    def _save(self, pieces: list[Any]) -> int:
        return json.loads(self._ask("POST", "/save/", pieces, f"multipart/form-data; boundary={BOUNDARY}"))["size"]

    def _ask(self, method: str, target: str, pieces: Any = (), kind: str = "") -> bytes:
        headers = {**self._headers(), **({"Content-Type": kind} if kind else {})}
        self._count(pieces)
        return _checked(*self._send(self._site, method, target, headers, pieces))

    def _headers(self) -> dict[str, str]:
        cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        headers = {"Cookie": cookies, "X-CSRFToken": self._cookies.get("csrftoken", "")}
        return {name: value for name, value in headers.items() if value}

    def _count(self, pieces: Any) -> None:
        self.requests += 1
        self.sent += sum(map(_size, pieces))

    # The bytes

    def _send_parts(self, path: Path, begun: dict[str, Any]) -> None:
        parts = begun["parts"]
        numbers = list(range(1, parts["count"] + 1))
        with ThreadPoolExecutor(parts["concurrency"]) as pool:
            for start in range(0, len(numbers), parts["batch"]):
                batch = numbers[start : start + parts["batch"]]
                signed = self._call("parts", {"upload": begun["upload"], "numbers": batch})["parts"]
                list(pool.map(lambda part: self._send_part(path, part, parts["size"]), signed))

    def _send_part(self, path: Path, part: dict[str, Any], part_size: int) -> None:
        where = urlsplit(part["url"])
        target = f"{where.path}?{where.query}"
        with path.open("rb") as file:
            piece = (file, (part["number"] - 1) * part_size, part["size"])
            _checked(*self._send(where.netloc, part["method"], target, part["headers"], [piece]))

    def _send_in_order(self, path: Path, begun: dict[str, Any]) -> None:
        request, size = begun["request"], path.stat().st_size
        target = urlsplit(request["url"]).path
        with path.open("rb") as file:
            for offset in range(0, size, begun["parts"]["size"]):
                count = min(begun["parts"]["size"], size - offset)
                headers = {**self._headers(), **request["headers"], "Upload-Offset": str(offset)}
                self._count([(file, offset, count)])
                _checked(*self._send(self._site, "PATCH", target, headers, [(file, offset, count)]))

    def _send(self, host: str, method: str, target: str, headers: dict[str, str], pieces: Any) -> tuple[int, bytes]:
        """Send bytes, and ranges of files without reading them here; return status and body of the answer."""
        connection = self._connection(host)
        connection.putrequest(method, target)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(sum(map(_size, pieces))))
        connection.endheaders()
        for piece in pieces:
            if isinstance(piece, tuple):
                connection.sock.sendfile(*piece)
            else:
                connection.sock.sendall(piece)
        response = connection.getresponse()
        for cookie in response.headers.get_all("Set-Cookie", ()):
            name, _, value = cookie.partition(";")[0].partition("=")
            self._cookies[name] = value
        return response.status, response.read()

    def _connection(self, host: str) -> HTTPConnection:
        """Return this thread's connection, which stays open where the server lets it."""
        known = self._local.__dict__.setdefault("known", {})
        if host not in known:
            known[host] = HTTPConnection(host, timeout=TIMEOUT)
        return known[host]


def _form(name: str, value: Any, filename: str = "") -> list[Any]:
    """Return the pieces of a form with one field."""
    about = f'name="{name}"' + (f'; filename="{filename}"\r\nContent-Type: {TYPE}' if filename else "")
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {about}\r\n\r\n".encode()
    return [head, value.encode() if isinstance(value, str) else value, f"\r\n--{BOUNDARY}--\r\n".encode()]


def _size(piece: Any) -> int:
    return piece[2] if isinstance(piece, tuple) else len(piece)


def _checked(status: int, body: bytes) -> bytes:
    if status >= 300:
        raise ValueError(f"{status}: {body[:500].decode(errors='replace')}")
    return body
