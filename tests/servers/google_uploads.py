"""A bucket of Google's, as far as uploads by browsers go: it refuses what the documentation says, as no emulator does.

cloud.google.com/storage/docs/authentication/canonical-requests, .../performing-resumable-uploads and
.../xml-api/reference-headers
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from cryptography.exceptions import InvalidSignature

from .google import CHUNK_UNIT, TOKEN, Answer, Request, refusal, verify

UPLOADS = "/upload/storage/v1/b/"
OBJECTS = "/storage/v1/b/"
DOWNLOADS = "/download/storage/v1/b/"


@dataclass
class Object:
    content: bytes
    content_type: str
    generation: int


@dataclass
class Session:
    key: str
    size: int
    content_type: str
    origin: str
    generation: int | None  # that the key must have when it is complete
    stored: bytes = b""
    complete: bool = False


class Bucket:
    """The script of a Scripted server: one bucket that takes signed PUTs and resumable uploads.

    ``now`` is its clock, ``cors`` its rules. Only who shows the account's token may begin a session, look at an object,
    or change the rules.
    """

    def __init__(self, name: str = "bkt"):
        self.name = name
        self.objects: dict[str, Object] = {}
        self.cors: list[dict[str, Any]] = []
        self.sessions: dict[str, Session] = {}
        self.now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.timezone.utc)
        self._generations = itertools.count(1)

    def __call__(self, request: Request) -> Answer:
        parts = urlsplit(request.path)
        query = dict(parse_qsl(parts.query))
        if "upload_id" in query:
            return self._session(request, query["upload_id"])
        if "X-Goog-Signature" in query:
            status, body, headers = self._preflight(request) or self._signed(request, parts.path, query)
            return Answer(status, body, {**headers, **self._for_pages(request, request.method)})
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return refusal(401, "no token")
        if parts.path == f"{UPLOADS}{self.name}/o" and query.get("uploadType") == "resumable":
            return self._begin(request, query)
        if parts.path.startswith(f"{OBJECTS}{self.name}/o/"):
            return self._object(request, unquote(parts.path.partition("/o/")[2]))
        if parts.path.startswith(f"{DOWNLOADS}{self.name}/o/"):
            return self._download(request, unquote(parts.path.partition("/o/")[2]))
        if parts.path == f"{OBJECTS}{self.name}":
            return self._itself(request)
        return refusal(404, "The specified bucket does not exist.")

    def write(self, key: str, content: bytes, content_type: str) -> Answer:
        self.objects[key] = Object(content, content_type, next(self._generations))
        return self._shown(key)

    # Cross-Origin Resource Sharing: cloud.google.com/storage/docs/cross-origin

    def _itself(self, request: Request) -> Answer:
        if request.method == "PATCH":
            self.cors = json.loads(request.body)["cors"]
        return Answer(200, {"name": self.name, "cors": self.cors})

    def _preflight(self, request: Request) -> Answer | None:
        if request.method != "OPTIONS":
            return None
        asked = {name.strip() for name in request.headers.get("Access-Control-Request-Headers", "").lower().split(",")}
        headers = self._for_pages(request, request.headers.get("Access-Control-Request-Method", ""))
        allowed = headers.get("Access-Control-Allow-Headers", "").lower().split(",")
        return Answer(200, b"", headers) if asked - {""} <= set(allowed) else Answer(200)

    def _for_pages(self, request: Request, method: str) -> dict[str, str]:
        """Return what the rules let a page of the origin do."""
        origin = request.headers.get("Origin", "")
        for rule in self.cors:
            if {origin, "*"} & set(rule["origin"]) and method in rule["method"]:
                names = ",".join(rule["responseHeader"])
                return {
                    "Access-Control-Allow-Origin": origin,
                    "Access-Control-Allow-Methods": ",".join(rule["method"]),
                    "Access-Control-Allow-Headers": names,
                    "Access-Control-Expose-Headers": names,
                }
        return {}

    # One signed request

    def _signed(self, request: Request, path: str, query: dict[str, str]) -> Answer:
        if len(request.body) < int(request.headers.get("Content-Length", 0)):
            raise ConnectionAbortedError
        begun = datetime.datetime.strptime(query["X-Goog-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
        if self.now() > begun + datetime.timedelta(seconds=int(query["X-Goog-Expires"])):
            return refusal(400, "ExpiredToken")
        names = query["X-Goog-SignedHeaders"].split(";")
        given = {name.lower() for name in request.headers}
        if "host" not in names or any(name.startswith("x-goog-") for name in given - set(names)):
            return refusal(403, "MalformedSecurityHeader: a header was included in the request, but not signed")
        if not _holds(request, path, query, names):
            return refusal(403, "SignatureDoesNotMatch")
        bucket, _, key = unquote(path).lstrip("/").partition("/")
        if bucket != self.name or request.method != "PUT":
            return refusal(404)
        least, most = (
            int(bound) for bound in request.headers.get("x-goog-content-length-range", "0,99999999").split(",")
        )
        if not least <= len(request.body) <= most:
            return refusal(400, "EntityTooLarge" if len(request.body) > most else "EntityTooSmall")
        wanted = request.headers.get("x-goog-if-generation-match")
        if wanted is not None and not self._has_generation(key, int(wanted)):
            return refusal(412, "PreconditionFailed")
        return self.write(key, request.body, request.headers.get("Content-Type", ""))

    # Resumable uploads

    def _begin(self, request: Request, query: dict[str, str]) -> Answer:
        asked = json.loads(request.body)
        wanted = query.get("ifGenerationMatch")
        session = Session(
            asked["name"],
            int(request.headers["X-Upload-Content-Length"]),
            request.headers["X-Upload-Content-Type"],
            request.headers.get("Origin", ""),
            None if wanted is None else int(wanted),
        )
        number = secrets.token_hex(16)
        self.sessions[number] = session
        url = f"http://{request.headers['Host']}{UPLOADS}{self.name}/o?uploadType=resumable&upload_id={number}"
        return Answer(200, {}, {"Location": url})

    def _session(self, request: Request, number: str) -> Answer:
        session = self.sessions.get(number)
        if session is None:
            return refusal(404)
        cors = {"Access-Control-Allow-Origin": session.origin} if session.origin else {}
        if request.method == "OPTIONS":
            asked = request.headers.get(
                "Access-Control-Request-Headers", ""
            )  # JSON's API grants it, whatever the rules
            allowed = {"Access-Control-Allow-Methods": "PUT", "Access-Control-Allow-Headers": asked}
            return Answer(200, b"", {**cors, **allowed})
        if request.method == "DELETE":
            del self.sessions[number]
            return Answer(499)
        status, body, headers = self._take(session, request)
        return Answer(status, body, {**headers, **cors, "Access-Control-Expose-Headers": "Range"})

    def _take(self, session: Session, request: Request) -> Answer:
        if session.complete:
            return self._shown(session.key)
        span, _, total = request.headers["Content-Range"].removeprefix("bytes ").partition("/")
        if total not in ("*", str(session.size)):
            return refusal(400, "the size is another one than that of the session")
        if span == "*":
            return self._so_far(session)
        first, last = map(int, span.split("-"))
        if first > len(session.stored) or last >= session.size:
            return refusal(400, "Failed to parse Content-Range header")
        whole = len(request.body) == last - first + 1
        stored = session.stored + request.body[len(session.stored) - first :]
        if not whole or len(stored) < session.size:
            stored = stored[: len(stored) // CHUNK_UNIT * CHUNK_UNIT]
        session.stored = max(session.stored, stored, key=len)
        if not whole:
            raise ConnectionAbortedError
        if len(session.stored) < session.size:
            return self._so_far(session)
        if session.generation is not None and not self._has_generation(session.key, session.generation):
            return refusal(412, "conditionNotMet")
        session.complete = True
        return self.write(session.key, session.stored, session.content_type)

    def _so_far(self, session: Session) -> Answer:
        return Answer(308, b"", {"Range": f"bytes=0-{len(session.stored) - 1}"} if session.stored else {})

    # Objects

    def _object(self, request: Request, key: str) -> Answer:
        if key not in self.objects:
            return refusal(404, f"No such object: {self.name}/{key}")
        if request.method == "DELETE":
            del self.objects[key]
            return Answer(204)
        return self._shown(key)

    def _download(self, request: Request, key: str) -> Answer:
        if key not in self.objects:
            return refusal(404, f"No such object: {self.name}/{key}")
        found, span = self.objects[key], request.headers.get("Range", "")
        headers = {"X-Goog-Generation": str(found.generation), "Content-Type": found.content_type}
        if not span:
            return Answer(200, found.content, headers)
        first, last = span.removeprefix("bytes=").split("-")
        body = found.content[int(first) : int(last or len(found.content)) + 1]
        end = int(first) + len(body) - 1
        return Answer(206, body, {**headers, "Content-Range": f"bytes {first}-{end}/{len(found.content)}"})

    def _has_generation(self, key: str, generation: int) -> bool:
        return generation == (self.objects[key].generation if key in self.objects else 0)

    def _shown(self, key: str) -> Answer:
        found = self.objects[key]
        moment = "2026-11-20T12:00:00.000Z"
        shown = {
            "name": key,
            "bucket": self.name,
            "size": str(len(found.content)),
            "generation": str(found.generation),
            "contentType": found.content_type,
            "timeCreated": moment,
            "updated": moment,
        }
        return Answer(200, shown)


def _holds(request: Request, path: str, query: dict[str, str], names: list[str]) -> bool:
    """Whether the account has signed this request, as it came in."""
    unsigned = dict(query)
    signature = unsigned.pop("X-Goog-Signature")
    values = {name: re.sub(" +", " ", request.headers.get(name, "").strip()) for name in names}
    canonical = [
        request.method,
        path,
        urlencode(sorted(unsigned.items()), quote_via=quote, safe="-_.~"),
        *(f"{name}:{values[name]}" for name in sorted(names)),
        "",
        ";".join(sorted(names)),
        "UNSIGNED-PAYLOAD",
    ]
    scope = unsigned["X-Goog-Credential"].partition("/")[2]
    digest = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    try:
        verify(bytes.fromhex(signature), f"GOOG4-RSA-SHA256\n{unsigned['X-Goog-Date']}\n{scope}\n{digest}".encode())
    except (InvalidSignature, ValueError):
        return False
    return True
