"""Libcloud's drivers, made to share connections, to time out, to ask once, and to be careful with files."""

from __future__ import annotations

import contextlib
import copy
import errno
import functools
import os
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from storages import process
from storages.contract import PATIENCE
from storages.optional import OptionalModule

libcloud_base = OptionalModule("libcloud.storage.base", "libcloud")
libcloud_local = OptionalModule("libcloud.storage.drivers.local", "libcloud")
libcloud_providers = OptionalModule("libcloud.storage.providers", "libcloud")
libcloud_s3 = OptionalModule("libcloud.storage.drivers.s3", "libcloud")
libcloud_types = OptionalModule("libcloud.storage.types", "libcloud")
requests = OptionalModule("requests", "libcloud")

BLOCK = 1024**2  # bytes of a streamed upload at a time
B2 = "backblaze_b2"
LOCAL = "local"
# Their drivers log in over connections of their own, which take their timeout from an argument of the driver.
LOGGING_IN = (B2, "google_storage")

# Types of older settings and documentation: hosts that were given for types, constants that Libcloud gave up.
RENAMED_TYPES = {
    "CLOUDFILES_SWIFT": "OPENSTACK_SWIFT",
    "S3_AP_NORTHEAST_HOST": "S3_AP_NORTHEAST",
    "S3_AP_SOUTHEAST_HOST": "S3_AP_SOUTHEAST",
    "S3_EU_WEST_HOST": "S3_EU_WEST",
    "S3_US_STANDARD": "S3",
    "S3_US_STANDARD_HOST": "S3",
    "S3_US_WEST_HOST": "S3_US_WEST",
    "S3_US_WEST_OREGON_HOST": "S3_US_WEST_OREGON",
}
GONE_TYPES = {
    **dict.fromkeys(("CLOUDFILES_US", "CLOUDFIULES_US"), "it is 'CLOUDFILES' with the 'region' 'ord' or 'dfw' now"),
    **dict.fromkeys(("CLOUDFILES_UK", "CLOUDFIULES_UK"), "it is 'CLOUDFILES' with the 'region' 'lon' now"),
    **dict.fromkeys(("NIMBUS", "NINEFOLD"), "that service was shut down"),
    "ATMOS": "Libcloud gave it up",
    "DUMMY": "it would store nothing",
    "S3_EU_WEST3": "it is 'S3' with the 'region' 'eu-west-3'",
}

_BUSY = (429, 503)
_PAUSES = (0.5, 1, 2, 4)  # seconds before the next try
_STALE = 1  # seconds within which a connection turns out to be closed

MOST_HOSTS = 10  # of one service: one logs in, another keeps the objects
MOST_IDLE = 64  # drivers, which hold no connections

# What the name of a file begins with while it is written.
_PARTIAL = ".storages-upload-"
# A directory may be removed, being empty, between its making and the first file in it.
_TRIES = 10


class Drivers:
    """The drivers of one configuration, none of which is safe for two threads, and the connections that all share."""

    def __init__(self, make: Callable[[dict[str, _Transport]], Any]):
        self._make = make
        self._idle: deque[Any] = deque(maxlen=MOST_IDLE)  # the last one is taken first
        self._own = threading.local()
        self._containers: dict[str, Any] = {}
        self._transports: dict[str, _Transport] = {}

    @property
    def own(self) -> Any:
        """Return a driver that this thread alone uses."""
        if not hasattr(self._own, "driver"):
            self._own.driver = self._new()
        return self._own.driver

    @contextlib.contextmanager
    def one(self) -> Iterator[Any]:
        """Give a driver to this thread for a while: an idle one, which is logged in, or a new one."""
        driver = None
        with contextlib.suppress(IndexError):
            driver = self._idle.pop()
        driver = driver or self._new()
        try:
            yield driver
        finally:
            self._idle.append(driver)

    def _new(self) -> Any:
        driver = self._make(self._transports)
        driver.known_containers = self._containers
        return driver


def make_driver(
    constant: str, arguments: Mapping[str, Any], timeouts: tuple[float, float], transports: dict[str, _Transport]
) -> Any:
    """Return a new driver that sends by ``transports``, and adds what they lack. Raises ImproperlyConfigured."""
    options = {name: value for name, value in arguments.items() if name not in ("user", "key")}
    if constant in LOGGING_IN:
        options.setdefault("timeout", timeouts[1])
    try:
        driver = driver_class(constant)(arguments.get("user"), arguments.get("key"), **options)
    except (libcloud_types.LibcloudError, ImportError, TypeError, ValueError) as error:
        reason = getattr(error, "value", error)
        raise ImproperlyConfigured(
            f"Libcloud's driver {constant.upper()} does not take the options that it got "
            f"({', '.join(arguments)}): {reason}"
        ) from error
    connection = driver.connection
    connection.conn_class = functools.partial(_connected, connection.conn_class, timeouts, transports)
    connection.connect()
    return driver


def _connected(
    cls: Callable[..., Any],
    timeouts: tuple[float, float],
    transports: dict[str, _Transport],
    *places: Any,
    **arguments: Any,
) -> Any:
    connection = cls(*places, **arguments)
    for prefix, adapter in list(connection.session.adapters.items()):
        connection.session.mount(prefix, transports.setdefault(prefix, _Transport(adapter, timeouts)))
    return connection


class _Transport:
    """An adapter of requests, for all threads.

    It does what Libcloud does not ask of it: time out, and leave bytes as they are.
    """

    def __init__(self, adapter: Any, timeouts: tuple[float, float]):
        adapter.init_poolmanager(MOST_HOSTS, process.CONNECTIONS)
        self._adapter = adapter
        self._timeouts = timeouts
        self.close = adapter.close

    def send(self, request: Any, **options: Any) -> Any:
        if request.headers.get("Transfer-Encoding") == "chunked" and _is_empty_file(request.body):
            # requests takes its length of 0 for none; S3 wants a length.
            del request.headers["Transfer-Encoding"]
            request.headers["Content-Length"] = "0"
            request.body = None
        answer = self._send(request, {**options, "timeout": self._timeouts})
        answer.encoding = "utf-8"  # requests would guess, and names in listings turn Korean
        if options.get("stream") and not answer.ok:
            answer.content  # noqa: B018 -- nobody else reads it, and then the connection is lost
        elif options.get("stream"):
            # An object that is stored compressed comes as stored: its size and its ranges are those.
            answer.raw.headers.pop("Content-Encoding", None)
        return answer

    def _send(self, request: Any, options: dict[str, Any]) -> Any:
        """Send a request; again, a few times, where the service is too busy."""
        started = time.monotonic()
        for pause in _PAUSES:
            answer = self._send_once(request, options)
            late = time.monotonic() - started + pause + self._timeouts[1] > PATIENCE
            if late or answer.status_code not in _BUSY or not _is_rewound(request):
                return answer
            answer.close()
            time.sleep(pause)
        return self._send_once(request, options)

    def _send_once(self, request: Any, options: dict[str, Any]) -> Any:
        """Send a request; a question again where the service had closed the idle connection that it went over."""
        started = time.monotonic()
        try:
            return self._adapter.send(request, **options)
        except requests.ConnectionError as error:
            broke_off = error.args and type(error.args[0]).__name__ == "ProtocolError"
            if not broke_off or request.method not in ("GET", "HEAD") or time.monotonic() - started > _STALE:
                raise
            self._adapter.poolmanager.clear()  # the others may be as old
            return self._adapter.send(request, **options)


def _is_rewound(request: Any) -> bool:
    """Whether the body of a request is at its beginning, so that it may be sent again."""
    if request.body is None or isinstance(request.body, (bytes, str)):
        return True
    if not (hasattr(request.body, "seek") and request.body.seekable()):
        return False
    request.body.seek(0)
    return True


def _is_empty_file(body: Any) -> bool:
    return hasattr(body, "fileno") and not os.fstat(body.fileno()).st_size


@functools.cache
def driver_class(constant: str) -> Any:
    """Return Libcloud's driver for a provider, made to ask for each container once and, if LOCAL, to be careful."""
    base = _local_driver() if constant == LOCAL else libcloud_providers.get_driver(constant)

    def get_container(self: Any, container_name: str) -> Any:
        # Drivers ask for it before each look at an object.
        if container_name not in self.known_containers:
            self.known_containers[container_name] = base.get_container(self, container_name).extra
        return libcloud_base.Container(container_name, self.known_containers[container_name], self)

    return type(base.__name__, (base,), {"get_container": get_container, "known_containers": {}})


def signed_url(driver: Any, found: Any, **options: Any) -> str:
    """Return a URL that the driver signs; those of S3 forget that the port belongs to the host."""
    connection = driver.connection
    if not isinstance(connection, libcloud_s3.S3SignatureV4Connection) or connection.port in (80, 443):
        return driver.get_object_cdn_url(found, **options)
    host = f"{connection.host}:{connection.port}"
    signer = copy.copy(driver)
    signer.connection = copy.copy(connection)
    signer.connection.host = host
    return signer.get_object_cdn_url(found, **options).replace(f"{host}:{connection.port}", host, 1)


def overrides(cls: Any, method: str) -> bool:
    """Whether a class of a driver has ``method`` from elsewhere than the base of all drivers."""
    return getattr(cls, method) is not getattr(libcloud_base.StorageDriver, method)


@functools.cache
def _local_driver() -> Any:
    return type("LocalStorageDriver", (_Local, libcloud_local.LocalStorageDriver), {})


class _Local:
    """What Libcloud's LocalStorageDriver does in another way.

    It writes files in place, reads all of one to give a range of it, walks through the container for each listing,
    leaves a lock in the temporary directory for each name ever written, and stumbles over other deletions.
    """

    base_path: str
    get_object_cdn_url: Callable[[Any], str]
    get_container_cdn_url: Callable[..., str]
    _make_object: Callable[[Any, str], Any]

    def download_object_as_stream(self, obj: Any, chunk_size: int | None = None) -> _FileChunks:
        return _FileChunks(self.get_object_cdn_url(obj), 0, None)

    def download_object_range_as_stream(
        self, obj: Any, start_bytes: int, end_bytes: int | None = None, chunk_size: int | None = None
    ) -> _FileChunks:
        return _FileChunks(self.get_object_cdn_url(obj), start_bytes, end_bytes)

    def upload_object_via_stream(
        self,
        iterator: Iterator[bytes],
        container: Any,
        object_name: str,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        path = Path(self.get_container_cdn_url(container, check=True), object_name)
        with _partial_file(path.parent) as partial:
            with partial.open("wb") as file:
                file.writelines(iterator)
            partial.chmod(0o664)  # as Libcloud does
            if (headers or {}).get("If-None-Match"):
                path.hardlink_to(partial)
            else:
                partial.replace(path)
        return self._make_object(container, object_name)

    def delete_object(self, obj: Any) -> bool:
        path, top = Path(self.get_object_cdn_url(obj)), Path(self.get_container_cdn_url(obj.container))
        path.unlink()
        with contextlib.suppress(OSError):  # it is not empty, or somebody else removed it
            while (path := path.parent) != top:
                path.rmdir()
        return True

    def iterate_container_objects(
        self, container: Any, prefix: str | None = None, ex_prefix: str | None = None
    ) -> Iterator[Any]:
        top = Path(self.get_container_cdn_url(container, check=True))
        start = prefix or ""
        for directory, below, files in os.walk(top / start.rpartition("/")[0]):
            below.sort()
            for file in sorted(files):
                name = Path(directory, file).relative_to(top).as_posix()
                if name.startswith(start) and not file.startswith(_PARTIAL):
                    with contextlib.suppress(libcloud_types.ObjectDoesNotExistError):  # deleted since
                        yield self._make_object(container, name)


class _FileChunks:
    """The blocks of a part of a file, which is open from the start: a missing one is told at once."""

    def __init__(self, path: str, start: int, end: int | None):
        self._file = Path(path).open("rb")  # noqa: SIM115 -- closed by close()
        self._file.seek(start)
        self._left = sys.maxsize if end is None else end - start
        self.close = self._file.close

    def __iter__(self) -> _FileChunks:
        return self

    def __next__(self) -> bytes:
        block = self._file.read(min(BLOCK, self._left))
        if not block:
            raise StopIteration
        self._left -= len(block)
        return block


@contextlib.contextmanager
def _partial_file(directory: Path) -> Iterator[Path]:
    """Give a new file in ``directory``, which is made if need be; it is removed unless it was renamed."""
    for left in reversed(range(_TRIES)):
        try:
            directory.mkdir(parents=True, exist_ok=True)
            number, path = tempfile.mkstemp(prefix=_PARTIAL, dir=directory)
            break
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, "A file is where a directory would be", str(directory)) from error
        except FileNotFoundError:
            if not left:
                raise
    os.close(number)
    try:
        yield Path(path)
    finally:
        Path(path).unlink(missing_ok=True)
