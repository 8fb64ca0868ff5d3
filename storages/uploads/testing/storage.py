"""A bucket of S3 that is a directory, for development and tests."""

from __future__ import annotations

import datetime
import io
import mimetypes
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from django.conf import settings as django_settings
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import File
from django.core.files.storage import FileSystemStorage
from django.urls import NoReverseMatch, reverse
from django.utils.deconstruct import deconstructible

from storages.contract import Enforced, Entry, ObjectChanged, SignedRequest, Stat, UploadLimits, UploadTerms
from storages.sniffing import OCTETS
from storages.uploads import settings
from storages.uploads.testing import policies

LARGEST = 5 * 1024**3  # bytes
UPLOADS = "s3/uploads"  # below MEDIA_ROOT


@deconstructible(path="storages.uploads.testing.storage.FakeS3Storage")
class FakeS3Storage(FileSystemStorage):
    """Store files in the directory ``dir``, by default s3/uploads below MEDIA_ROOT, and sign forms as S3 does.

    Forms go to ``storages.uploads.testing.urls``, which answers only with DEBUG, or with UPLOADS_FAKE.
    """

    def __init__(self, dir: Any = None):  # the name that it has in django-buckets
        super().__init__(location=dir)
        self._dir = dir

    @property
    def base_location(self) -> Any:
        """The directory, as it is given."""
        return self._dir or Path(django_settings.MEDIA_ROOT) / UPLOADS

    @property
    def location(self) -> str:
        """The directory as an absolute path; MEDIA_ROOT may be another one by now."""
        return os.path.abspath(self.base_location)  # noqa: PTH100  # which follows no links, as Django's own

    @property
    def base_url(self) -> str:
        """The URL that forms go to, below which Django shows the files in development."""
        try:
            return reverse("fake_s3_upload")
        except NoReverseMatch:  # not included, or included under a namespace
            return f"/media/{UPLOADS}/"

    def get_signed_url(
        self, key: str, *, content_type: str | None = None, max_size: int | None = None, seconds: int | None = None
    ) -> dict[str, Any]:
        """Return ``url`` and ``fields`` of a form that puts the file ``key`` there, of at most ``max_size`` bytes."""
        self.path(key)  # SuspiciousFileOperation for one that leaves the directory
        most = min(max_size or LARGEST, (getattr(django_settings, "AWS", None) or {}).get("MAX_FILE_SIZE") or LARGEST)
        fields = {"key": key, "Content-Type": content_type or mimetypes.guess_type(key)[0] or OCTETS}
        seconds = seconds or settings.get("UPLOADS_LINK_EXPIRE")
        return {"url": self.base_url, "fields": policies.sign(fields, 1, most, seconds)}

    def put(self, key: str, content: Any) -> None:
        """Write a file that was uploaded, replacing what is there, as S3 does.

        Raises SuspiciousFileOperation for a name that leaves the directory.
        """
        path = Path(self.path(key))
        if not path.resolve().is_relative_to(Path(self.location).resolve()):
            raise SuspiciousFileOperation(f"{key!r} follows a link out of the directory")
        waiting = self.save(f"{key}.part", File(content))  # nobody sees half of a file
        Path(self.path(waiting)).replace(path)

    # What uploads are finished with

    @property
    def upload_kinds(self) -> Mapping[str, Enforced]:
        """The kind post, as of S3; a form can be sent again."""
        return {"post": Enforced(size="exact", type="signed", limits=UploadLimits(largest=LARGEST))}

    def presign_upload(self, name: str, kind: str, terms: UploadTerms) -> SignedRequest:
        """Return the form that uploads ``name`` by ``terms``. Raises ValueError for a kind other than post."""
        if kind != "post":
            raise ValueError(f"{type(self).__name__} signs no upload of the kind {kind!r}; it offers post")
        fields = {"key": name, "Content-Type": terms.content_type}
        signed = policies.sign(fields, terms.size, terms.size, terms.seconds)
        return SignedRequest("POST", self.base_url, fields=signed, file_field="file")

    def stat(self, name: str) -> Stat:
        """Return the size and version of a file. Raises FileNotFoundError."""
        found = Path(self.path(name)).stat()
        return Stat(found.st_size, etag=f'"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"')

    def open_range(self, name: str, start: int, end: int | None = None, if_match: str | None = None) -> IO[bytes]:
        """Return the bytes from ``start`` to ``end`` as a file. Raises FileNotFoundError, ObjectChanged."""
        if if_match and self.stat(name).etag != if_match:
            raise ObjectChanged(f"{name} was replaced")
        file = Path(self.path(name)).open("rb")  # noqa: SIM115  # the caller closes it
        if end is None:
            file.seek(start)
            return file
        with file:
            file.seek(start)
            return io.BytesIO(file.read(max(0, end - start)))

    def walk(self, prefix: str = "") -> Iterator[Entry]:
        """Yield all files below the directory ``prefix``."""
        for path in Path(self.path(prefix)).rglob("*"):
            if path.is_file():
                found = path.stat()
                modified = datetime.datetime.fromtimestamp(found.st_mtime, datetime.timezone.utc)
                name = path.relative_to(self.location).as_posix()
                yield Entry(name, size=found.st_size, modified=modified)

    def copy(self, source: str, target: str) -> None:
        """Copy a file, replacing what has the name ``target``. Raises FileNotFoundError."""
        with Path(self.path(source)).open("rb") as file:
            self.put(target, file)


S3FakeStorage = FakeS3Storage  # as the README of django-buckets spells it
