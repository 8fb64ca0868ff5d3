"""A fake of Backblaze B2's native API over HTTP, strict where the service is: tokens, capabilities, digests, ranges.

Written after backblaze.com/apidocs; nothing that could be installed speaks this API.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import socket
import sys
import threading
import time
import uuid
from base64 import b64decode
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from .process import HOST
from .thread import ThreadServer

if TYPE_CHECKING:
    pass

SMALLEST_PART = 5_000_000  # bytes
LONGEST_NAME = 1024  # bytes, of which a segment may have 250
LONGEST_SEGMENT = 250
LONGEST_EXPIRE = 604_800  # seconds

# File information that is served as a header, and what a download may ask to have in its place.
SERVED = {
    "b2-cache-control": ("Cache-Control", "b2CacheControl"),
    "b2-content-disposition": ("Content-Disposition", "b2ContentDisposition"),
    "b2-content-encoding": ("Content-Encoding", "b2ContentEncoding"),
    "b2-content-language": ("Content-Language", "b2ContentLanguage"),
    "b2-expires": ("Expires", "b2Expires"),
}

ALL = ("deleteFiles", "listBuckets", "listFiles", "readFiles", "shareFiles", "writeBuckets", "writeFiles")

# What the SDK wants to be told of every bucket.
BUCKET = {
    "accountId": "account",
    "bucketInfo": {},
    "corsRules": [],
    "defaultServerSideEncryption": {"isClientAuthorizedToRead": True, "value": {"algorithm": None, "mode": None}},
    "fileLockConfiguration": {"isClientAuthorizedToRead": False, "value": None},
    "lifecycleRules": [],
    "options": [],
    "replicationConfiguration": {"isClientAuthorizedToRead": False, "value": None},
    "revision": 1,
}

# What each request needs of the application key.
NEEDS = {
    "b2_cancel_large_file": "writeFiles",
    "b2_copy_file": "writeFiles",
    "b2_copy_part": "writeFiles",
    "b2_create_bucket": "writeBuckets",
    "b2_delete_file_version": "deleteFiles",
    "b2_finish_large_file": "writeFiles",
    "b2_get_download_authorization": "shareFiles",
    "b2_get_upload_part_url": "writeFiles",
    "b2_get_upload_url": "writeFiles",
    "b2_hide_file": "writeFiles",
    "b2_list_buckets": "listBuckets",
    "b2_list_file_names": "listFiles",
    "b2_list_file_versions": "listFiles",
    "b2_list_unfinished_large_files": "listFiles",
    "b2_start_large_file": "writeFiles",
}


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, code: str, message: str = "", headers: dict[str, str] | None = None):
        self.status, self.code, self.message = status, code, message or code
        self.headers = headers or {}


@dataclass
class Key:
    """An application key."""

    id: str
    secret: str
    capabilities: tuple[str, ...] = ALL
    bucket: str | None = None  # the only one that it may use


@dataclass
class Version:
    """One version of one file."""

    id: str
    bucket: str
    name: str
    action: str  # upload, hide, start
    content: bytes = b""
    content_type: str = ""
    info: dict[str, str] = field(default_factory=dict)
    sha1: str | None = None
    timestamp: int = field(default_factory=lambda: int(time.time() * 1000))
    parts: dict[int, bytes] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        return {
            "accountId": "account",
            "action": self.action,
            "bucketId": self.bucket,
            "contentLength": len(self.content),
            "contentSha1": self.sha1 or "none",
            "contentType": self.content_type,
            "fileId": self.id,
            "fileInfo": self.info,
            "fileName": self.name,
            "uploadTimestamp": self.timestamp,
        }


@dataclass
class Fault:
    """A refusal of the next requests whose path holds ``part``."""

    part: str
    refusal: Refused
    times: int


class B2(ThreadServer):
    """The service: ``with B2() as b2`` listens at ``b2.url``, which is the realm.

    Every URL that it gives out has the host that it was asked at, so what comes through a proxy stays there.
    """

    name = "B2 fake"

    def __init__(self) -> None:
        self.key = Key("0001key", "K001secret-of-the-key")
        self.keys = {self.key.id: self.key}
        self.buckets: dict[str, dict[str, Any]] = {}  # by name
        self.requests: list[str] = []  # method and path of all that came
        self._names: dict[str, list[str]] = {}  # by bucket id, sorted
        self._versions: dict[tuple[str, str], list[Version]] = {}  # newest first
        self._by_id: dict[str, Version] = {}
        self._tokens: dict[str, Key] = {}
        self._upload_tokens: dict[str, str] = {}  # token: path of the URL that it is for
        self._uploading: set[str] = set()
        self._downloads: dict[str, dict[str, Any]] = {}
        self._expired: set[str] = set()
        self._faults: list[Fault] = []
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        service = self

        class Handler(_Handler):
            b2 = service

        super().__init__(_Server((HOST, 0), Handler))

    @classmethod
    def version(cls) -> str:
        return "(in this process)"

    # For tests

    def make_bucket(self, kind: str = "allPrivate", name: str = "") -> str:
        """Create a bucket and return its name."""
        name = name or f"test-{uuid.uuid4().hex[:16]}"
        with self._lock:
            bucket = {"bucketId": f"bucket{next(self._numbers)}", "bucketName": name, "bucketType": kind}
            self.buckets[name] = {**BUCKET, **bucket}
            self._names[bucket["bucketId"]] = []
        return name

    def drop_bucket(self, name: str) -> None:
        del self.buckets[name]

    def add_key(self, *capabilities: str, bucket: str | None = None) -> Key:
        """Create a key that may do no more than ``capabilities``."""
        number = next(self._numbers)
        key = self.keys[f"000{number}key"] = Key(f"000{number}key", f"K00{number}secret", capabilities, bucket)
        return key

    def expire_tokens(self) -> None:
        """Make every token that was given out one of yesterday."""
        with self._lock:
            self._expired |= {*self._tokens, *self._upload_tokens, *self._downloads}

    def refuse(self, part: str, status: int, code: str, *, times: int = 1, **headers: str) -> None:
        """Refuse the next ``times`` requests whose path holds ``part``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._faults.append(Fault(part, Refused(status, code, headers=named), times))

    def heal(self) -> None:
        """Refuse nothing any more."""
        self._faults.clear()

    def versions(self, bucket: str, name: str) -> list[Version]:
        """Return all versions of a file, the newest first."""
        return list(self._versions.get((self.buckets[bucket]["bucketId"], name), ()))

    def hide(self, bucket: str, name: str) -> None:
        self._add(Version(self._new_id(), self.buckets[bucket]["bucketId"], name, "hide"))

    def unfinished(self, bucket: str | None = None) -> list[str]:
        """Return the ids of the large files that nobody has finished."""
        within = self.buckets[bucket]["bucketId"] if bucket else None
        started = [version for version in list(self._by_id.values()) if version.action == "start"]
        return [version.id for version in started if within in (None, version.bucket)]

    def put(self, bucket: str, name: str, content: bytes) -> None:
        """Store a file, or another version of it."""
        id_, sha1 = self.buckets[bucket]["bucketId"], hashlib.sha1(content, usedforsecurity=False).hexdigest()
        with self._lock:
            self._add(Version(self._new_id(), id_, name, "upload", content, "application/octet-stream", {}, sha1))

    def objects(self, bucket: str) -> dict[str, bytes]:
        """Return the files that are visible, by their names."""
        id_ = self.buckets[bucket]["bucketId"]
        with self._lock:
            versions = [one for name in self._names[id_] for one in reversed(self._versions[id_, name])]
        newest = {one.name: one for one in versions if one.action != "start"}
        return {name: one.content for name, one in newest.items() if one.action == "upload"}

    # Requests

    def trip(self, method: str, path: str) -> None:
        """Note a request; raise the fault that waits for it."""
        with self._lock:
            self.requests.append(f"{method} {path}")
            for fault in self._faults:
                if fault.part in path:
                    fault.times -= 1
                    if not fault.times:
                        self._faults.remove(fault)
                    raise fault.refusal

    def call(self, endpoint: str, token: str, base: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if endpoint == "b2_authorize_account":
            return self._authorize(token, base)
        key = self._key_of(token)
        if endpoint not in NEEDS:
            raise Refused(400, "bad_request", f"no such operation: {endpoint}")
        if NEEDS[endpoint] not in key.capabilities:
            raise Refused(401, "unauthorized", f"the key may not {NEEDS[endpoint]}")
        with self._lock:
            answer: dict[str, Any] = getattr(self, f"_{endpoint}")(arguments, base, key)
            return answer

    def _authorize(self, authorization: str, base: str) -> dict[str, Any]:
        key_id, _, secret = b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        key = self.keys.get(key_id)
        if key is None or key.secret != secret:
            raise Refused(401, "unauthorized", "invalid application key")
        token = f"4_{uuid.uuid4().hex}"
        self._tokens[token] = key
        bucket = self.buckets.get(key.bucket or "")
        id_ = bucket["bucketId"] if bucket else None
        storage_api = {
            "absoluteMinimumPartSize": SMALLEST_PART,
            "allowed": {
                "buckets": [{"id": id_, "name": key.bucket}] if bucket else None,
                "capabilities": list(key.capabilities),
                "namePrefix": None,
            },
            "apiUrl": base,
            "bucketId": id_,
            "bucketName": key.bucket,
            "capabilities": list(key.capabilities),
            "downloadUrl": base,
            "infoType": "storageApi",
            "namePrefix": None,
            "recommendedPartSize": 100_000_000,
            "s3ApiUrl": base,
        }
        return {"accountId": "account", "authorizationToken": token, "apiInfo": {"storageApi": storage_api}}

    def _key_of(self, token: str) -> Key:
        if token in self._expired:
            raise Refused(401, "expired_auth_token", "the token is one of yesterday")
        if token not in self._tokens:
            raise Refused(401, "bad_auth_token", "no such token")
        return self._tokens[token]

    def _b2_list_buckets(self, arguments: dict[str, Any], base: str, key: Key) -> dict[str, Any]:
        wanted = {field: arguments.get(field) for field in ("bucketId", "bucketName") if arguments.get(field)}
        if key.bucket and wanted.get("bucketName", key.bucket) != key.bucket:
            raise Refused(401, "unauthorized", "the key is for another bucket")
        return {"buckets": [one for one in self.buckets.values() if wanted.items() <= one.items()]}

    def _b2_create_bucket(self, arguments: dict[str, Any], base: str, key: Key) -> dict[str, Any]:
        if arguments["bucketName"] in self.buckets:
            raise Refused(400, "duplicate_bucket_name")
        self.make_bucket(arguments["bucketType"], arguments["bucketName"])
        self.buckets[arguments["bucketName"]].update(arguments)
        return self.buckets[arguments["bucketName"]]

    def _b2_get_upload_url(self, arguments: dict[str, Any], base: str, key: Key) -> dict[str, Any]:
        return self._upload_url(f"/upload/{self._bucket_id(arguments)}", base)

    def _b2_get_upload_part_url(self, arguments: dict[str, Any], base: str, key: Key) -> dict[str, Any]:
        return self._upload_url(f"/upload-part/{self._started(arguments['fileId']).id}", base)

    def _upload_url(self, start: str, base: str) -> dict[str, Any]:
        path, token = f"{start}/{next(self._numbers)}", f"upload_{uuid.uuid4().hex}"
        self._upload_tokens[token] = path
        return {"uploadUrl": base + path, "authorizationToken": token}

    def upload(self, path: str, headers: Any, read: Any) -> dict[str, Any]:
        """Take a small file, or a part of a large one."""
        token = headers["Authorization"]
        if token in self._expired:
            raise Refused(401, "expired_auth_token")
        if self._upload_tokens.get(token) != path:
            raise Refused(401, "bad_auth_token")
        with self._lock:
            if token in self._uploading:
                raise Refused(400, "auth_token_limit", f"more than one upload using auth token {token}")
            self._uploading.add(token)
        try:
            body = read()
        finally:
            self._uploading.discard(token)
        sha1 = hashlib.sha1(body, usedforsecurity=False).hexdigest()
        if headers["X-Bz-Content-Sha1"] != sha1:
            raise Refused(400, "bad_request", "Sha1 did not match data received")
        with self._lock:
            if path.startswith("/upload-part/"):
                file = self._started(path.split("/")[2])
                file.parts[int(headers["X-Bz-Part-Number"])] = body
                return {"fileId": file.id, "contentSha1": sha1, "contentLength": len(body)}
            info = {
                name.lower()[len("X-Bz-Info-") :]: unquote(value)
                for name, value in headers.items()
                if name.lower().startswith("x-bz-info-")
            }
            bucket, name = path.split("/")[2], unquote(headers["X-Bz-File-Name"])
            version = Version(self._new_id(), bucket, name, "upload", body, headers["Content-Type"], info, sha1)
            return self._add(version).described()

    def _b2_start_large_file(self, arguments: dict[str, Any], base: str, key: Key) -> dict[str, Any]:
        bucket, name = self._bucket_id(arguments), arguments["fileName"]
        info = arguments.get("fileInfo") or {}
        return self._add(
            Version(self._new_id(), bucket, name, "start", content_type=arguments["contentType"], info=info)
        ).described()

    def _b2_finish_large_file(self, arguments: dict[str, Any], base: str, key: Key) -> dict[str, Any]:
        file = self._started(arguments["fileId"])
        parts = [file.parts[number] for number in sorted(file.parts)]
        sha1s = [hashlib.sha1(part, usedforsecurity=False).hexdigest() for part in parts]
        if sorted(file.parts) != list(range(1, len(parts) + 1)) or sha1s != arguments["partSha1Array"]:
            raise Refused(400, "bad_request", "the parts are other ones")
        if len(parts) < 2 or any(len(part) < SMALLEST_PART for part in parts[:-1]):
            raise Refused(400, "bad_request", "a large file has two parts or more, each but the last of 5 MB or more")
        file.content, file.action, file.parts = b"".join(parts), "upload", {}
        return file.described()

    def _b2_cancel_large_file(self, arguments: dict[str, Any], base: str, key: Key) -> dict[str, Any]:
        return self._remove(self._started(arguments["fileId"]))

    def _b2_list_unfinished_large_files(self, arguments: dict[str, Any], base: str, key: Key) -> dict[str, Any]:
        bucket, prefix = self._bucket_id(arguments), arguments.get("namePrefix") or ""
        started = [one for one in self._by_id.values() if one.action == "start" and one.bucket == bucket]
        return {"files": [one.described() for one in started if one.name.startswith(prefix)], "nextFileId": None}

    def _b2_copy_file(self, arguments: dict[str, Any], base: str, key: Key) -> dict[str, Any]:
        source = self._version(arguments["sourceFileId"])
        replaces = arguments.get("metadataDirective") == "REPLACE"
        kept = (arguments["contentType"], arguments.get("fileInfo") or {}) if replaces else None
        content_type, info = kept or (source.content_type, dict(source.info))
        version = Version(self._new_id(), source.bucket, arguments["fileName"], "upload", source.content)
        version.content_type, version.info, version.sha1 = content_type, info, source.sha1
        return self._add(version).described()

    def _b2_copy_part(self, arguments: dict[str, Any], base: str, key: Key) -> dict[str, Any]:
        source, file = self._version(arguments["sourceFileId"]), self._started(arguments["largeFileId"])
        span = arguments["range"].removeprefix("bytes=").split("-")
        part = file.parts[arguments["partNumber"]] = source.content[int(span[0]) : int(span[1]) + 1]
        return {"fileId": file.id, "contentSha1": hashlib.sha1(part, usedforsecurity=False).hexdigest()}

    def _b2_delete_file_version(self, arguments: dict[str, Any], base: str, key: Key) -> dict[str, Any]:
        version = self._by_id.get(arguments["fileId"])
        if version is None or version.name != arguments["fileName"]:
            raise Refused(400, "file_not_present")
        return self._remove(version)

    def _b2_hide_file(self, arguments: dict[str, Any], base: str, key: Key) -> dict[str, Any]:
        version = Version(self._new_id(), self._bucket_id(arguments), arguments["fileName"], "hide")
        return self._add(version).described()

    def _b2_list_file_names(self, arguments: dict[str, Any], base: str, key: Key) -> dict[str, Any]:
        bucket, prefix = self._bucket_id(arguments), arguments.get("prefix") or ""
        delimiter, most = arguments.get("delimiter") or "", arguments.get("maxFileCount") or 100
        names = self._names[bucket]
        files: list[dict[str, Any]] = []
        position = bisect.bisect_left(names, max(arguments.get("startFileName") or "", prefix))
        while position < len(names) and names[position].startswith(prefix):
            name = names[position]
            rest, cut, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
            if cut:
                folder = prefix + rest + cut
                found: dict[str, Any] | None = {"action": "folder", "fileName": folder, "contentLength": 0}
                position = bisect.bisect_left(names, folder[:-1] + chr(ord(delimiter) + 1))
            else:
                found = self._newest_listed(bucket, name)
                position += 1
            if found is not None:
                if len(files) == most:
                    return {"files": files, "nextFileName": found["fileName"]}
                files.append(found)
        return {"files": files, "nextFileName": None}

    def _newest_listed(self, bucket: str, name: str) -> dict[str, Any] | None:
        newest = next((one for one in self._versions[bucket, name] if one.action != "start"), None)
        return newest.described() if newest is not None and newest.action == "upload" else None

    def _b2_list_file_versions(self, arguments: dict[str, Any], base: str, key: Key) -> dict[str, Any]:
        bucket, prefix = self._bucket_id(arguments), arguments.get("prefix") or ""
        start, most = arguments.get("startFileName") or "", arguments.get("maxFileCount") or 100
        names = self._names[bucket]
        found: list[Version] = []
        for name in names[bisect.bisect_left(names, max(start, prefix)) :]:
            if not name.startswith(prefix) or len(found) > most:
                break
            versions = self._versions[bucket, name]
            ids = [version.id for version in versions]
            if name == start and arguments.get("startFileId") in ids:
                versions = versions[ids.index(arguments["startFileId"]) :]
            found += versions
        beyond = found[most] if len(found) > most else None
        return {
            "files": [version.described() for version in found[:most]],
            "nextFileName": beyond and beyond.name,
            "nextFileId": beyond and beyond.id,
        }

    def _b2_get_download_authorization(self, arguments: dict[str, Any], base: str, key: Key) -> dict[str, Any]:
        if not 1 <= arguments["validDurationInSeconds"] <= LONGEST_EXPIRE:
            raise Refused(400, "bad_request", "validDurationInSeconds")
        token = f"3_{uuid.uuid4().hex}"
        self._downloads[token] = {
            **arguments,
            "bucketId": self._bucket_id(arguments),
            "until": time.monotonic() + arguments["validDurationInSeconds"],
        }
        return {"authorizationToken": token}

    def download(self, path: str, query: dict[str, str], token: str | None) -> tuple[Version, dict[str, str]]:
        """Return a version and the headers that describe it."""
        with self._lock:
            if path.endswith("/b2_download_file_by_id"):
                version = self._version(query["fileId"])
            else:
                bucket_name, _, name = path.removeprefix("/file/").partition("/")
                version = self._newest(bucket_name, unquote(name))
            self._admit(version, query, token)
        headers = {
            "Content-Type": query.get("b2ContentType") or version.content_type,
            "X-Bz-Content-Sha1": version.sha1 or "none",
            "X-Bz-File-Id": version.id,
            "X-Bz-File-Name": quote(version.name),
            "X-Bz-Upload-Timestamp": str(version.timestamp),
        }
        for name, value in version.info.items():
            headers[f"X-Bz-Info-{name}"] = quote(value)
        for name, (header, parameter) in SERVED.items():
            if value := query.get(parameter) or version.info.get(name):
                headers[header] = value
        return version, headers

    def _newest(self, bucket_name: str, name: str) -> Version:
        bucket = self.buckets.get(bucket_name)
        versions = self._versions.get((bucket["bucketId"], name), []) if bucket else []
        newest = next((one for one in versions if one.action != "start"), None)
        if newest is None or newest.action != "upload":
            raise Refused(404, "not_found", f"File with such name does not exist: {name}")
        return newest

    def _admit(self, version: Version, query: dict[str, str], token: str | None) -> None:
        bucket = next(one for one in self.buckets.values() if one["bucketId"] == version.bucket)
        overrides = {name: value for name, value in query.items() if name.startswith("b2")}
        if not token:
            if bucket["bucketType"] != "allPublic" or overrides:
                raise Refused(401, "unauthorized", "a token is needed")
            return
        granted = self._downloads.get(token)
        if granted is None:
            if "readFiles" not in self._key_of(token).capabilities:
                raise Refused(401, "unauthorized", "the key may not readFiles")
            return
        bound = {name: value for name, value in granted.items() if name.startswith("b2")}
        in_reach = granted["bucketId"] == version.bucket and version.name.startswith(granted["fileNamePrefix"])
        if token in self._expired or granted["until"] < time.monotonic():
            raise Refused(401, "expired_auth_token")
        if not in_reach or bound != overrides:
            raise Refused(401, "unauthorized", "the token is for other downloads")

    # State

    def _new_id(self) -> str:
        return f"4_z{next(self._numbers):016}"

    def _bucket_id(self, arguments: dict[str, Any]) -> str:
        id_: str = arguments["bucketId"]
        if id_ not in {one["bucketId"] for one in self.buckets.values()}:
            raise Refused(400, "bad_bucket_id", f"Bucket {id_} does not exist")
        return id_

    def _version(self, id_: str) -> Version:
        if id_ not in self._by_id or self._by_id[id_].action != "upload":
            raise Refused(404, "not_found", f"no such file: {id_}")
        return self._by_id[id_]

    def _started(self, id_: str) -> Version:
        if id_ not in self._by_id or self._by_id[id_].action != "start":
            raise Refused(400, "bad_request", f"no active upload for: {id_}")
        return self._by_id[id_]

    def _add(self, version: Version) -> Version:
        name = version.name
        segments = [len(segment.encode()) for segment in name.split("/")]
        if not name or len(name.encode()) > LONGEST_NAME or max(segments) > LONGEST_SEGMENT or 0 in segments:
            raise Refused(400, "bad_request", "File names must be 1 to 1024 bytes, their segments 1 to 250")
        names = self._names[version.bucket]
        position = bisect.bisect_left(names, name)
        if names[position : position + 1] != [name]:
            names.insert(position, name)
        self._versions.setdefault((version.bucket, name), []).insert(0, version)
        self._by_id[version.id] = version
        return version

    def _remove(self, version: Version) -> dict[str, Any]:
        del self._by_id[version.id]
        left = self._versions[version.bucket, version.name]
        left.remove(version)
        if not left:
            del self._versions[version.bucket, version.name]
            self._names[version.bucket].remove(version.name)
        return {"fileId": version.id, "fileName": version.name}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # which tests provoke
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    b2: B2
    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_POST(self) -> None:
        self._answer(self._post)

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_HEAD(self) -> None:
        self._answer(self._get)

    def _answer(self, make: Any) -> None:
        self._unread = int(self.headers.get("Content-Length", 0))
        try:
            self.b2.trip(self.command, self.path)
            status, headers, body = make()
        except Refused as refused:
            status, headers = refused.status, {"Content-Type": "application/json", **refused.headers}
            body = json.dumps({"status": refused.status, "code": refused.code, "message": refused.message}).encode()
        except ConnectionError:  # the client hung up
            self.close_connection = True
            return
        if self._unread:  # refused before it was read
            self.close_connection = not self._skip()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def _read(self) -> bytes:
        wanted, self._unread = self._unread, 0
        body = self.rfile.read(wanted)
        if len(body) < wanted:
            raise ConnectionError("the client hung up")
        return body

    def _skip(self) -> bool:
        try:
            self._read()
        except ConnectionError:
            return False
        return True

    def _post(self) -> tuple[int, dict[str, str], bytes]:
        path = urlsplit(self.path).path
        if path.startswith("/upload"):
            answer = self.b2.upload(path, self.headers, self._read)
        else:
            base = f"http://{self.headers['Host']}"
            arguments = json.loads(self._read() or b"{}")
            answer = self.b2.call(path.rpartition("/")[2], self.headers["Authorization"], base, arguments)
        return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()

    def _get(self) -> tuple[int, dict[str, str], bytes]:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        token = query.pop("Authorization", None) or self.headers.get("Authorization")
        version, headers = self.b2.download(url.path, query, token)
        size = len(version.content)
        span = self.headers.get("Range")
        if not span:
            return 200, headers, version.content
        start, _, end = span.removeprefix("bytes=").partition("-")
        if int(start) >= size:
            raise Refused(416, "range_not_satisfiable", "The range does not fit the file")
        body = version.content[int(start) : int(end or size) + 1]
        headers["Content-Range"] = f"bytes {start}-{int(start) + len(body) - 1}/{size}"
        return 206, headers, body

    def log_message(self, *arguments: Any) -> None:
        pass
