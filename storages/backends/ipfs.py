"""IPFS, through the RPC API of a node."""

from __future__ import annotations

import contextlib
import functools
import io
import ipaddress
import json
import re
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from storages import process, usual
from storages.base import BaseStorage
from storages.contract import PATIENCE, Body, Capabilities, Entry, Stat, WriteOptions
from storages.errors import REQUESTS_MEANINGS, meaning_by_name
from storages.files import StorageFile
from storages.mixin import with_query
from storages.optional import OptionalModule
from storages.settings import Setting, redacted
from storages.streams import ChunkReader, EmptyBody, read_chunks

urllib3 = OptionalModule("urllib3", "ipfs")

PAUSE = 0.5  # seconds before the second try; each later pause is twice as long
KNOWN_SIZES = 10_000  # files whose sizes a process keeps: they never change

_BUSY = (429, 502, 503, 504)

# Version 0, and version 1 in the bases that nodes write: base32, base58, base36, hexadecimal.
_CID = re.compile("Qm[1-9A-HJ-NP-Za-km-z]{44}|b[a-z2-7]{50,}|z[1-9A-HJ-NP-Za-km-z]{40,}|k[0-9a-z]{50,}|f[0-9a-f]{60,}")

# What nodes write into a 500, which is all that they say about what is not there.
_MISSING = re.compile(
    "not pinned|pinned indirectly|not found|could not find|no link named|timed out|deadline exceeded", re.IGNORECASE
)
_FULL = re.compile("no space left|quota", re.IGNORECASE)
_MEANINGS: dict[int, type[Exception]] = {
    401: PermissionError,
    403: PermissionError,
    404: ImproperlyConfigured,
    405: ImproperlyConfigured,
}


class IPFSStorage(BaseStorage):
    """Store files on an IPFS node, which names each one after its content: the name of a saved file is its CID."""

    api_url = Setting(
        "http://localhost:5001/api/v0/",
        names=("IPFS_STORAGE_API_URL",),
        help="URL of the node's RPC API. A user and password in it are sent as Basic authorization.",
    )
    gateway_url = Setting(
        "https://ipfs.io/ipfs/",
        names=("IPFS_STORAGE_GATEWAY_URL", "IPFS_GATEWAY_API_URL"),
        help="Start of all URLs: a gateway; {cid} in it stands for the CID, as in a host name.",
    )
    auth = Setting(
        names=("IPFS_STORAGE_AUTH",),
        type=(str, tuple, list),
        secret=True,
        help="User and password for Basic authorization at the API, or a Bearer token.",
    )
    headers = Setting(
        {}, names=("IPFS_STORAGE_HEADERS",), type=dict, secret=True, help="More headers for requests to the API."
    )
    ca_certs = Setting(
        names=("IPFS_STORAGE_CA_CERTS",),
        role="authority",
        help="File of the certificates to trust instead of the system's.",
    )
    cid_version = Setting(
        0, names=("IPFS_STORAGE_CID_VERSION",), type=int, choices=(0, 1), help="Version of the CIDs of new files."
    )
    raw_leaves = Setting(
        None,
        names=("IPFS_STORAGE_RAW_LEAVES",),
        type=bool,
        help="Whether the blocks of new files are plain bytes. None: as the node does, with version 1 only.",
    )
    pin = Setting(
        True, names=("IPFS_STORAGE_PIN",), type=bool, help="Whether new files are pinned. What is not, gets lost."
    )
    pinning_service = Setting(
        names=("IPFS_STORAGE_PINNING_SERVICE",),
        help="Name of a remote pinning service, as the node knows it, where new files are pinned as well.",
    )
    delete_mode = Setting(
        "unpin",
        names=("IPFS_STORAGE_DELETE_MODE",),
        choices=("unpin", "noop"),
        help="What delete() does: remove the pin, or nothing.",
    )
    still_used = Setting(
        names=("IPFS_STORAGE_STILL_USED",),
        type=(callable, str),
        help="A callable, or its dotted path, that is asked before a pin is removed whether something still refers to "
        "the name: equal files have one pin.",
    )
    filename_in_url = Setting(
        False,
        names=("IPFS_STORAGE_FILENAME_IN_URL",),
        type=bool,
        help="Whether the file's own name is kept behind the CID, and given to the gateway with the URL.",
    )
    offline = Setting(
        True,
        names=("IPFS_STORAGE_OFFLINE",),
        type=bool,
        help="Whether only what the node has is read; False lets it search the network.",
    )
    lookup_timeout = Setting(
        10,
        names=("IPFS_STORAGE_LOOKUP_TIMEOUT",),
        type=(int, float),
        least=0.001,
        help="Seconds for which the node looks for a file; then it counts as missing.",
    )
    connect_timeout = usual.CONNECT_TIMEOUT.named("IPFS_STORAGE_CONNECT_TIMEOUT")
    read_timeout = usual.READ_TIMEOUT.named("IPFS_STORAGE_READ_TIMEOUT")
    max_attempts = usual.MAX_ATTEMPTS.named(
        "IPFS_STORAGE_MAX_ATTEMPTS", default=4, help="Tries of a request that fails."
    )

    positional = ("api_url", "gateway_url")

    sdk = urllib3

    capabilities = Capabilities(
        ranges=True,
        streams=True,
        content_addressed=True,
        missing={
            "create_only": "A name follows from the content, so there is nothing to replace.",
            "if_match": "The content under a name never changes.",
            "copy": "A name can't be chosen, so there are no copies.",
            "presign": "Gateways serve everybody, or nobody.",
            "created_time": "IPFS keeps no times.",
            "accessed_time": "IPFS keeps no times.",
            "content_type": "IPFS keeps bytes only; gateways guess the type.",
        },
    )

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self._check_api()

    @property
    def client(self) -> RPC:
        """Return the client of the node's RPC API, one for all storages and threads with the same configuration."""
        return self._derived("client", self._shared_client)

    def _shared_client(self) -> RPC:
        url, headers = self._address()
        limits = (self.connect_timeout, self.read_timeout, self.max_attempts)
        key = ("ipfs", url, *limits, self.ca_certs, headers)
        return process.shared(key, lambda: RPC(url, headers, *limits, self.ca_certs))

    # Hooks

    def _stat(self, key: str) -> Stat:
        cid = self._cid(key)
        found = self.client.call("files/stat", arg=f"/ipfs/{cid}", timeout=f"{self.lookup_timeout}s", **self._reach)
        if found["Type"] != "file":
            raise IsADirectoryError(cid)
        self._remember(cid, found["Size"])
        return Stat(found["Size"], etag=cid)

    def _open_range(self, key: str, start: int, end: int | None, if_match: str | None = None) -> Body:
        cid = self._cid(key)
        size = self._sizes.get(cid)
        if size is None:
            size = self._stat(key).size
        stat = Stat(size, etag=cid)
        length = min(size, size if end is None else end) - start
        if length <= 0:
            return EmptyBody(stat)
        return _Body(self.client.send("cat", arg=cid, offset=start, length=length, **self._reach), stat, length)

    def _put(self, key: str, body: Any, options: WriteOptions) -> str:
        upload = _Upload(body)
        asked = {"pin": self.pin, "cid-version": self.cid_version, "raw-leaves": self.raw_leaves, "progress": False}
        cid: str = self.client.call("add", upload, **asked)["Hash"]
        self._remember(cid, upload.size)
        file_name = key.rpartition("/")[2]
        if self.pinning_service:
            self.client.call("pin/remote/add", arg=cid, service=self.pinning_service, name=file_name, background=True)
        return f"{cid}/{file_name}" if self.filename_in_url else cid

    def _delete(self, key: str) -> None:
        cid = self._cid(key)
        still_used = import_string(self.still_used) if isinstance(self.still_used, str) else self.still_used
        if self.delete_mode == "noop" or (still_used and still_used(key)):
            return
        if self.pinning_service:
            self.client.call("pin/remote/rm", service=self.pinning_service, cid=cid, force=True)
        self.client.call("pin/rm", arg=cid)

    def _list(self, prefix: str) -> Iterator[Entry]:
        if prefix:  # there are no directories
            return
        for pin in self.client.lines("pin/ls", type="recursive", stream=True):
            yield Entry(pin["Cid"])

    def _exists(self, key: str) -> bool:
        # Not what the node happens to have, but what it keeps.
        if not _CID.fullmatch(_split(key)[0]):
            return False
        try:
            if self.pin:
                self.client.call("pin/ls", arg=self._cid(key), type="recursive")
            else:
                self._stat(key)
        except RPCError as error:
            if self._classify(error) is not FileNotFoundError:
                raise
            return False
        return True

    def _classify(self, error: BaseException) -> type[Exception] | None:
        if isinstance(error, RPCError):
            if error.status == 500 and _FULL.search(error.message):
                return OSError
            missing = error.status == 500 and _MISSING.search(error.message)
            return FileNotFoundError if missing else _MEANINGS.get(error.status)
        if type(error).__module__.partition(".")[0] != "urllib3":
            return None
        return meaning_by_name(error, REQUESTS_MEANINGS) or ConnectionError

    def _advise(self, error: BaseException, kind: type[Exception]) -> str:
        said = f"{type(self).__name__}: {redacted(str(error))}"
        if kind is FileNotFoundError:
            return f"{said}. The node has no such file"
        if kind is OSError:
            return f"{said}. There is no room left at the node: unpin something and collect garbage, or add a disk"
        if kind is PermissionError:
            return f"{said}. Correct {self._spelt('auth')}, and what the node's API.Authorizations allow"
        if kind is ImproperlyConfigured:
            return f"{said}. There is no RPC API at {redacted(self.api_url)!r}: correct {self._spelt('api_url')}"
        return f"{said}. Check that the node runs, and {self._spelt('api_url')}"

    # URLs

    def _public_url(self, key: str, parameters: Mapping[str, Any]) -> str:
        cid, file_name = _split(key)
        if not _CID.fullmatch(cid):
            raise ValueError(f"{key!r} is no CID, so no gateway has it; use the name that save() returned")
        query = {"filename": file_name, **parameters} if file_name and self.filename_in_url else parameters
        if "{cid}" in self.gateway_url:
            return with_query(self.gateway_url.replace("{cid}", cid), query)
        return with_query(f"{self.gateway_url.rstrip('/')}/{quote(cid)}", query)

    # Names

    def _cid(self, key: str) -> str:
        cid = _split(key)[0]
        if not _CID.fullmatch(cid):
            raise FileNotFoundError(f"{key!r} is no CID; use the name that save() returned")
        return cid

    # Requests

    @property
    def _reach(self) -> dict[str, Any]:
        return {"offline": True} if self.offline else {}

    @property
    def _sizes(self) -> OrderedDict[str, int]:
        return process.shared("ipfs sizes", OrderedDict)

    def _remember(self, cid: str, size: int) -> None:
        sizes = self._sizes
        sizes[cid] = size
        if len(sizes) > KNOWN_SIZES:
            with contextlib.suppress(KeyError):  # another thread was first
                sizes.popitem(last=False)

    def _check_api(self) -> None:
        url, headers = self._address()
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ImproperlyConfigured(
                f"{type(self).__name__}: {self._spelt('api_url')} begins with https:// or http:// and a host, unlike "
                f"{redacted(self.api_url)!r}"
            )
        secret = "authorization" in {name.lower() for name in headers}
        if secret and parts.scheme == "http" and not _is_this_machine(parts.hostname):
            raise ImproperlyConfigured(
                f"{type(self).__name__}: credentials would cross the network in the clear; use https:// in "
                f"{self._spelt('api_url')}"
            )

    def _address(self) -> tuple[str, dict[str, str]]:
        """Return the API's URL without credentials, ending in a slash, and the headers that go with each request."""
        parts = urlsplit(self.api_url)
        headers = {str(name): str(value) for name, value in (self.headers or {}).items()}
        auth = self.auth
        if not auth and parts.username is not None:
            auth = (unquote(parts.username), unquote(parts.password or ""))
        if isinstance(auth, str):
            headers["Authorization"] = f"Bearer {auth}"
        elif auth and len(auth) != 2:
            raise ImproperlyConfigured(
                f"{type(self).__name__}: {self._spelt('auth')} is a token, or a pair of user and password"
            )
        elif auth:
            headers.update(_basic(*auth))
        path = parts.path.strip("/") or "api/v0"
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{path}/", headers


class RPC:
    """A client of the RPC API: POST, streams both ways, timeouts, and an end to its patience."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        connect_timeout: float,
        read_timeout: float,
        max_attempts: int,
        ca_certs: str | None = None,
    ):
        self._url = url
        self._headers = dict(headers)
        self._read_timeout = read_timeout
        self._max_attempts = max_attempts
        timeout = urllib3.Timeout(connect=connect_timeout, read=read_timeout)
        self._pool = urllib3.PoolManager(
            maxsize=process.CONNECTIONS,
            timeout=timeout,
            retries=False,
            ca_certs=ca_certs,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._url}>"

    def call(self, command: str, body: _Upload | None = None, **arguments: Any) -> dict[str, Any]:
        """Send a command and return its answer, of several lines the last. Raises RPCError."""
        return next(iter(list(self._lines(command, body, arguments))[-1:]), {})

    def lines(self, command: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Send a command and yield the lines of its answer. Raises RPCError."""
        return self._lines(command, None, arguments)

    def export_car(self, cid: str) -> io.BufferedReader:
        """Return a readable of the CAR archive of all blocks under ``cid``; close it after use. Raises RPCError."""
        answer = self.send("dag/export", arg=cid, progress=False)
        answer.auto_close = False  # at its end, where a BufferedReader reads once more
        return io.BufferedReader(answer)

    def import_car(self, file: Any) -> list[str]:
        """Store the blocks of a CAR archive, pin its roots and return their CIDs. Raises RPCError."""
        upload, asked = _Upload(file), {"pin-roots": True, "allow-big-block": False}
        answers = list(self._lines("dag/import", upload, asked))
        return [answer["Root"]["Cid"]["/"] for answer in answers if answer.get("Root")]

    def send(self, command: str, body: _Upload | None = None, **arguments: Any) -> Any:
        """Send a command and return urllib3's answer, to be read and closed. Raises RPCError."""
        query = urlencode([(name, _written(value)) for name, value in arguments.items() if value is not None])
        started = time.monotonic()
        for tries in range(1, self._max_attempts + 1):
            pause = PAUSE * 2 ** (tries - 1)
            late = time.monotonic() - started + pause + self._read_timeout > PATIENCE
            last = tries == self._max_attempts or late or not (body is None or body.rewindable)
            try:
                answer = self._post(f"{self._url}{command}?{query}", body)
            except urllib3.exceptions.HTTPError:
                if body is not None and body.error is not None:
                    raise body.error from None
                if last or time.monotonic() - started + pause + self._read_timeout > PATIENCE:
                    raise
            else:
                if answer.status == 200:
                    return answer
                with contextlib.closing(answer):
                    error = RPCError(command, answer.status, _message(answer.read()))
                if last or answer.status not in _BUSY:
                    raise error
            time.sleep(pause)
        raise AssertionError("unreachable")

    def _post(self, url: str, body: _Upload | None) -> Any:
        headers, chunks = self._headers, None
        if body is not None:
            headers, chunks = {**headers, "Content-Type": body.content_type}, body.chunks()
        answer = self._pool.request(
            "POST", url, body=chunks, headers=headers, preload_content=False, decode_content=False, redirect=False
        )
        if answer.length_remaining is None and not answer.chunked:
            # Nodes always tell where an answer ends; urllib3 only warns of headers that were cut before they could.
            answer.close()
            raise urllib3.exceptions.ProtocolError("the node's answer broke off in its headers")
        return answer

    def _lines(self, command: str, body: _Upload | None, arguments: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        with contextlib.closing(self.send(command, body, **arguments)) as answer:
            for line in io.BufferedReader(ChunkReader(read_chunks(answer))):
                if line.strip():
                    found = json.loads(line)
                    if found.get("Type") == "error":  # in the middle of an answer
                        raise RPCError(command, 500, found.get("Message", ""))
                    yield found


class RPCError(Exception):
    """A refusal by the node."""

    def __init__(self, command: str, status: int, message: str):
        super().__init__(command, status, message)
        self.command, self.status, self.message = command, status, message

    def __str__(self) -> str:
        return f"{self.command}: {self.message} ({self.status})"


# The names of django-ipfs-storage.
InterPlanetaryFileSystemStorage = IPFSStorage
IPFSFile = StorageFile


class _Upload:
    """One file as a multipart body, read as it is sent."""

    def __init__(self, body: Any):
        self._body = body
        self._boundary = uuid.uuid4().hex
        self.size = 0  # bytes sent of the file
        self.error: BaseException | None = None  # of the file
        self.rewindable = isinstance(body, io.BytesIO)  # of what is longer, only the beginning was kept
        self.content_type = f"multipart/form-data; boundary={self._boundary}"

    def chunks(self) -> Iterator[bytes]:
        if self.rewindable:
            self._body.seek(0)
        self.size = 0
        yield (
            f'--{self._boundary}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        try:
            for chunk in read_chunks(self._body):
                self.size += len(chunk)
                yield chunk
        except Exception as error:
            self.error = error  # urllib3 would take some of these for the connection's
            raise
        yield f"\r\n--{self._boundary}--\r\n".encode()


class _Body:
    """The body of an answer to ``cat``, which may break off without saying so."""

    def __init__(self, answer: Any, stat: Stat, length: int):
        self.stat: Stat | None = stat
        self._answer = answer
        self._length = self._left = length
        self.close = answer.close

    def read(self, size: int = -1, /) -> bytes:
        data: bytes = self._answer.read(None if size < 0 else size)
        self._left -= len(data)
        if self._left > 0 and (size < 0 or (size and not data)):
            raise ConnectionError(f"the node's answer broke off {self._left} bytes before its end")
        return data


def _split(key: str) -> tuple[str, str]:
    """Return the CID in a key, and the file's own name behind it."""
    cid, _, file_name = key.partition("/")
    return cid, file_name


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _basic(user: str, password: str) -> dict[str, str]:
    return urllib3.make_headers(basic_auth=f"{user}:{password}")


def _message(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["Message"])
    except (ValueError, TypeError, KeyError):
        return answer[:200].decode(errors="replace").strip()


@functools.cache
def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
