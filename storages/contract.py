"""The types that cross the seam between the base and a backend.

A backend implements the hooks of :class:`storages.base.BaseStorage`; every hook takes a *key* (location and name
joined), never a Django name, and speaks to the base in the types below.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple, Protocol

# No verb outlasts a minute on a stalled or busy server: a request is not tried again where its timeout, or the pause
# before it, would end after this.
PATIENCE = 55  # seconds


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do beyond the required hooks; tested both ways."""

    ranges: bool = False  # _open_range() honours start and end
    parts: bool = False  # _start_parts(): long writes in pieces, invisible until complete
    streams: bool = False  # _put() takes a body of unknown length without holding it in memory
    create_only: bool = False  # _put() and parts honour WriteOptions.create_only atomically
    if_match: bool = False  # _put(), parts and _open_range() honour an etag
    timed_etags: bool = False  # an etag is made of size and time: two writes of one moment may have the same
    copy: bool = False  # _copy() runs on the server
    move: bool = False  # _move() renames on the server
    delete_many: bool = False  # _delete_many() removes several objects in one request
    presign: frozenset[str] = frozenset()  # HTTP methods that url() signs
    created_time: bool = False
    accessed_time: bool = False
    content_type: bool = False  # the service keeps a Content-Type and gives it back over HTTP
    content_addressed: bool = False  # _put() chooses the key; nothing can be replaced
    missing: dict[str, str] = field(default_factory=dict, compare=False)  # what is impossible, and why; for the docs


ANY = ""  # of a header of its own: the value that a storage gives may be another one every time, and nobody else's


@dataclass(frozen=True)
class Stat:
    """What the service knows of one object."""

    size: int  # bytes as stored, before decompression
    modified: datetime.datetime | None = None  # aware
    created: datetime.datetime | None = None  # aware
    accessed: datetime.datetime | None = None  # aware
    etag: str | None = None  # opaque
    content_type: str | None = None
    content_encoding: str | None = None
    # What else a writer has given it, by names in lower case as the service has them; None where that was not asked.
    headers: Mapping[str, str] | None = field(default=None, compare=False, repr=False)


class Entry(NamedTuple):
    """One line of a listing: an object, or (``is_prefix``) what groups the objects below it."""

    name: str  # a key from a hook, a name from a public method; no trailing slash
    is_prefix: bool = False
    size: int | None = None  # bytes
    modified: datetime.datetime | None = None  # aware
    etag: str | None = None


@dataclass(frozen=True)
class WriteOptions:
    """How one object is to be written."""

    parameters: dict[str, Any] = field(default_factory=dict, repr=False)  # in the backend's own spelling
    create_only: bool = False  # fail with FileExistsError's cause when the key is taken
    if_match: str | None = None  # fail when the object's etag is no longer this one


@dataclass(frozen=True)
class UploadLimits:
    """What an upload of one kind can be; sizes in bytes, None where there is no limit."""

    largest: int | None = None  # of the whole
    smallest_part: int = 1  # of every part but the last
    largest_part: int | None = None
    most_parts: int | None = None
    part_multiple: int = 1  # of which the size of every part but the last is a multiple


@dataclass(frozen=True)
class Enforced:
    """What the service itself refuses, of an upload that somebody else makes; words of the uploads' protocol."""

    size: str = "finish"  # exact, range: signed; finish: looked at when it is over
    type: str = "finish"  # signed, finish
    checksum: str = "none"  # of the whole: signed, finish, none; parts: of each, where they are opened with checksums
    overwrite: str = "promote"  # denied: a second write is refused; promote: it would hit a copy that is not used
    limits: UploadLimits = UploadLimits()

    @property
    def single_use(self) -> bool:
        """Whether what was granted makes the object once, so that it can be written where it is to stay."""
        return self.overwrite == "denied"


@dataclass(frozen=True)
class UploadTerms:
    """What one upload by somebody else is to be; all of it goes into the signatures where the service takes it."""

    size: int  # bytes, exactly
    content_type: str
    seconds: int  # that a signature lives
    part_size: int = 0  # bytes of every part but the last; 0 where there are none
    checksum: str = ""  # SHA-256 of the whole, base64
    origin: str = ""  # of the page that sends it: https://example.com
    part_checksums: bool = False  # whether every part will come with its own; asked for when the upload is opened

    @property
    def parts(self) -> int:
        """The number of parts; 1 where it goes in one piece."""
        return max(1, -(-self.size // self.part_size)) if self.part_size else 1

    def size_of(self, number: int) -> int:
        """Return the bytes of part ``number``, counted from 1."""
        return self.size - self.part_size * (number - 1) if number == self.parts else self.part_size


@dataclass(frozen=True)
class SignedRequest:
    """A request for somebody else to make, exactly so.

    Content-Length is never among the headers, also where it is signed: browsers may not set it, and the body gives it.
    """

    method: str
    url: str = field(repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    fields: dict[str, str] = field(default_factory=dict, repr=False)  # of a form, before the file
    file_field: str = "file"


class Received(NamedTuple):
    """A part that the service has."""

    number: int  # from 1
    size: int  # bytes


class Body(Protocol):
    """Bytes on their way from the service, and what came along with them."""

    stat: Stat | None  # of the whole object, where the answer carries it

    def read(self, size: int = -1, /) -> bytes: ...

    def close(self) -> None: ...


class PartUpload(Protocol):
    """A write in parts, none of them visible before ``complete()``; ``send()`` may run in several threads."""

    def send(self, number: int, body: BinaryIO) -> None: ...

    def complete(self) -> None: ...

    def abort(self) -> None: ...


class PartsMissing(ValueError):
    """An upload cannot be closed: the parts of ``numbers`` have not arrived, or not in their size; send them."""

    def __init__(self, numbers: list[int]):
        self.numbers = numbers
        super().__init__(f"parts missing, or of a wrong size: {len(numbers)}, the first is number {numbers[0]}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.numbers,)


class ObjectChanged(OSError):
    """The object was replaced by another writer since it was opened; read it again."""


class DeleteError(OSError):
    """Some of the objects of a ``delete_many()`` are still there; ``errors`` maps each name to its error."""

    def __init__(self, errors: dict[str, BaseException]):
        self.errors = errors
        first = next(iter(errors.items()))
        super().__init__(f"{len(errors)} not deleted; the first: {first[0]!r}: {first[1]}")
