"""A lean stand-in for S3 with an injected latency, which counts what it is asked.

It speaks as much of the protocol as the scenarios need, checks no signature, makes large objects up while sending and
forgets large bodies while receiving, so that the clients and not the server are what is measured.
"""

from __future__ import annotations

import argparse
import email.utils
import itertools
import json
import mmap
import re
import socket
import ssl
import threading
import time
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote
from xml.sax.saxutils import escape, unescape

SLICE = 1024**2  # bytes handed to the kernel at once
PACED_SLICE = 256 * 1024  # the same where the bandwidth is limited
KEPT = 16 * 1024**2  # bodies up to this size are stored as they came, longer ones as their length
BLOCK = memoryview(bytes(itertools.islice(itertools.cycle(range(251)), 2 * SLICE)))
STARTED = time.time()
MODIFIED = email.utils.formatdate(STARTED, usegmt=True)
MODIFIED_ISO = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(STARTED))
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class Profile(NamedTuple):
    """What the network between client and server does."""

    request: float = 0.0  # seconds
    handshake: float = 0.0  # seconds before "100 Continue"
    connect: float = 0.0  # seconds per new connection
    rate: float = 0.0  # bytes per second and connection; 0 is unlimited
    tls: bool = False
    mute: bool = False  # takes requests and never answers


PROFILES = {
    "local": Profile(),
    "tls": Profile(tls=True),
    "lat20": Profile(request=0.020, handshake=0.002),
    "near": Profile(request=0.020, handshake=0.002, connect=0.006, rate=90e6),
    "mute": Profile(mute=True),
}


class Synthetic:
    """Stand for ``size`` bytes of a known pattern without holding them."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def views(self, start, end, step):
        """Yield the bytes start..end in pieces of at most ``step`` (up to SLICE)."""
        for position in range(start, end, step):
            offset = position % SLICE
            yield BLOCK[offset : offset + min(step, end - position)]


class Stored:
    """Hold the bytes of a body, or of a file that was seeded."""

    def __init__(self, content):
        self.view = memoryview(content)

    def __len__(self):
        return len(self.view)

    def views(self, start, end, step):
        """Yield the bytes start..end in pieces of at most ``step``."""
        for position in range(start, end, step):
            yield self.view[position : min(position + step, end)]


@dataclass(slots=True)
class Object:
    """One object with what its headers tell."""

    content: Synthetic | Stored
    etag: str
    content_type: str = "binary/octet-stream"
    line: str = ""  # of the listing, made at first use


@dataclass
class Upload:
    """A multipart upload under way."""

    key: str
    content_type: str
    parts: dict[int, Synthetic | Stored] = field(default_factory=dict)
    kept: int = 0  # bytes

    def add(self, number, content):
        """Keep the part, or only its length once the whole is too long to be kept."""
        self.kept += len(content)
        self.parts[number] = content if self.kept <= KEPT else Synthetic(len(content))

    def assemble(self):
        """Return the whole as one content."""
        parts = [self.parts[number] for number in sorted(self.parts)]
        if all(isinstance(part, Stored) for part in parts):
            return Stored(b"".join(part.view for part in parts))
        return Synthetic(sum(map(len, parts)))


class Bucket:
    """Objects by key, with the sorted keys for the listings."""

    def __init__(self):
        self.objects = {}
        self.seeded = {}
        self._sorted = None
        self._touched = False

    def put(self, key, entry):
        """Create or replace one object."""
        self.objects[key] = entry
        self._sorted, self._touched = None, True

    def remove(self, key):
        """Delete one object if there is one."""
        if self.objects.pop(key, None):
            self._sorted, self._touched = None, True

    def seed(self, key, entry):
        """Put an object that survives a reset."""
        self.seeded[key] = self.objects[key] = entry
        self._sorted = None

    def reset(self):
        """Go back to what was seeded."""
        if self._touched:
            self.objects = dict(self.seeded)
            self._sorted, self._touched = None, False

    @property
    def keys(self):
        """All keys, in order."""
        if self._sorted is None:
            self._sorted = sorted(self.objects)
        return self._sorted


class State:
    """Everything that connections share."""

    COUNTS = ("requests", "sent", "received", "continues", "connections")

    def __init__(self):
        self.lock = threading.Lock()
        self.buckets = {}
        self.uploads = {}
        self.serial = itertools.count(1)
        self.counts = dict.fromkeys(self.COUNTS, 0)
        self.log = []

    def count(self, **amounts):
        """Add to the counters."""
        with self.lock:
            for name, amount in amounts.items():
                self.counts[name] += amount

    def take_counts(self):
        """Return the counters with the log of requests, and start again at zero."""
        with self.lock:
            taken = {**self.counts, "log": self.log}
            self.counts = dict.fromkeys(self.COUNTS, 0)
            self.log = []
        return taken

    def bucket(self, name):
        """Return the bucket, made at first use."""
        return self.buckets.setdefault(name, Bucket())

    def etag(self):
        """Return an opaque etag that was never given before."""
        return f'"{next(self.serial):032x}"'

    def reset(self):
        """Drop what was written since the seeding."""
        for bucket in self.buckets.values():
            bucket.reset()
        self.uploads.clear()


class Request(NamedTuple):
    """One request with its body."""

    method: str
    bucket: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Synthetic | Stored


class Connection:
    """Serve one connection until the client closes it."""

    def __init__(self, sock, state, profile, context):
        self.sock, self.state, self.profile, self.context = sock, state, profile, context
        self.ready = 0.0  # when the bandwidth allows the next byte

    def serve(self):
        """Answer requests until the end of the connection, whichever way it ends."""
        time.sleep(self.profile.connect)
        try:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.context:
                self.sock = self.context.wrap_socket(self.sock, server_side=True)
            self.input = self.sock.makefile("rb", buffering=PACED_SLICE)
            self.scratch = memoryview(bytearray(PACED_SLICE))
            while self._serve_one():
                pass
        except (OSError, ValueError):
            pass  # the client went away
        finally:
            self.sock.close()

    # ---- one request

    def _serve_one(self):
        line = self.input.readline()
        if not line:
            return False
        method, target, _ = line.decode("latin-1").split(" ", 2)
        headers = self._headers()
        path, _, query = target.partition("?")
        bucket, _, key = unquote(path).lstrip("/").partition("/")
        control = bucket == "_bench"
        if self.profile.mute and not control:
            time.sleep(3600)
        if headers.get("expect") == "100-continue":
            time.sleep(self.profile.handshake)
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.state.count(continues=1)
        query = dict(parse_qsl(query, keep_blank_values=True))
        request = Request(method, bucket, key, query, headers, self._body(headers))
        if control:
            self._control(request)
            return True
        # Counted before the answer, so that a client that has its answer finds it counted.
        with self.state.lock:
            self.state.counts["requests"] += 1
            self.state.counts["received"] += len(request.body)
            if len(self.state.log) < 100:
                self.state.log.append(f"{method} {target[:120]} {headers.get('range', '')}".rstrip())
        time.sleep(self.profile.request)
        self._answer(request)
        return True

    def _headers(self):
        headers = {}
        while (line := self.input.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return headers

    def _body(self, headers):
        if headers.get("transfer-encoding") == "chunked":
            content = self._chunked(int(headers.get("x-amz-decoded-content-length", 0)))
        else:
            content = self._exactly(int(headers.get("content-length", 0)))
        if "aws-chunked" in headers.get("content-encoding", "") and isinstance(content, Stored):
            content = Stored(_unframe(content.view))
        return content

    def _exactly(self, size):
        kept = memoryview(bytearray(size)) if size <= KEPT else None
        position = 0
        while position < size:
            target = kept[position : position + PACED_SLICE] if kept else self.scratch[: size - position]
            count = self.input.readinto1(target)
            if not count:
                raise ConnectionResetError
            position += count
            self._pace(count)
        return Synthetic(size) if kept is None and size else Stored(kept or b"")

    def _chunked(self, decoded):
        pieces = []
        while size := int(self.input.readline().split(b";")[0], 16):
            piece = self.input.read(size)
            self.input.readline()
            self._pace(size)
            if decoded <= KEPT:
                pieces.append(piece)
        while self.input.readline() not in (b"\r\n", b""):
            pass
        return Synthetic(decoded) if decoded > KEPT else Stored(b"".join(pieces))

    def _pace(self, count):
        if not self.profile.rate:
            return
        now = time.monotonic()
        self.ready = max(self.ready, now) + count / self.profile.rate
        time.sleep(self.ready - now)

    # ---- answers

    def _send(self, status, body=b"", **headers):
        self.sock.sendall(_preamble(status, {"Content-Length": len(body), **headers}) + body)
        self.state.count(sent=len(body))

    def _xml(self, body, **headers):
        document = f'<?xml version="1.0" encoding="UTF-8"?>\n{body}'.encode()
        self._send("200 OK", document, **{"Content-Type": "application/xml", **headers})

    def _error(self, status, code, request):
        body = f"<Error><Code>{code}</Code><Message>{code}</Message><Key>{escape(request.key)}</Key></Error>".encode()
        self._send(status, b"" if request.method == "HEAD" else body, **{"Content-Type": "application/xml"})

    def _answer(self, request):
        if not request.key:
            action = self._delete_many if "delete" in request.query else self._list
        else:
            action = getattr(self, f"_{request.method.lower()}")
        action(request, self.state.bucket(request.bucket))

    def _head(self, request, bucket):
        entry = bucket.objects.get(request.key)
        if entry is None:
            return self._error("404 Not Found", "NoSuchKey", request)
        self.sock.sendall(_preamble("200 OK", {**_describe(entry), "Content-Length": len(entry.content)}))

    def _get(self, request, bucket):
        entry = bucket.objects.get(request.key)
        if entry is None:
            return self._error("404 Not Found", "NoSuchKey", request)
        if request.headers.get("if-match", entry.etag) != entry.etag:
            return self._error("412 Precondition Failed", "PreconditionFailed", request)
        size = len(entry.content)
        status, headers, (start, end) = "200 OK", _describe(entry), (0, size)
        if wanted := request.headers.get("range"):
            start, end = _parse_range(wanted, size)
            if start >= size:
                return self._error("416 Requested Range Not Satisfiable", "InvalidRange", request)
            status, headers["Content-Range"] = "206 Partial Content", f"bytes {start}-{end - 1}/{size}"
        head = _preamble(status, {**headers, "Content-Length": end - start})
        self._send_content(head, entry.content, start, end)

    def _send_content(self, head, content, start, end):
        if end - start <= PACED_SLICE:  # one packet train, as a real server's
            self._pace(end - start)
            self.sock.sendall(b"".join([head, *content.views(start, end, PACED_SLICE)]))
            return self.state.count(sent=end - start)
        self.sock.sendall(head)
        for view in content.views(start, end, PACED_SLICE if self.profile.rate else SLICE):
            self._pace(len(view))
            self.sock.sendall(view)
            self.state.count(sent=len(view))

    def _put(self, request, bucket):
        if "partNumber" in request.query:
            return self._put_part(request)
        if not self._allowed(request, bucket):
            return self._error("412 Precondition Failed", "PreconditionFailed", request)
        if source := request.headers.get("x-amz-copy-source"):
            return self._copy(request, bucket, unquote(source).lstrip("/"))
        content_type = request.headers.get("content-type", "binary/octet-stream")
        entry = Object(request.body, self.state.etag(), content_type)
        with self.state.lock:
            bucket.put(request.key, entry)
        self._send("200 OK", ETag=entry.etag)

    def _allowed(self, request, bucket):
        entry = bucket.objects.get(request.key)
        if request.headers.get("if-none-match") == "*" and entry:
            return False
        return "if-match" not in request.headers or (entry and entry.etag == request.headers["if-match"])

    def _copy(self, request, bucket, source):
        name, _, key = source.partition("?")[0].partition("/")
        original = self.state.bucket(name).objects.get(key)
        if original is None:
            return self._error("404 Not Found", "NoSuchKey", request)
        entry = Object(original.content, self.state.etag(), original.content_type)
        with self.state.lock:
            bucket.put(request.key, entry)
        self._xml(
            f'<CopyObjectResult xmlns="{NAMESPACE}"><ETag>{escape(entry.etag)}</ETag>'
            f"<LastModified>{MODIFIED_ISO}</LastModified></CopyObjectResult>"
        )

    def _put_part(self, request):
        upload = self.state.uploads.get(request.query["uploadId"])
        if upload is None:
            return self._error("404 Not Found", "NoSuchUpload", request)
        with self.state.lock:
            upload.add(int(request.query["partNumber"]), request.body)
        self._send("200 OK", ETag=self.state.etag())

    def _post(self, request, bucket):
        if "uploads" in request.query:
            number = f"upload-{next(self.state.serial)}"
            content_type = request.headers.get("content-type", "binary/octet-stream")
            self.state.uploads[number] = Upload(request.key, content_type)
            return self._xml(
                f'<InitiateMultipartUploadResult xmlns="{NAMESPACE}"><Bucket>{request.bucket}</Bucket>'
                f"<Key>{escape(request.key)}</Key><UploadId>{number}</UploadId></InitiateMultipartUploadResult>"
            )
        upload = self.state.uploads.pop(request.query.get("uploadId"), None)
        if upload is None:
            return self._error("404 Not Found", "NoSuchUpload", request)
        if not self._allowed(request, bucket):
            return self._error("412 Precondition Failed", "PreconditionFailed", request)
        entry = Object(upload.assemble(), self.state.etag(), upload.content_type)
        with self.state.lock:
            bucket.put(request.key, entry)
        self._xml(
            f'<CompleteMultipartUploadResult xmlns="{NAMESPACE}"><Bucket>{request.bucket}</Bucket>'
            f"<Key>{escape(request.key)}</Key><ETag>{escape(entry.etag)}</ETag></CompleteMultipartUploadResult>"
        )

    def _delete(self, request, bucket):
        if "uploadId" in request.query:
            self.state.uploads.pop(request.query["uploadId"], None)
        else:
            with self.state.lock:
                bucket.remove(request.key)
        self._send("204 No Content")

    def _delete_many(self, request, bucket):
        document = bytes(request.body.view).decode()
        keys = [unescape(key, {"&quot;": '"', "&apos;": "'"}) for key in re.findall(r"<Key>(.*?)</Key>", document)]
        with self.state.lock:
            for key in keys:
                bucket.remove(key)
        lines = (f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
        told = "" if "<Quiet>true</Quiet>" in document else "".join(lines)
        self._xml(f'<DeleteResult xmlns="{NAMESPACE}">{told}</DeleteResult>')

    def _list(self, request, bucket):
        if request.method == "HEAD":
            return self._send("200 OK")
        if "uploads" in request.query:
            return self._xml(f'<ListMultipartUploadsResult xmlns="{NAMESPACE}"></ListMultipartUploadsResult>')
        query = request.query
        after = query.get("continuation-token") or query.get("start-after") or query.get("marker") or ""
        limit = min(int(query.get("max-keys", 1000)), 1000)
        with self.state.lock:
            keys = bucket.keys
        page = _page(keys, query.get("prefix", ""), query.get("delimiter", ""), after, limit)
        encode = quote if query.get("encoding-type") == "url" else str
        lines = [_line(bucket.objects[key], key) for key in page.keys if key in bucket.objects]
        lines += [f"<CommonPrefixes><Prefix>{escape(encode(one))}</Prefix></CommonPrefixes>" for one in page.prefixes]
        if page.last is not None:
            marker = "NextContinuationToken" if "list-type" in query else "NextMarker"
            lines.append(f"<{marker}>{escape(page.last if 'list-type' in query else encode(page.last))}</{marker}>")
        encoding = "<EncodingType>url</EncodingType>" if encode is quote else ""
        self._xml(
            f'<ListBucketResult xmlns="{NAMESPACE}"><Name>{request.bucket}</Name>'
            f"<Prefix>{escape(encode(query.get('prefix', '')))}</Prefix><MaxKeys>{limit}</MaxKeys>{encoding}"
            f"<KeyCount>{len(page.keys) + len(page.prefixes)}</KeyCount>"
            f"<IsTruncated>{str(page.last is not None).lower()}</IsTruncated>{''.join(lines)}</ListBucketResult>"
        )

    # ---- the benchmark's own requests: not delayed, not counted

    def _control(self, request):
        wanted = json.loads(bytes(request.body.view) or b"{}")
        answer = None
        if request.key == "seed":
            _seed(self.state, wanted)
        elif request.key == "reset":
            self.state.reset()
        elif request.key == "counts":
            answer = self.state.take_counts()
        elif request.key == "size":
            entry = self.state.bucket(wanted["bucket"]).objects.get(wanted["key"])
            answer = None if entry is None else len(entry.content)
        body = json.dumps(answer).encode()
        self.sock.sendall(_preamble("200 OK", {"Content-Length": len(body)}) + body)


class Page(NamedTuple):
    """What one listing request gives."""

    keys: list[str]
    prefixes: list[str]
    last: str | None  # where the next page goes on; None at the end


def _page(keys, prefix, delimiter, after, limit):
    found, prefixes = [], []
    # A page may end on a prefix: the next one begins behind everything below it.
    start = after + "\U0010ffff" if delimiter and after.endswith(delimiter) else after
    index = max(bisect_left(keys, prefix), bisect_right(keys, start) if after else 0)
    last = after
    while index < len(keys) and keys[index].startswith(prefix):
        if len(found) + len(prefixes) == limit:
            return Page(found, prefixes, last)
        key = keys[index]
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        if cut < 0:
            found.append(key)
            last, index = key, index + 1
        else:
            last = key[: cut + 1]
            prefixes.append(last)
            index = bisect_left(keys, last + "\U0010ffff", index)
    return Page(found, prefixes, None)


def _line(entry, key):
    if not entry.line:
        entry.line = (
            f"<Contents><Key>{escape(quote(key))}</Key><LastModified>{MODIFIED_ISO}</LastModified>"
            f"<ETag>{escape(entry.etag, {chr(34): '&quot;'})}</ETag><Size>{len(entry.content)}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
        )
    return entry.line


def _describe(entry):
    return {
        "ETag": entry.etag,
        "Last-Modified": MODIFIED,
        "Accept-Ranges": "bytes",
        "Content-Type": entry.content_type,
    }


def _preamble(status, headers):
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\nServer: responder\r\nx-amz-request-id: 0\r\n{lines}\r\n".encode("latin-1")


def _parse_range(text, size):
    """Return start and end (exclusive) of ``bytes=a-b``, ``bytes=a-`` or ``bytes=-n``."""
    first, _, last = text.removeprefix("bytes=").partition("-")
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size


def _unframe(view):
    """Return the content of an aws-chunked body."""
    raw, pieces, position = bytes(view), [], 0
    while True:
        end = raw.index(b"\r\n", position)
        size = int(raw[position:end].split(b";")[0], 16)
        if not size:
            return b"".join(pieces)
        pieces.append(raw[end + 2 : end + 2 + size])
        position = end + 2 + size + 2


def _seed(state, wanted):
    """Put objects that survive a reset: one of ``size`` bytes, one from ``file``, or ``count`` by a ``pattern``."""
    bucket = state.bucket(wanted["bucket"])
    if "pattern" in wanted:
        content = Synthetic(wanted["size"])
        for number in range(wanted["count"]):
            bucket.seed(wanted["pattern"].format(number), Object(content, state.etag()))
        bucket.keys  # noqa: B018 -- sorted now, not in the first listing that is measured
        for key, entry in bucket.objects.items():
            _line(entry, key)
    elif "file" in wanted:
        with open(wanted["file"], "rb") as file:
            content = Stored(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        bucket.seed(wanted["key"], Object(content, state.etag()))
    else:
        bucket.seed(wanted["key"], Object(Synthetic(wanted["size"]), state.etag()))


def main():
    """Serve one profile on a free port of the loopback interface and print the port."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("profile", choices=PROFILES)
    parser.add_argument("--certificate", help="PEM file with key and certificate, for the TLS profile")
    options = parser.parse_args()
    profile, state, context = PROFILES[options.profile], State(), None
    if profile.tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.certificate)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            sock, _ = server.accept()
            state.count(connections=1)
            connection = Connection(sock, state, profile, context)
            threading.Thread(target=connection.serve, daemon=True).start()


if __name__ == "__main__":
    main()
