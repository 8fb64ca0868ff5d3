"""The services for which Apache Libcloud has a driver, and directories of this machine."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import errno
import functools
import inspect
import io
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.utils.dateparse import parse_datetime

from storages import process, usual
from storages.backends.libcloud_drivers import (
    B2,
    BLOCK,
    GONE_TYPES,
    LOCAL,
    RENAMED_TYPES,
    Drivers,
    driver_class,
    make_driver,
    overrides,
    signed_url,
)
from storages.base import BaseStorage
from storages.contract import Body, Capabilities, Entry, Stat, WriteOptions
from storages.errors import REQUESTS_MEANINGS, STATUS_MEANINGS, meaning_by_name
from storages.files import StorageFile
from storages.mixin import quoted, with_query
from storages.optional import OptionalModule
from storages.settings import Setting, nearest
from storages.streams import ChunkReader, read_chunks

libcloud = OptionalModule("libcloud", "libcloud")
libcloud_base = OptionalModule("libcloud.storage.base", "libcloud")
libcloud_providers = OptionalModule("libcloud.storage.providers", "libcloud")
libcloud_s3 = OptionalModule("libcloud.storage.drivers.s3", "libcloud")
libcloud_types = OptionalModule("libcloud.storage.types", "libcloud")

LONGEST_EXPIRE = 7 * 24 * 3600  # seconds, of a SigV4 signature
LONGEST_KEY = 1024  # bytes, of S3

# Its driver signs neither the length of an empty file nor a URL with quoting in it as Azure does.
AZURE = "azure_blobs"
# Nothing comes along with the bytes of their objects, so those are asked for first; B2's have ids besides.
TOLD = (B2, LOCAL)

_Kind = type[Exception]  # where ``type`` is an option

# Libcloud's errors hold the status of the answer, some in their message only.
_MEANINGS: dict[int, type[Exception]] = {
    **STATUS_MEANINGS,
    400: PermissionError,  # of S3, for what is wrong with a token or a region
    429: ConnectionError,
    503: ConnectionError,
}
_MEANINGS_OF_ERRNO: dict[int | None, type[Exception]] = {errno.ENAMETOOLONG: SuspiciousFileOperation}  # of LOCAL
_STATUS = re.compile(r"[Ss]tatus.code\W+(\d{3})\b")

# Errors of Libcloud and below it.
_CLIENT_MEANINGS: dict[str, type[Exception]] = {
    **REQUESTS_MEANINGS,
    **dict.fromkeys(("ObjectDoesNotExistError", "ObjectError"), FileNotFoundError),
    "ObjectHashMismatchError": ConnectionError,
    **dict.fromkeys(("ContainerDoesNotExistError", "InvalidContainerNameError"), ImproperlyConfigured),
}


class LibCloudFile(StorageFile):
    """An open object of a Libcloud container."""


class LibCloudStorage(BaseStorage):
    """Store files in a container of any service that Apache Libcloud has a driver for."""

    provider_name = Setting(
        "default",
        names=("DEFAULT_LIBCLOUD_PROVIDER",),
        help="Entry of LIBCLOUD_PROVIDERS that gives the options up to driver_options which are not given here.",
    )
    option = Setting(type=object, help="Not used; kept for old calls.")
    providers = Setting(
        {},
        names=("LIBCLOUD_PROVIDERS",),
        type=dict,
        secret=True,
        help="Services by name: mappings with the keys type, user, key, bucket, region, project, host, port, secure, "
        "and whatever else the constructor of the driver takes.",
    )
    type = Setting(help="Constant of libcloud.storage.types.Provider, such as S3, or its dotted path.")
    user = Setting(
        type=(str, os.PathLike), secret=True, help="User, account or access key; for LOCAL the directory of containers."
    )
    key = Setting(secret=True, help="Key or password of that user.")
    bucket = Setting(help="Container; it must exist.")
    region = Setting(help="Region, for the drivers that know any.")
    project = Setting(help="Project, for Google Storage.")
    host = Setting(help="Host of the service, where the driver can't know it.")
    port = Setting(type=int, help="Port of the service, where it is not that of HTTPS.")
    secure = Setting(None, type=bool, help="Whether requests go over TLS; None: as the driver has it, which is yes.")
    driver_options = Setting({}, type=dict, help="Further arguments of the driver's constructor.")
    location = usual.LOCATION.named("LIBCLOUD_LOCATION")
    file_overwrite = usual.OVERWRITE.named(
        "LIBCLOUD_FILE_OVERWRITE", help="Whether a file replaces one of the same name. False: it gets a free name."
    )
    create_only = Setting(
        None,
        names=("LIBCLOUD_CREATE_ONLY",),
        type=bool,
        help="Whether the service honours If-None-Match on PUT, so that two savers never get one name. None: Amazon "
        "and LOCAL do, others are asked first whether the name is free.",
    )
    object_parameters = usual.OBJECT_PARAMETERS.named(
        "LIBCLOUD_OBJECT_PARAMETERS",
        help="What Libcloud calls extra (content_type, meta_data, acl), and headers, for every object; or a callable "
        "of key and content that returns it.",
    )
    base_url = Setting(
        names=("LIBCLOUD_BASE_URL",), help="Start of all URLs: of a CDN, or a web server over the container."
    )
    querystring_expire = usual.QUERYSTRING_EXPIRE.named("LIBCLOUD_QUERYSTRING_EXPIRE", default=24 * 3600)
    connect_timeout = usual.CONNECT_TIMEOUT.named("LIBCLOUD_CONNECT_TIMEOUT")
    read_timeout = usual.READ_TIMEOUT.named("LIBCLOUD_READ_TIMEOUT")

    sdk = libcloud
    file_class = LibCloudFile
    authority_variable = "SSL_CERT_FILE"

    positional = ("provider_name", "option")

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self._use_provider()

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        """Return what this storage can do, which depends on the driver."""
        return (
            self._derived("capabilities", self._find_capabilities)
            if self.type
            else _capabilities(True, _METHODS, False)
        )

    @property
    def longest_expire(self) -> int | None:  # type: ignore[override]
        """Return the longest life of a signed URL in seconds."""
        return LONGEST_EXPIRE if self._signs_urls() else None

    @property
    def longest_key(self) -> int | None:  # type: ignore[override]
        """Return the longest key in bytes, where the driver's service is known to have a limit."""
        return self._derived("longest key", self._find_longest_key) if self.type else None

    def _find_longest_key(self) -> int | None:
        keeps_to_s3 = issubclass(driver_class(self._constant()), libcloud_s3.BaseS3StorageDriver)
        return LONGEST_KEY if keeps_to_s3 else None

    # Drivers

    @property
    def driver(self) -> Any:
        """Return the Libcloud driver of this thread, one for all storages with the same configuration."""
        return self._drivers.own

    client = driver

    @property
    def provider(self) -> dict[str, Any]:
        """Return type, user, key, bucket and whatever else describes the service."""
        given = {name: getattr(self, name) for name in _PROVIDER_OPTIONS}
        return {name: value for name, value in given.items() if value is not None} | self.driver_options

    @property
    def _drivers(self) -> Drivers:
        return self._derived("drivers", self._shared_drivers)

    def _shared_drivers(self) -> Drivers:
        constant, timeouts = self._constant(), (self.connect_timeout, self.read_timeout)
        arguments = {name: value for name, value in self.provider.items() if name not in ("type", "bucket")}
        if arguments.get("user") and not arguments.keys() & {"key", "secret"} and constant != LOCAL:
            raise ImproperlyConfigured(
                f"{type(self).__name__}: 'user' is given without its 'key': set that too, in OPTIONS or in the Django "
                "setting LIBCLOUD_PROVIDERS"
            )
        make = functools.partial(make_driver, constant, arguments, timeouts)
        key = ("libcloud", constant, repr(sorted(arguments.items())), *timeouts)
        return process.shared(key, lambda: Drivers(make))

    def _constant(self) -> str:
        """Return the value of the constant that ``type`` names. Raises ImproperlyConfigured."""
        if not (self.type and self.bucket):
            raise ImproperlyConfigured(
                f"{type(self).__name__}: give the options 'type' and 'bucket', or an entry {self.provider_name!r} of "
                "the Django setting LIBCLOUD_PROVIDERS that has them"
            )
        name = self.type.rpartition(".")[2].upper()
        name = RENAMED_TYPES.get(name, name)
        constant = getattr(libcloud_types.Provider, name, name.lower())
        if name in GONE_TYPES or constant not in libcloud_providers.DRIVERS:
            known = [name.upper() for name in libcloud_providers.DRIVERS]
            advice = f": {GONE_TYPES[name]}" if name in GONE_TYPES else nearest(name, known)
            raise ImproperlyConfigured(
                f"{type(self).__name__}: Libcloud has no driver for 'type' {self.type!r}{advice}"
            )
        return constant

    def _find_capabilities(self) -> Capabilities:
        constant = self._constant()
        cls = driver_class(constant)
        known_to_refuse = constant == LOCAL or issubclass(cls, libcloud_s3.S3StorageDriver)
        return _capabilities(
            ranges=overrides(cls, "download_object_range_as_stream"),
            signs=_signed_methods(constant, cls),
            create_only=known_to_refuse if self.create_only is None else self.create_only,
            streams=constant != B2,  # its driver holds such an upload in memory
            local=constant == LOCAL,
        )

    # Hooks

    def _stat(self, key: str) -> Stat:
        with self._drivers.one() as driver:
            try:
                return _stat_of(driver.get_object(self.bucket, key))
            except libcloud_types.ObjectDoesNotExistError as error:
                # That is what most drivers say to whatever is not 200.
                answer = driver.connection.connection.response
                if answer is not None and answer.status_code != 404:
                    raise libcloud_types.LibcloudError(f"Status code: {answer.status_code}", driver) from error
                raise

    def _open_range(self, key: str, start: int, end: int | None, if_match: str | None = None) -> Body:
        with self._drivers.one() as driver:
            found = self._object(driver, key)
            try:
                with self._asking_for_container(driver):
                    if end is None and not start:
                        chunks = driver.download_object_as_stream(found)
                    else:
                        chunks = driver.download_object_range_as_stream(found, start, end)
            except libcloud_types.LibcloudError as error:
                if _status_of(error) != 416:
                    raise
                chunks = iter(())  # there is nothing from there on
            answer = driver.connection.connection.response
        body = _Body(chunks, _stat_of(found) if self._constant() in TOLD else _stat_in(answer), answer)
        if body.stat is None and not start:  # only the first range has to tell of the object
            try:
                body.stat = self._stat(key)
            except BaseException:
                body.close()
                raise
        return body

    def _put(self, key: str, body: Any, options: WriteOptions) -> None:
        extra = dict(options.parameters)
        headers = dict(extra.pop("headers", None) or {})
        if options.create_only:
            headers["If-None-Match"] = "*"
        if self._constant() == LOCAL or not (body.seekable() or options.create_only):
            self._upload(read_chunks(body, BLOCK), key, extra, headers)
            return
        # By its length: a stream takes three requests, which know no condition.
        with _on_disk(body) as path:
            if self._constant() == AZURE and not Path(path).stat().st_size:
                self._upload(iter(()), key, extra, headers)
            else:
                self._upload(path, key, extra, headers)

    def _upload(self, source: str | Iterator[bytes], key: str, extra: dict[str, Any], headers: dict[str, str]) -> None:
        with self._drivers.one() as driver:
            upload = driver.upload_object if isinstance(source, str) else driver.upload_object_via_stream
            upload(source, driver.get_container(self.bucket), key, extra=extra, headers=headers)

    def _delete(self, key: str) -> None:
        with self._drivers.one() as driver:
            with self._asking_for_container(driver):
                deleted = driver.delete_object(self._object(driver, key))
            if not deleted:
                raise libcloud_types.LibcloudError("The service did not delete the object", driver)

    def _list(self, prefix: str) -> Iterator[Entry]:
        # Libcloud knows no delimiter.
        cut = len(prefix)
        seen = set()
        for entry in self._walk(prefix):
            child, slash, _ = entry.name[cut:].partition("/")
            if not slash:
                yield entry
            elif child not in seen:
                seen.add(child)
                yield Entry(prefix + child, True)

    def _walk(self, prefix: str) -> Iterator[Entry]:
        with self._drivers.one() as driver:
            for found in driver.iterate_container_objects(driver.get_container(self.bucket), prefix=prefix or None):
                if not found.name.endswith("/"):  # what consoles put there to show an empty directory
                    stat = _stat_of(found)
                    yield Entry(found.name, False, stat.size, stat.modified, stat.etag)

    def _classify(self, error: BaseException) -> _Kind | None:
        status = _status_of(error)
        if not status and isinstance(error, OSError) and error.errno in _MEANINGS_OF_ERRNO:
            return _MEANINGS_OF_ERRNO[error.errno]
        return _MEANINGS.get(status) if status else meaning_by_name(error, _CLIENT_MEANINGS)

    def _advise(self, error: Any, kind: _Kind) -> str:
        if kind is FileNotFoundError:
            return f"There is no such object in the container {self.bucket!r}"
        if kind is FileExistsError:
            return f"There is such an object already in the container {self.bucket!r}"
        if kind is ImproperlyConfigured:
            said = getattr(error, "value", None) or "there is no such container"
            return f"{type(self).__name__}: {said}: create the container {self.bucket!r}, or correct 'bucket'"
        if isinstance(error, OSError) and error.errno in _MEANINGS_OF_ERRNO:
            return f"{type(self).__name__}: {error.strerror}; shorten it"
        status, said = _status_of(error), f"{type(self).__name__}: {_reason(error)}"
        if status == 400:
            return f"{said}. A token among the options may have expired, or 'region' may be wrong"
        if kind is PermissionError:
            return f"{said}. Check 'user' and 'key', and what the account may do with the container {self.bucket!r}"
        if kind is OSError:
            return f"{said}. There is no room left for the container {self.bucket!r}: remove something"
        if status:
            return f"{said}. The service is too busy: try again later, or ask less of it"
        return f"{said}. Check 'host' and 'port', the network and the service"

    # URLs

    def _signs_urls(self) -> bool:
        return bool(self.capabilities.presign) and not self.base_url

    def _presign(self, key: str, method: str, seconds: int, parameters: Mapping[str, Any]) -> str:
        if parameters:
            raise ValueError(f"Libcloud signs no parameters, such as {next(iter(parameters))!r}")
        if self._constant() == AZURE and quote(key) != key:
            raise ValueError(f"Libcloud's signature of {key!r} is one that Azure refuses; AzureStorage has a right one")
        hours = (seconds + 0.5) / 3600  # from which the drivers cut whole seconds
        with self._drivers.one() as driver:
            if getattr(driver, "token", None):
                raise ValueError("Libcloud leaves the session token out of signed URLs; S3Storage does not")
            return signed_url(driver, self._object(driver, key), ex_expiry=hours, ex_method=method)

    def _public_url(self, key: str, parameters: Mapping[str, Any]) -> str:
        start = self.base_url or self._derived("container url", self._container_url)
        return with_query(f"{start.rstrip('/')}/{quoted(key)}", parameters)

    def _container_url(self) -> str:
        """Return the address of the container; one request where the service keeps it to itself."""
        with self._drivers.one() as driver:
            if isinstance(driver, libcloud_s3.BaseS3StorageDriver):
                connection = driver.connection
                scheme, default_port = ("https", 443) if connection.secure else ("http", 80)
                port = "" if connection.port == default_port else f":{connection.port}"
                return f"{scheme}://{connection.host}{port}/{self.bucket}"
            if self._constant() == LOCAL or not overrides(type(driver), "get_container_cdn_url"):
                raise ValueError(
                    f"Libcloud knows no URLs of {self.type}; set {self._spelt('base_url')} to where the container is "
                    "served"
                )
            return driver.get_container_cdn_url(driver.get_container(self.bucket))

    def _object(self, driver: Any, key: str) -> Any:
        """Return an object by its name alone, without asking for it where that is not needed."""
        if self._constant() in TOLD:
            return driver.get_object(self.bucket, key)
        container = libcloud_base.Container(self.bucket, None, driver)
        return libcloud_base.Object(key, 0, None, None, None, container, driver)

    @contextlib.contextmanager
    def _asking_for_container(self, driver: Any) -> Iterator[None]:
        """Tell a missing container from a missing object, about which most drivers say the same."""
        try:
            yield
        except (libcloud_types.ObjectDoesNotExistError, FileNotFoundError):
            driver.get_container(self.bucket)
            raise

    # Options

    def _use_provider(self) -> None:
        """Take what was not given from the entry of LIBCLOUD_PROVIDERS."""
        if not self.providers and self.provider_name == "default":
            return
        if self.provider_name not in self.providers:
            raise ImproperlyConfigured(
                f"{type(self).__name__}: LIBCLOUD_PROVIDERS has no entry {self.provider_name!r}"
                f"{nearest(self.provider_name, self.providers)}"
            )
        entry = dict(self.providers[self.provider_name])
        declared = self.declared_settings()
        for name in _PROVIDER_OPTIONS:
            value = entry.pop(name, None)
            if getattr(self, name) is None:
                setattr(self, name, self._checked(name, declared[name], value))
        self.driver_options = {**entry, **self.driver_options}


_METHODS = frozenset({"GET", "PUT", "DELETE"})
_PROVIDER_OPTIONS = ("type", "user", "key", "bucket", "region", "project", "host", "port", "secure")


def _capabilities(
    ranges: bool, signs: frozenset[str], create_only: bool, streams: bool = True, local: bool = False
) -> Capabilities:
    missing = {
        "created_time": "Libcloud tells the time of the last write only.",
        "copy": "Libcloud has no copy; it goes through this process.",
        "delete_many": "Libcloud deletes one object at a time.",
        "if_match": "Libcloud downloads under no condition.",
        "parts": "Libcloud's uploads are one call; a long write waits on disk for it.",
        "ranges": "This driver of Libcloud downloads whole objects.",
        "streams": "This driver of Libcloud holds an upload in memory.",
        "create_only": "Only Amazon S3 and LOCAL are known to refuse; others are asked first whether a name is free.",
        "presign": "This driver of Libcloud signs no URLs.",
        "accessed_time": "No service notes reads; a file system does, for LOCAL.",
        "content_type": "A file system keeps no content types.",
    }
    can: dict[str, Any] = {
        "ranges": ranges,
        "streams": streams,
        "create_only": create_only,
        "presign": signs,
        "accessed_time": local,
        "content_type": not local,
    }
    return Capabilities(**can, missing={name: why for name, why in missing.items() if not can.get(name)})


def _signed_methods(constant: str, cls: Any) -> frozenset[str]:
    """Return the HTTP methods for which a driver signs URLs that work as they are."""
    if "ex_expiry" not in inspect.signature(cls.get_object_cdn_url).parameters:
        return frozenset()
    return _METHODS - {"PUT"} if constant == AZURE else _METHODS  # Azure wants a header with it


@contextlib.contextmanager
def _on_disk(body: Any) -> Iterator[str]:
    """Give the path of a file with the bytes of ``body``, which uploads that need a length take."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "body")
        with path.open("wb") as file:
            file.writelines(read_chunks(body, BLOCK))
        yield str(path)


class _Body(io.BufferedReader):
    """The body of a download."""

    def __init__(self, chunks: Any, stat: Stat | None, answer: Any = None):
        super().__init__(ChunkReader(chunks), BLOCK)
        self.stat = stat
        self._closes = [one for one in (chunks, answer) if hasattr(one, "close")]

    def close(self) -> None:
        super().close()
        for one in self._closes:
            one.close()


def _stat_in(answer: Any) -> Stat | None:
    """Return what came along with the bytes of an object, which no driver gives; None where that is too little."""
    headers = getattr(answer, "headers", {})
    size = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length", "")
    if not answer or not size.isdecimal() or "Last-Modified" not in headers:
        return None
    return Stat(
        size=int(size),
        modified=_moment(headers["Last-Modified"]),
        etag=headers.get("ETag", "").strip('"') or None,
        content_type=headers.get("Content-Type"),
        content_encoding=headers.get("Content-Encoding"),
    )


def _stat_of(found: Any) -> Stat:
    extra = found.extra
    return Stat(
        size=int(found.size),
        modified=_moment(extra.get("last_modified") or extra.get("modify_time") or extra.get("uploadTimestamp")),
        accessed=_moment(extra.get("access_time")),
        etag=found.hash and found.hash.strip('"'),  # some keep the quotes of HTTP
        content_type=extra.get("content_type"),
        content_encoding=extra.get("content_encoding"),
    )


def _moment(value: Any) -> datetime.datetime | None:
    """Return the time that a driver gives as seconds, milliseconds, or in one of two formats."""
    if not value:
        return None
    if isinstance(value, (int, float)):
        return datetime.datetime.fromtimestamp(value / 1000 if value > 1e11 else value, datetime.timezone.utc)
    try:
        moment = parse_datetime(value) or email.utils.parsedate_to_datetime(value)
    except ValueError as error:
        raise ConnectionError(f"The answer broke off in its headers: {value!r}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)


def _status_of(error: BaseException) -> int | None:
    """Return the HTTP status in an error of Libcloud."""
    if not isinstance(error, Exception) or not type(error).__module__.startswith("libcloud."):
        return None
    known = getattr(error, "http_code", None) or getattr(error, "code", None)
    found = _STATUS.search(str(error))
    if known or found:
        return known or int(found[1])  # type: ignore[index]
    guess = isinstance(error, libcloud_types.ObjectHashMismatchError)  # also about an answer that has no hash
    return None if meaning_by_name(error, _CLIENT_MEANINGS) and not guess else _last_refusal(error)


def _last_refusal(error: Any) -> int | None:
    """Return the status with which the service refused the last request: some errors are guesses at what it means."""
    connection = getattr(getattr(error, "driver", None), "connection", None)
    answer = getattr(getattr(connection, "connection", None), "response", None)
    status = getattr(answer, "status_code", 0)
    return status if status >= 400 else None


def _reason(error: Any) -> str:
    """Return what an error says, without the driver that Libcloud puts before it."""
    if isinstance(error, libcloud_types.ObjectHashMismatchError):
        return "The service did not store the object"
    return str(getattr(error, "value", error)) or "the service refuses it"
