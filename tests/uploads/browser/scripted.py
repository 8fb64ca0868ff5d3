"""A site and a cloud that speak the protocol of uploads as a test tells them to: every kind, every fault."""

from __future__ import annotations

import datetime
import itertools
import json
import math
import threading
import time
from collections.abc import Callable
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.servers.process import HOST
from tests.servers.thread import ThreadServer

STATIC = Path(__file__).resolve().parents[3] / "storages" / "uploads" / "static"
PIECES = {".js": "text/javascript", ".css": "text/css"}
MIB = 1024**2


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes

    def fields(self) -> list[Message]:
        """Return the parts of a posted form."""
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        return list(BytesParser(policy=HTTP).parsebytes(head + self.body).iter_parts())  # type: ignore[attr-defined]

    def values(self, name: str) -> list[str]:
        named = [part for part in self.fields() if part.get_param("name", header="content-disposition") == name]
        return [part.get_payload(decode=True).decode() for part in named]


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    headers: dict[str, str] = {}


class Scripted(ThreadServer):
    """One origin; ``requests`` is what came, ``answers`` what it says. Every request is read to its end."""

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        requests: list[Request] = []
        self.requests = requests

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:
                    self.close_connection = True

            def answers(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, self.path, headers, body)
                requests.append(request)
                answer_ = answer(request)
                if not answer_.status:  # the network broke
                    self.close_connection = True
                    return
                self.send_response(answer_.status)
                for name, value in answer_.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer_.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer_.body)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_OPTIONS = answers  # noqa: N815

            def log_message(self, *arguments: Any) -> None:
                pass

        server = ThreadingHTTPServer((HOST, 0), Handler)
        server.daemon_threads = True
        super().__init__(server)

    def made(self, method: str, path: str = "/") -> list[Request]:
        return [request for request in self.requests if request.method == method and request.path.startswith(path)]


class Script:
    """What both origins do; a test changes the attributes."""

    def __init__(self) -> None:
        self.kind = "post"
        self.part_size = 5 * MIB
        self.concurrency = 3
        self.batch = 4
        self.faults: list[int | None] = []  # statuses of the next requests to the cloud; None: as it should be
        self.failing: dict[str, list[tuple[int, str]]] = {}  # status and code of the next calls of a verb
        self.detail = ""  # of these answers
        self.gate = threading.Event()  # requests to the cloud that carry a file wait for it
        self.gate.set()
        self.page: Callable[[], str] = lambda: ""
        self.policy = ""  # Content-Security-Policy; {cloud} is filled in
        self.uploads: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.posted: list[Request] = []
        self.refuses_forms = 0
        self._numbers = itertools.count(1)
        self.site = Scripted(self._site)
        self.cloud = Scripted(self._cloud)

    def called(self, verb: str) -> list[dict[str, Any]]:
        return [data for name, data in self.calls if name == verb]

    def upload(self) -> dict[str, Any]:
        (upload,) = [upload for upload in self.uploads.values() if upload["state"] != "aborted"]
        return upload

    # The site

    def _site(self, request: Request) -> Answer:
        path = urlsplit(request.path).path
        if path.startswith("/static/"):
            file = STATIC / path.removeprefix("/static/")
            return Answer(200, file.read_bytes(), {"Content-Type": PIECES[file.suffix], "Cache-Control": "no-store"})
        if path.startswith("/uploads/tus/"):
            return self._tus(request, path.rpartition("/")[2])
        if path.startswith("/uploads/"):
            return self._call(path.split("/")[2], json.loads(request.body))
        if request.method == "POST":
            self.posted.append(request)
        policy = self.policy.format(cloud=self.cloud.url)
        headers = {"Content-Type": "text/html; charset=utf-8", "Set-Cookie": "sessionid=of-the-site; Path=/"}
        return Answer(200, self.page().encode(), headers | ({"Content-Security-Policy": policy} if policy else {}))

    def _call(self, verb: str, data: dict[str, Any]) -> Answer:
        self.calls.append((verb, data))
        headers = {"Content-Type": "application/json"}  # and Date, which the server adds; a second one would be no date
        if self.failing.get(verb):
            status, code = self.failing[verb].pop(0)
            error = {
                "code": code,
                "detail": self.detail,
                "field": None,
                "retryable": status >= 500 or code == "parts_missing",
            }
            if code == "checksum":
                error.update(code="bad_request", field="checksum")
            return Answer(status, json.dumps({"error": error}).encode(), headers)
        status, body = getattr(self, f"_{verb}")(data)
        return Answer(status, b"" if body is None else json.dumps(body).encode(), headers)

    def _begin(self, data: dict[str, Any]) -> tuple[int, Any]:
        token = f"upload-{next(self._numbers)}"
        self.uploads[token] = {**data, "kind": self.kind, "state": "begun", "received": {}, "bytes": bytearray()}
        return 201, {"upload": token, **self._told(token)}

    def _told(self, token: str) -> dict[str, Any]:
        upload = self.uploads[token]
        told: dict[str, Any] = {"kind": upload["kind"], "expires": _in(3600)}
        if upload["kind"] in ("multipart", "blocks", "resumable", "tus"):
            count = math.ceil(upload["size"] / self.part_size)
            told["parts"] = {
                "size": self.part_size,
                "count": count,
                "concurrency": self.concurrency,
                "batch": self.batch,
            }
        url = f"{self.cloud.url}/{token}"
        told["request"] = {
            "post": {"method": "POST", "url": url, "fields": {"key": token, "policy": "p"}, "file_field": "file"},
            "put": {"method": "PUT", "url": url, "headers": {"Content-Type": upload["content_type"]}},
            "link": {"method": "POST", "url": url, "headers": {"Content-Type": "application/octet-stream"}},
            "tus": {"method": "PATCH", "url": f"/uploads/tus/{token}", "headers": {"Upload-Token": token}},
        }.get(upload["kind"])
        return told

    def _parts(self, data: dict[str, Any]) -> tuple[int, Any]:
        upload, token = self.uploads[data["upload"]], data["upload"]
        parts = []
        for number in data["numbers"]:
            start = (number - 1) * self.part_size
            part = {
                "number": number,
                "method": "PUT",
                "url": f"{self.cloud.url}/{token}?partNumber={number}",
                "headers": {},
                "size": min(self.part_size, upload["size"] - start),
                "expires": _in(300),
            }
            if upload["kind"] == "resumable":
                offset = len(upload["bytes"])
                part.update(offset=offset, size=min(self.part_size, upload["size"] - offset))
            parts.append(part)
        return 200, {"parts": parts}

    def _status(self, data: dict[str, Any]) -> tuple[int, Any]:
        upload = self.uploads.get(data["upload"])
        if upload is None:
            return 404, {"error": {"code": "upload_not_found", "detail": "", "field": None, "retryable": False}}
        received = [{"number": number, "size": size} for number, size in upload["received"].items()]
        told = {"state": upload["state"], "size": upload["size"], "received": received, **self._told(data["upload"])}
        if upload["kind"] in ("resumable", "tus"):
            told["offset"] = len(upload["bytes"])
        return 200, told

    def _finish(self, data: dict[str, Any]) -> tuple[int, Any]:
        upload = self.uploads[data["upload"]]
        arrived = sum(upload["received"].values()) or len(upload["bytes"])
        if arrived != upload["size"]:
            return 422, {"error": {"code": "parts_missing", "detail": "", "field": None, "retryable": True}}
        upload["state"] = "finished"
        return 200, {"token": f"file-{data['upload']}", "name": upload["filename"], "size": upload["size"]}

    def _abort(self, data: dict[str, Any]) -> tuple[int, Any]:
        self.uploads[data["upload"]]["state"] = "aborted"
        return 204, None

    def _slot(self, data: dict[str, Any]) -> tuple[int, Any]:
        return 200, {"slot": f"fresh slot of {data['field']}"}

    def _tus(self, request: Request, token: str) -> Answer:
        upload = self.uploads[token]
        if request.method == "PATCH":
            fault = self.faults.pop(0) if self.faults else None
            if fault is not None:
                return Answer(fault)
            upload["bytes"] += request.body
        return Answer(204, b"", {"Upload-Offset": str(len(upload["bytes"])), "Tus-Resumable": "1.0.0"})

    # The cloud

    def _cloud(self, request: Request) -> Answer:
        cors = {
            "Access-Control-Allow-Origin": self.site.url,
            "Access-Control-Allow-Methods": "POST, PUT",
            "Access-Control-Allow-Headers": request.headers.get("access-control-request-headers", "*"),
        }
        if request.method == "OPTIONS":
            return Answer(204, b"", cors)
        self.gate.wait(30)
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            return Answer(fault, b"", cors)
        path = urlsplit(request.path)
        upload = self.uploads[path.path.strip("/")]
        if path.query and upload["kind"] == "resumable":
            upload["bytes"] += request.body
            return Answer(200 if len(upload["bytes"]) == upload["size"] else 308, b"", cors)
        if path.query:
            upload["received"][int(path.query.partition("=")[2])] = len(request.body)
        elif upload["kind"] == "post":
            (file,) = [part for part in request.fields() if part.get_filename()]
            upload["bytes"] += file.get_payload(decode=True)
        else:
            upload["bytes"] += request.body
        return Answer(200, b"", cors)

    def wait(self, holds: Callable[[], Any], seconds: float = 10) -> None:
        """Wait until something is so on the server's side."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, "it did not come to be"
            time.sleep(0.01)


def _in(seconds: int) -> str:
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).isoformat()
