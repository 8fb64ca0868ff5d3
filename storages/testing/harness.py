"""The hooks by which a test class stands up its storage for the conformance suite."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn

import pytest
from django.core.files.base import ContentFile

MIB = 1024**2


def impossible(reason: str) -> NoReturn:
    """Skip a case that the backend, its server or the harness declares that it cannot do; nothing else skips."""
    pytest.skip(f"declared impossible: {reason}")


def pattern(size: int, seed: int = 0) -> bytes:
    """Return ``size`` incompressible bytes, the same ones for the same ``seed``."""
    return random.Random(seed).randbytes(size)


def content_of(storage, name: str) -> bytes:
    """Return the bytes under ``name``."""
    with storage.open(name) as file:
        return file.read()


def outcome(call, *arguments) -> Exception | None:
    """Return what ``call`` raised, or None when it answered."""
    try:
        call(*arguments)
    except Exception as error:
        return error
    return None


def constructor_options(storage) -> dict[str, Any]:
    """Return the options that ``storage`` was made with, secrets included (deconstruct() leaves those out)."""
    return dict(storage._constructor_args[1])


@dataclass
class Wire:
    """What was sent while a harness counted."""

    requests: list[str] = field(default_factory=list)  # HTTP methods, or the nearest to one in another protocol
    headers: list[dict[str, str]] = field(default_factory=list)  # of each request, names in lower case
    received: int = 0  # bytes of bodies

    @property
    def writes(self) -> list[str]:
        return [method for method in self.requests if method not in ("GET", "HEAD")]


class Harness:
    """Stand up one storage class for the suite; everything but ``make_storage()`` has a default."""

    backend: ClassVar[str] = ""  # labels for the summary of a test run
    server: ClassVar[str] = ""
    location: ClassVar[str] = ""
    overwrite_option: ClassVar[str] = "file_overwrite"
    overwrites_by_default: ClassVar[bool] = False
    own_process_only: ClassVar[bool] = False  # the objects live in this process' memory
    public_urls: ClassVar[bool] = False  # url() works without signing
    secrets: ClassVar[tuple[str, ...]] = ()  # strings that no repr or error may show
    secret_settings: ClassVar[dict[str, Any]] = {}  # Django settings for the secrets that deconstruct() leaves out
    gzip_options: ClassVar[dict[str, Any] | None] = None  # options that compress on save
    checksum_options: ClassVar[tuple[dict[str, Any], dict[str, Any]] | None] = None  # options for on, for off
    checksum_header: ClassVar[str] = "checksum"  # part of the name of the header that carries one
    http_headers: ClassVar[dict[str, str]] = {}  # what every browser sends, where the service's answer depends on it
    upload_headers: ClassVar[dict[str, str]] = {}  # that a PUT to a signed URL must have
    url_prefix: ClassVar[str] = ""  # what stands between the base of a URL and the key; ends in a slash
    most_deletes: ClassVar[int] = 1_000  # of one request
    static_backend: ClassVar[str | None] = None  # dotted path for STORAGES["staticfiles"], overwriting
    manifest_backend: ClassVar[str | None] = None  # the same with Django's ManifestFilesMixin
    # What the test server gets wrong, as seen with the vendor's own client: case or test name -> reason.
    server_cannot: ClassVar[dict[str, str]] = {}

    def make_storage(self, **options):
        """Return a new storage over the same objects each time; there are none when a test starts."""
        raise NotImplementedError

    def make_outer(self):
        """Return a storage rooted one level above ``location``, or None where there is no such place."""

    def make_unreachable(self):
        """Return a storage whose server refuses connections."""
        impossible("the harness has no make_unreachable()")

    def make_forbidden(self):
        """Return a storage over the same objects with credentials that the server refuses."""
        impossible("the harness has no make_forbidden()")

    def make_corrupting(self, **options):
        """Return a storage over the same objects that gets ``INTACT`` as ``BROKEN`` in every download."""
        impossible("the harness has no make_corrupting()")

    def make_with_base(self, base: str):
        """Return a storage whose unsigned URLs start with ``https://`` and ``base`` (host, then perhaps a path)."""
        impossible("the harness has no make_with_base()")

    def cache_control_options(self, value: str) -> dict[str, Any]:
        """Return the options by which every object gets ``Cache-Control: value``."""
        impossible("the harness has no cache_control_options()")

    def precompressed_options(self) -> dict[str, Any]:
        """Return the options by which gzip bytes are served as text/css with ``Content-Encoding: gzip``."""
        impossible("the harness has no precompressed_options()")

    def disposition_parameters(self, value: str) -> dict[str, Any]:
        """Return the ``parameters`` of ``url()`` that make the server answer ``Content-Disposition: value``."""
        impossible("the harness has no disposition_parameters()")

    def upload_ids(self) -> list[str]:
        """Return the unfinished multipart uploads that the service holds."""
        return []

    def http(self, url: str, method: str = "GET", body: bytes | None = None):
        """Return status, headers and body of the answer to a client that knows nothing of the storage."""
        headers = {**self.http_headers, **(self.upload_headers if method == "PUT" else {})}
        request = urllib.request.Request(url, body, headers, method=method)
        try:
            response = urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            return response.status, response.headers, response.read()

    @contextlib.contextmanager
    def count_requests(self, storage):
        """Yield the Wire of ``storage``; this default counts the calls of the backend's hooks."""
        if not hasattr(storage, "_open_range"):
            impossible("the harness has no count_requests()")
        wire = Wire()
        for hook, method in _METHODS.items():
            if hasattr(storage, hook):
                setattr(storage, hook, _counted(getattr(storage, hook), method, wire))
        try:
            yield wire
        finally:
            for hook in _METHODS:
                storage.__dict__.pop(hook, None)

    def set_modified_time(self, storage, name: str, modified) -> None:
        """Make ``storage`` see ``name`` as modified at ``modified`` (aware)."""
        if not hasattr(storage, "_stat"):
            impossible("the harness has no set_modified_time()")
        stat = storage._stat
        storage._stat = lambda key: dataclasses.replace(stat(key), modified=modified)

    def clean(self) -> None:
        """Remove what a test left."""
        storage = self.make_storage()
        storage.delete_many([entry.name for entry in storage.walk()])

    # What the cases use.

    _found_empty: ClassVar[bool]  # set on the class that has looked

    @pytest.fixture(autouse=True)
    def _empty_storage(self, request):
        numbers = [mark.args[0] for mark in request.node.iter_markers("contract")]
        for known in (*numbers, request.node.originalname):
            if known in self.server_cannot:
                impossible(f"server {self.server}: {self.server_cannot[known]}")
        if "_found_empty" not in vars(type(self)):
            found = next(iter(self.make_storage().walk()), None)
            if found is not None:
                pytest.fail(f"the suite deletes all that it finds, so it wants an empty storage; found {found.name!r}")
            type(self)._found_empty = True
        yield
        self.clean()

    @pytest.fixture
    def storage(self):
        """A storage that gives a taken name an alternative, as Django's own."""
        return self.make_storage(**{self.overwrite_option: False})

    @pytest.fixture
    def overwriting(self):
        return self.make_storage(**{self.overwrite_option: True})

    def save(self, storage, name: str, content: bytes = b"content") -> str:
        return storage.save(name, ContentFile(content))


# Hooks that cost a request in the simplest backend; those that are made of others are left out.
_METHODS = {
    "_stat": "HEAD",
    "_open_range": "GET",
    "_list": "GET",
    "_put": "PUT",
    "_start_parts": "POST",
    "_copy": "PUT",
    "_delete": "DELETE",
}


def _counted(hook, method: str, wire: Wire):
    def call(*arguments, **options):
        wire.requests.append(method)
        answer = hook(*arguments, **options)
        return _CountedBody(answer, wire) if hook.__name__ == "_open_range" else answer

    return call


class _CountedBody:
    def __init__(self, body, wire: Wire):
        self._body, self._wire = body, wire

    def __getattr__(self, attribute):
        return getattr(self._body, attribute)

    def read(self, size: int = -1) -> bytes:
        chunk = self._body.read(size)
        self._wire.received += len(chunk)
        return chunk
