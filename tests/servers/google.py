"""Google's services beside its storage, as far as a storage speaks to them: access tokens and signatures by IAM."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from google.auth import compute_engine, iam
from google.auth.compute_engine import _metadata
from google.oauth2 import service_account

from .process import HOST
from .thread import ThreadServer

CHUNK_UNIT = 256 * 1024  # bytes; a service keeps whole ones of a chunk

if TYPE_CHECKING:
    from typing_extensions import Self

ACCOUNT = "storage@test-project.iam.gserviceaccount.com"
TOKEN = "ya29.token-of-the-test"
METADATA: dict[str, bytes | dict[str, Any]] = {
    "instance/service-accounts/default/": {"email": ACCOUNT, "scopes": []},
    "instance/service-accounts/default/token": {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"},
    "universe/universe-domain": b"googleapis.com",
}


@functools.cache
def private_key() -> rsa.RSAPrivateKey:
    """Return the key of the account, made anew in each run."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@functools.cache
def private_pem() -> str:
    """Return that key as a service account's JSON file has it."""
    form = serialization.PrivateFormat.PKCS8
    return private_key().private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def sign(message: bytes) -> bytes:
    """Return the account's signature of ``message``."""
    return private_key().sign(message, padding.PKCS1v15(), hashes.SHA256())


def verify(signature: bytes, message: bytes) -> None:
    """Raise InvalidSignature unless the account has signed ``message``."""
    private_key().public_key().verify(signature, message, padding.PKCS1v15(), hashes.SHA256())


class Request(NamedTuple):
    """What came in."""

    method: str
    path: str  # as sent: quoted, with the query
    headers: Mapping[str, str]  # whatever the case of a name
    body: bytes


class Answer(NamedTuple):
    """What goes out."""

    status: int = 200
    body: bytes | dict[str, Any] = b""  # a dict goes as JSON
    headers: dict[str, str] = {}


class Scripted(ThreadServer):
    """An HTTP server that answers as ``script(request)`` says; ``with Scripted(script) as server``.

    A script that raises ConnectionError breaks the connection off.
    """

    def __init__(self, script: Callable[[Request], Answer]):
        self.requests: list[Request] = []
        self.script = script
        super().__init__(_HTTPServer((HOST, 0), functools.partial(_Handler, self)))

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.requests]


def refusal(status: int, message: str = "") -> Answer:
    return Answer(status, {"error": {"code": status, "message": message}})


class Sessions:
    """A script that takes one resumable upload, as Google's documentation says, and loses what it is told to.

    ``faults`` maps the number of a PUT to what goes wrong with it. (fake-gcs-server takes the question of what has
    arrived for the end of the upload.)
    """

    def __init__(self, **faults: str):
        self.faults = {int(number.removeprefix("put")): fault for number, fault in faults.items()}
        self.stored = b""
        self.complete = False
        self.aborted = False
        self.puts: list[Request] = []

    def __call__(self, request: Request) -> Answer:
        if request.method == "POST":
            url = f"http://{request.headers['Host']}/upload/storage/v1/b/bkt/o?uploadType=resumable&upload_id=SECRET"
            return Answer(200, {}, {"Location": url})
        if request.method == "DELETE":
            self.aborted = True
            return Answer(499)
        self.puts.append(request)
        return getattr(self, self.faults.get(len(self.puts), "take"))(request)

    def take(self, request: Request, most: int | None = None) -> Answer:
        span, _, size = request.headers["Content-Range"].removeprefix("bytes ").partition("/")
        if span != "*":
            assert int(span.partition("-")[0]) == len(self.stored), "chunks follow one another"
            self.stored += request.body[:most]
        self.complete = self.complete or size == str(len(self.stored))
        if self.complete:
            return Answer(200, {"size": str(len(self.stored))})
        return Answer(308, b"", {"Range": f"bytes=0-{len(self.stored) - 1}"} if self.stored else {})

    def keep_half(self, request: Request) -> Answer:
        return self.take(request, len(request.body) // 2 // CHUNK_UNIT * CHUNK_UNIT)

    def keep_nothing(self, request: Request) -> Answer:
        return self.take(request, 0)

    def lose_answer(self, request: Request) -> Answer:
        self.take(request)
        raise ConnectionResetError

    def lose_chunk(self, request: Request) -> Answer:
        raise ConnectionResetError

    def lose_half(self, request: Request) -> Answer:
        self.keep_half(request)
        raise ConnectionResetError

    def be_busy(self, request: Request) -> Answer:
        return refusal(503)

    def be_gone(self, request: Request) -> Answer:
        return refusal(410)

    def know_nothing(self, request: Request) -> Answer:
        return refusal(404)

    def be_done(self, request: Request) -> Answer:
        return Answer(200, {"size": str(len(self.stored))})

    def forget(self, request: Request) -> Answer:
        self.stored = b""
        return Answer(308)


class Google(Scripted):
    """Give out tokens, as Google and as the metadata server of a machine, and sign as IAM does.

    ``refusals`` maps the end of a path to the answer that refuses it.
    """

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.refusals: dict[str, Answer] = {}
        self._patches = contextlib.ExitStack()

    def __enter__(self) -> Self:
        for cls in (service_account.Credentials, compute_engine.Credentials):
            # google-auth asks a host of Google's, in the background, where an account may act.
            asks = "_is_regional_access_boundary_lookup_required"
            self._patches.enter_context(mock.patch.object(cls, asks, return_value=False, create=True))
        host = self.url.removeprefix("http://")
        self._patches.enter_context(mock.patch.object(_metadata, "_GCE_METADATA_HOST", host))
        self._patches.enter_context(mock.patch.object(iam, "_IAM_SIGN_ENDPOINT", f"{self.url}/{{}}:signBlob"))
        return super().__enter__()

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self._patches.close()

    def key(self, **changes: str) -> dict[str, str]:
        """Return the content of a JSON file of the account's credentials."""
        return {
            "type": "service_account",
            "project_id": "test-project",
            "private_key_id": "1",
            "private_key": private_pem(),
            "client_email": ACCOUNT,
            "token_uri": f"{self.url}/token",
            **changes,
        }

    def refused_key(self) -> dict[str, str]:
        """Return a JSON file for which no token is given."""
        return self.key(token_uri=f"{self.url}/refused-token")

    def _answer(self, request: Request) -> Answer:
        for ending, refusal in self.refusals.items():
            if request.path.endswith(ending):
                return refusal
        if request.path == "/token" and "assertion" in parse_qs(request.body.decode()):
            return Answer(200, {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"})
        if request.path.startswith("/computeMetadata/"):
            return Answer(
                200, METADATA[urlsplit(request.path).path.rpartition("/v1/")[2]], {"Metadata-Flavor": "Google"}
            )
        if request.path == f"/{ACCOUNT}:signBlob":
            message = base64.b64decode(json.loads(request.body)["payload"])
            return Answer(200, {"keyId": "1", "signedBlob": base64.b64encode(sign(message)).decode()})
        return Answer(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, scripted: Scripted, *arguments: Any):
        self._scripted = scripted
        super().__init__(*arguments)

    def _handle(self) -> None:
        body = self._received(int(self.headers.get("Content-Length", 0)))
        request = Request(self.command, self.path, self.headers, body)
        self._scripted.requests.append(request)
        try:
            status, answer, headers = self._scripted.script(request)
        except ConnectionError:
            self.close_connection = True
            return
        data = json.dumps(answer).encode() if isinstance(answer, dict) else answer
        kind = "application/json" if isinstance(answer, dict) else "text/plain"
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _received(self, size: int) -> bytes:
        """Return what has come of a body, also where the connection broke then."""
        body = bytearray()
        with contextlib.suppress(ConnectionError):
            while len(body) < size and (piece := self.rfile.read1(size - len(body))):
                body += piece
        return bytes(body)

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("do_"):  # whatever the method
            return self._handle
        raise AttributeError(attribute)

    def log_message(self, *arguments: Any) -> None:
        pass
