"""A private file that is asked for."""

from __future__ import annotations

import contextlib
import datetime
import mimetypes
import os
import posixpath
from functools import cached_property
from typing import Any

from django.core.files.storage import Storage
from django.http import HttpRequest

from storages.mixin import ENCODED_TYPES
from storages.private import headers, names
from storages.private.link_models import Link, LinkUse  # noqa: F401, where Django looks for models

# Known to Python only since 3.11 to 3.14, and to no system without a mime.types.
_YOUNG_TYPES = {
    ".apng": "image/apng",
    ".avif": "image/avif",
    ".flac": "audio/flac",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".m4a": "audio/mp4",
    ".mkv": "video/x-matroska",
    ".ogg": "audio/ogg",
    ".ogv": "video/ogg",
    ".opus": "audio/opus",
    ".webp": "image/webp",
}


class PrivateFile:
    """What permissions, views and deliveries are given: a file of a storage, and the request for it.

    Making one asks nothing of the storage.
    """

    disposition: str | None = None  # "attachment" where the view wants it; "inline" and None leave it to the type
    filename: str | None = None  # under which it is saved; the last part of its name by default
    link: Any = None  # a storages.private.links.OpenedLink, if one led here

    _placed: Any = None  # the storage and the name of which _place is
    _place: tuple[str, str]

    def __init__(self, request: HttpRequest, storage: Storage, relative_name: str, parent_object: Any = None):
        self.request = request
        self.storage = storage
        self.relative_name = relative_name  # canonical, where a view made it
        self.parent_object = parent_object  # whose file it is; of the detail view only

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.relative_name}>"

    @cached_property
    def full_path(self) -> str:
        """The path on disk. Raises NotImplementedError where the storage has none."""
        return self.storage.path(self.relative_name)

    @property
    def resolved_path(self) -> str:
        """The real path on disk of a file that is there, without links, below the storage's root.

        Raises FileNotFoundError, also for a link out of the root; NotImplementedError where the storage has no paths.
        """
        return os.path.realpath(os.path.join(*self.place))  # noqa: PTH118

    @property
    def place(self) -> tuple[str, str]:
        """The root, and the way from there to the file, on which is no link; looked up once for each name."""
        wanted = self.storage, self.relative_name
        if self._placed != wanted:
            self._place, self._placed = names.local_place(*wanted), wanted
        return self._place

    def stay_inside(self) -> None:
        """Raise FileNotFoundError as resolved_path does; nothing where the storage has no paths."""
        with contextlib.suppress(NotImplementedError):
            self.place  # noqa: B018, for its errors

    def open(self, mode: str = "rb") -> Any:
        """Open the file. Raises FileNotFoundError, also for a link out of a local storage's root."""
        self.stay_inside()
        return self.storage.open(self.relative_name, mode)

    def exists(self) -> bool:
        """Whether there is such a file; False for an empty name."""
        return bool(self.relative_name) and self.storage.exists(self.relative_name)

    @cached_property
    def content_type(self) -> str:
        """The type that the name tells; a view may assign a better one."""
        name = posixpath.basename(str(self.relative_name))
        guess, encoding = mimetypes.guess_type(f"./{name}")  # "data:..." is a name, and no URL
        if encoding:
            return ENCODED_TYPES.get(encoding, headers.UNKNOWN_TYPE)
        return guess or _YOUNG_TYPES.get(posixpath.splitext(name)[1].lower(), headers.UNKNOWN_TYPE)

    @property
    def response_type(self) -> str:
        """The type to be sent: its own where a browser can do no harm with it."""
        return self.content_type if headers.is_inert(self.content_type) else headers.UNKNOWN_TYPE

    @property
    def content_disposition(self) -> str:
        """The Content-Disposition to be sent: attachment where the view wants it, or the type is not harmless."""
        wanted = (self.disposition or "inline").lower() == "inline"
        kind = "inline" if wanted and headers.is_inert(self.content_type) else "attachment"
        return headers.content_disposition(kind, self.filename or posixpath.basename(str(self.relative_name)))

    @property
    def size(self) -> int:
        """Bytes, as stored. Raises FileNotFoundError."""
        return self.storage.size(self.relative_name)

    @property
    def modified_time(self) -> datetime.datetime:
        """When the file was last written. Raises FileNotFoundError."""
        return self.storage.get_modified_time(self.relative_name)
