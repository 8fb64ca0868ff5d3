"""A private file that is asked for."""

from __future__ import annotations

import datetime
import mimetypes
from functools import cached_property
from typing import Any

from django.core.files.storage import Storage
from django.http import HttpRequest


class PrivateFile:
    """What permissions, views and deliveries are given: a file of a storage, and the request for it."""

    def __init__(self, request: HttpRequest, storage: Storage, relative_name: str, parent_object: Any = None):
        self.request = request
        self.storage = storage
        self.relative_name = relative_name  # canonical
        self.parent_object = parent_object  # of the detail view

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.relative_name}>"

    @cached_property
    def full_path(self) -> str:
        """The path on disk. Raises NotImplementedError where the storage has none."""
        return self.storage.path(self.relative_name)

    def open(self, mode: str = "rb") -> Any:
        """Open the file. Raises FileNotFoundError."""
        return self.storage.open(self.relative_name, mode)

    def exists(self) -> bool:
        """Whether there is such a file; False for an empty name."""
        return bool(self.relative_name) and self.storage.exists(self.relative_name)

    @property
    def content_type(self) -> str:
        """The type that the name tells."""
        return mimetypes.guess_type(self.relative_name)[0] or "application/octet-stream"

    @property
    def size(self) -> int:
        """Bytes, as stored. Raises FileNotFoundError."""
        return self.storage.size(self.relative_name)

    @property
    def modified_time(self) -> datetime.datetime:
        """When the file was last written. Raises FileNotFoundError."""
        return self.storage.get_modified_time(self.relative_name)
