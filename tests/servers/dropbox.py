"""The part of Dropbox's API that a storage speaks to, over TLS; it checks tokens, revisions and content hashes.

The SDK finds it by ``fake.reached()``, which takes the place of Dropbox's hosts in the SDK.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import hashlib
import itertools
import json
import os
import ssl
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock
from urllib.parse import parse_qs, quote

from .certificates import write_certificate
from .process import HOST
from .thread import ThreadServer

if TYPE_CHECKING:
    pass

TOKEN = "sl.token-of-the-test"
APP_KEY, APP_SECRET, REFRESH_TOKEN = "app-key-of-the-test", "app-secret-of-the-test", "refresh-token-of-the-test"
PAGE = 500  # entries; so that listings of the tests have several
LARGEST_UPLOAD = 150 * 1024**2  # bytes in one request
BLOCK = 4 * 1024**2  # bytes that Dropbox hashes at a time
JSON = {"Content-Type": "application/json"}
FOR_PAGES = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "content-type"}  # of any origin


@dataclass
class File:
    path: str  # as it was written
    content: bytes
    rev: str
    id: str = field(default_factory=lambda: f"id:{uuid.uuid4().hex}")
    modified: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.timezone.utc))

    def shown(self) -> dict[str, Any]:
        moment = self.modified.strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            ".tag": "file",
            "name": self.path.rpartition("/")[2],
            "path_display": self.path,
            "path_lower": folded(self.path),
            "id": self.id,
            "client_modified": moment,
            "server_modified": moment,
            "rev": self.rev,
            "size": len(self.content),
            "content_hash": content_hash(self.content),
            "is_downloadable": True,
        }


@dataclass
class Folder:
    path: str
    id: str = field(default_factory=lambda: f"id:{uuid.uuid4().hex}")

    def shown(self) -> dict[str, Any]:
        name, lower = self.path.rpartition("/")[2], folded(self.path)
        return {".tag": "folder", "name": name, "path_display": self.path, "path_lower": lower, "id": self.id}


@dataclass
class UploadLink:
    commit: dict[str, Any]
    ends: float  # by time.time()


class Refusal(Exception):
    """An answer other than 200: a status, and the error in JSON or in plain text."""

    def __init__(self, status: int, error: Any, **headers: str):
        self.status, self.error, self.headers = status, error, headers


class FakeDropbox(ThreadServer):
    """One Dropbox behind TLS: ``with FakeDropbox() as fake, fake.reached()``.

    ``requests`` are the routes that were asked for, ``refusals`` what the next requests for a route are refused with
    (``*``: for any).
    """

    name = "Dropbox (fake)"

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self.certificate = Path(self._directory.name, "certificate.pem")
        super().__init__(_Server((HOST, 0), functools.partial(_Answers, self)))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        key = self.certificate.with_name("key.pem")
        write_certificate(self.certificate, key)
        context.load_cert_chain(self.certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.lock = threading.RLock()
        self._reached_at = self.port
        self._revisions = itertools.count(0x10000000)
        self.refusals: dict[str, list[Refusal]] = {}
        self.tokens = {TOKEN}
        self.clear()

    def clear(self) -> None:
        """Forget everything but the tokens."""
        self.nodes: dict[str, File | Folder] = {}  # by folded path
        self.sessions: dict[str, bytes] = {}
        self.jobs: dict[str, list[dict[str, Any]]] = {}  # what the next looks at a batch are told
        self.links: dict[str, str] = {}  # to the id of a file
        self.upload_links: dict[str, UploadLink] = {}
        self.expired: set[str] = set()
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.sent = 0  # bytes of bodies

    def stop(self) -> None:
        super().stop()
        self._directory.cleanup()

    @contextlib.contextmanager
    def reached(self, port: int | None = None) -> Iterator[None]:
        """Make clients of the SDK that are made in the block go to this server, or to ``port``."""
        from dropbox import dropbox_client

        self._reached_at = port or self.port
        host = f"{HOST}:{self._reached_at}"
        refresh = dropbox_client._DropboxTransport.refresh_access_token
        with (
            mock.patch.dict(os.environ),
            mock.patch.multiple(dropbox_client, API_HOST=host, API_CONTENT_HOST=host),
            mock.patch.object(refresh, "__defaults__", (host, *refresh.__defaults__[1:])),
        ):
            for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # which would win over the option
                os.environ.pop(name, None)
            yield

    def refuse(self, route: str, refusal: Refusal, times: int = 1) -> None:
        self.refusals.setdefault(route, []).extend([refusal] * times)

    # What the routes are made of.

    def node(self, path: str, tag: str = "path") -> File | Folder:
        if path.startswith("id:"):
            found = next((node for node in self.nodes.values() if node.id == path), None)
        else:
            self.check_path(path, tag)
            found = self.nodes.get(folded(path))
        if found is None:
            raise conflict(tag, "not_found")
        return found

    def file(self, path: str, tag: str = "path") -> File:
        node = self.node(path, tag)
        if isinstance(node, Folder):
            raise conflict(tag, "not_file")
        return node

    def check_path(self, path: str, tag: str, wrap: Any = None) -> None:
        if not path.startswith("/") or path.endswith("/") or "\\" in path:
            raise wrap({".tag": "malformed_path"}) if wrap else conflict(tag, "malformed_path")
        if any(len(part) > 255 for part in path.split("/")):
            raise wrap({".tag": "disallowed_name"}) if wrap else conflict(tag, "malformed_path")

    def write(self, commit: dict[str, Any], content: bytes, wrap: Any) -> File:
        path, kind = commit["path"], commit.get("mode", {".tag": "add"})
        kind = {".tag": kind} if isinstance(kind, str) else kind
        self.check_path(path, "path", wrap)
        old = self.nodes.get(folded(path))
        if isinstance(old, Folder):
            raise wrap({".tag": "conflict", "conflict": {".tag": "folder"}})
        same = old is not None and old.content == content and not commit.get("strict_conflict")
        if same:
            return old  # nothing gets written, and nothing is a conflict
        stale = kind[".tag"] == "update" and kind["update"] != (old and old.rev)
        if (old and kind[".tag"] == "add") or stale:
            raise wrap({".tag": "conflict", "conflict": {".tag": "file"}})
        self.make_folders(path, wrap)
        new = File(old.path if old else path, content, f"{next(self._revisions):09x}")
        self.nodes[folded(path)] = new
        return new

    def make_folders(self, path: str, wrap: Any) -> None:
        parts = path.split("/")[1:-1]
        for count in range(1, len(parts) + 1):
            parent = "/" + "/".join(parts[:count])
            if isinstance(self.nodes.setdefault(folded(parent), Folder(parent)), File):
                raise wrap({".tag": "conflict", "conflict": {".tag": "file_ancestor"}})

    # Routes: what came, the body, and the answer.

    def get_metadata(self, argument: dict[str, Any]) -> Any:
        return self.node(argument["path"]).shown()

    def delete_v2(self, argument: dict[str, Any]) -> Any:
        node = self.node(argument["path"], "path_lookup")
        revision = argument.get("parent_rev")
        if revision and revision != getattr(node, "rev", None):
            raise Refusal(409, {".tag": "path_write", "path_write": {".tag": "conflict", "conflict": {".tag": "file"}}})
        below = folded(node.path)
        for key in [key for key in self.nodes if key == below or key.startswith(below + "/")]:
            del self.nodes[key]
        return {"metadata": node.shown()}

    def delete_batch(self, argument: dict[str, Any]) -> Any:
        if len(argument["entries"]) > 1000:
            raise Refusal(400, "too many entries")
        job = uuid.uuid4().hex
        self.jobs[job] = [{".tag": "in_progress"}, {".tag": "complete", "entries": []}]
        for entry in argument["entries"]:
            try:
                outcome = {".tag": "success", **self.delete_v2(entry)}
            except Refusal as refusal:
                outcome = {".tag": "failure", "failure": refusal.error}
            self.jobs[job][1]["entries"].append(outcome)
        return {".tag": "async_job_id", "async_job_id": job}

    def delete_batch_check(self, argument: dict[str, Any]) -> Any:
        return self.jobs[argument["async_job_id"]].pop(0)

    def copy_v2(self, argument: dict[str, Any]) -> Any:
        source = self.node(argument["from_path"], "from_lookup")
        target = argument["to_path"]
        if folded(target) in self.nodes:
            raise Refusal(409, {".tag": "to", "to": {".tag": "conflict", "conflict": {".tag": "file"}}})
        if isinstance(source, Folder):
            raise AssertionError("the storage copies no folders")
        wrap = functools.partial(_wrapped, "to")
        self.make_folders(target, wrap)
        self.nodes[folded(target)] = File(target, source.content, f"{next(self._revisions):09x}")
        return {"metadata": self.nodes[folded(target)].shown()}

    def list_folder(self, argument: dict[str, Any]) -> Any:
        path = argument["path"]
        if path == "/":
            raise Refusal(400, 'Specify the root folder as an empty string rather than as "/".')
        if path and isinstance(self.node(path), File):
            raise conflict("path", "not_folder")
        start = folded(path) + "/"
        keys = sorted(key for key in self.nodes if key.startswith(start))
        if not argument.get("recursive"):
            keys = [key for key in keys if "/" not in key[len(start) :]]
        return self.page(keys)

    def list_folder_continue(self, argument: dict[str, Any]) -> Any:
        return self.page(json.loads(argument["cursor"]))

    def page(self, keys: list[str]) -> dict[str, Any]:
        entries = [self.nodes[key].shown() for key in keys[:PAGE] if key in self.nodes]
        return {"entries": entries, "cursor": json.dumps(keys[PAGE:]), "has_more": len(keys) > PAGE}

    def get_temporary_link(self, argument: dict[str, Any]) -> Any:
        file = self.file(argument["path"])
        link = uuid.uuid4().hex
        self.links[link] = file.id
        name = quote(file.path.rpartition("/")[2])
        return {"metadata": file.shown(), "link": f"https://{HOST}:{self.port}/link/{link}/{name}"}

    def get_temporary_upload_link(self, argument: dict[str, Any]) -> Any:
        if not 60 <= argument["duration"] <= 14400:
            raise Refusal(400, "duration must be between 60 and 14400 seconds")
        link = uuid.uuid4().hex
        self.upload_links[link] = UploadLink(argument["commit_info"], time.time() + argument["duration"])
        return {"link": f"https://{HOST}:{self._reached_at}/apitul/1/{link}"}

    def upload_by_link(self, link: str, content_type: str, body: bytes) -> Any:
        """Take the one upload that a link is for; what is wrong with its commit shows only now, and not what it is."""
        if content_type != "application/octet-stream":
            raise Refusal(400, "Content-Type must be application/octet-stream")
        if len(body) > LARGEST_UPLOAD:
            raise Refusal(413, "too large")
        found = self.upload_links.pop(link, None)
        if found is None:
            raise Refusal(404, "no such link")
        if time.time() > found.ends:
            raise Refusal(410, "the link has expired")
        written = self.write(found.commit, body, lambda reason: Refusal(409, "conflict"))
        return {"content-hash": content_hash(written.content)}

    def upload(self, argument: dict[str, Any], body: bytes) -> Any:
        check_hash(argument, body)
        session = uuid.uuid4().hex

        def wrap(reason: Any) -> Refusal:
            return Refusal(409, {".tag": "path", "reason": reason, "upload_session_id": session})

        return self.write(argument, body, wrap).shown()

    def upload_session_start(self, argument: dict[str, Any], body: bytes) -> Any:
        check_hash(argument, body)
        session = uuid.uuid4().hex
        self.sessions[session] = body
        return {"session_id": session}

    def upload_session_append_v2(self, argument: dict[str, Any], body: bytes) -> Any:
        check_hash(argument, body)
        self.append(argument["cursor"], body)
        return None

    def upload_session_finish(self, argument: dict[str, Any], body: bytes) -> Any:
        check_hash(argument, body)
        self.append(argument["cursor"], body)
        wrap = functools.partial(_wrapped, "path")
        done = self.write(argument["commit"], self.sessions[argument["cursor"]["session_id"]], wrap)
        del self.sessions[argument["cursor"]["session_id"]]
        return done.shown()

    def append(self, cursor: dict[str, Any], body: bytes) -> None:
        session = cursor["session_id"]
        if session not in self.sessions:
            raise Refusal(409, {".tag": "lookup_failed", "lookup_failed": {".tag": "not_found"}})
        if cursor["offset"] != len(self.sessions[session]):
            raise Refusal(409, {".tag": "incorrect_offset", "correct_offset": len(self.sessions[session])})
        self.sessions[session] += body


RPC = {
    "files/get_metadata": FakeDropbox.get_metadata,
    "files/delete_v2": FakeDropbox.delete_v2,
    "files/delete_batch": FakeDropbox.delete_batch,
    "files/delete_batch/check": FakeDropbox.delete_batch_check,
    "files/copy_v2": FakeDropbox.copy_v2,
    "files/list_folder": FakeDropbox.list_folder,
    "files/list_folder/continue": FakeDropbox.list_folder_continue,
    "files/get_temporary_link": FakeDropbox.get_temporary_link,
    "files/get_temporary_upload_link": FakeDropbox.get_temporary_upload_link,
}
UPLOADS = {
    "files/upload": FakeDropbox.upload,
    "files/upload_session/start": FakeDropbox.upload_session_start,
    "files/upload_session/append_v2": FakeDropbox.upload_session_append_v2,
    "files/upload_session/finish": FakeDropbox.upload_session_finish,
}


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up."""


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 120  # seconds

    def __init__(self, fake: FakeDropbox, *arguments: Any):
        self._fake = fake
        super().__init__(*arguments)

    def do_POST(self) -> None:
        route = self.path.removeprefix("/2/").removeprefix("/")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self._fake.lock:
            self._fake.requests.append(route)
            self._fake.headers.append({name.lower(): value for name, value in self.headers.items()})
        try:
            if waiting := self._fake.refusals.get(route) or self._fake.refusals.get("*"):
                raise waiting.pop(0)
            if route.startswith("apitul/1/"):  # whoever has the link needs no token
                self._upload(route.removeprefix("apitul/1/"), body)
                return
            if route == "oauth2/token":
                self._answer(200, json.dumps(self._token(body)).encode(), JSON)
                return
            self._check_token()
            if route == "files/download":
                self._download()
                return
            with self._fake.lock:
                if route in RPC:
                    answer = RPC[route](self._fake, json.loads(body))
                else:
                    answer = UPLOADS[route](self._fake, json.loads(self.headers["Dropbox-API-Arg"]), body)
            self._answer(200, json.dumps(answer).encode(), JSON)
        except Refusal as refusal:
            self._refuse(refusal)

    def do_GET(self) -> None:
        with self._fake.lock:
            self._fake.requests.append("GET link")
            identity = self._fake.links.get(self.path.split("/")[2])
            found = next((node for node in self._fake.nodes.values() if node.id == identity), None)
        if isinstance(found, File):
            self._bytes_of(found, {})
        else:
            self._answer(404, b"", {})

    do_HEAD = do_GET  # noqa: N815 -- as http.server calls it

    def do_OPTIONS(self) -> None:
        self._answer(200, b"", {**FOR_PAGES, "Access-Control-Allow-Methods": "POST"})

    def _download(self) -> None:
        argument = json.loads(self.headers["Dropbox-API-Arg"])
        with self._fake.lock:
            file = self._fake.file(argument["path"])
            shown = {name: value for name, value in file.shown().items() if name != ".tag"}
        self._bytes_of(file, {"Dropbox-API-Result": json.dumps(shown)})

    def _upload(self, link: str, body: bytes) -> None:
        with self._fake.lock:
            answer = self._fake.upload_by_link(link, self.headers.get("Content-Type", ""), body)
        self._answer(200, json.dumps(answer).encode(), {**JSON, **FOR_PAGES})

    def _bytes_of(self, file: File, headers: dict[str, str]) -> None:
        size, wanted = len(file.content), self.headers.get("Range")
        if not wanted:
            self._answer(200, file.content, headers)
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last) + 1 if last else size, size)
        if start >= size:
            self._answer(416, b"", {"Content-Range": f"bytes */{size}"})
            return
        content_range = {"Content-Range": f"bytes {start}-{end - 1}/{size}"}
        self._answer(206, file.content[start:end], {**headers, **content_range})

    def _check_token(self) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token in self._fake.expired:
            raise Refusal(401, {".tag": "expired_access_token"})
        if token not in self._fake.tokens:
            raise Refusal(401, {".tag": "invalid_access_token"})

    def _token(self, body: bytes) -> dict[str, Any]:
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if (form.get("client_id"), form.get("client_secret")) != (APP_KEY, APP_SECRET):
            raise Refusal(400, {"error": "invalid_client", "error_description": "unknown app"})
        if form.get("refresh_token") != REFRESH_TOKEN:
            raise Refusal(400, {"error": "invalid_grant", "error_description": "refresh token is invalid"})
        token = f"sl.{uuid.uuid4().hex}"
        self._fake.tokens.add(token)
        return {"access_token": token, "expires_in": 14400, "token_type": "bearer"}

    def _refuse(self, refusal: Refusal) -> None:
        error = refusal.error
        if isinstance(error, str):
            self._answer(refusal.status, error.encode(), {"Content-Type": "text/plain", **refusal.headers})
            return
        shown = error if "error" in error else {"error_summary": "refused/..", "error": error}
        self._answer(refusal.status, json.dumps(shown).encode(), {**JSON, **refusal.headers})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        with self._fake.lock:
            self._fake.sent += len(body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Dropbox-Request-Id", "request-of-the-test")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):  # the client may go at any time
            if self.command != "HEAD":
                self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


def folded(path: str) -> str:
    """Return a path as Dropbox compares it."""
    return path.lower()


def conflict(tag: str, reason: str) -> Refusal:
    return Refusal(409, {".tag": tag, tag: {".tag": reason}})


def _wrapped(tag: str, reason: Any) -> Refusal:
    return Refusal(409, {".tag": tag, tag: reason})


def content_hash(content: bytes) -> str:
    """Return the hash that Dropbox has of a file."""
    blocks = [content[start : start + BLOCK] for start in range(0, len(content), BLOCK)]
    return hashlib.sha256(b"".join(hashlib.sha256(block).digest() for block in blocks)).hexdigest()


def check_hash(argument: dict[str, Any], body: bytes) -> None:
    if len(body) > LARGEST_UPLOAD:
        raise Refusal(413, "too large")
    expected = argument.get("content_hash")
    if expected and expected != content_hash(body):
        raise Refusal(409, {".tag": "content_hash_mismatch"})
