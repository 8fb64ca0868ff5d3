"""Helpers under the names of django-storages, for code that imports them; the storages themselves do not."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.files.utils import FileProxyMixin, validate_file_name

from storages.names import clean_name, shorten

__all__ = [
    "ReadBytesWrapper",
    "check_location",
    "clean_name",
    "get_available_overwrite_name",
    "is_seekable",
    "lookup_env",
    "safe_join",
    "setting",
    "to_bytes",
]


def to_bytes(content: Any) -> Any:
    """Return a str as UTF-8, and anything else as it is."""
    return content.encode() if isinstance(content, str) else content


def setting(name: str, default: Any = None) -> Any:
    """Return the Django setting ``name``, or ``default`` where there is none."""
    return getattr(django_settings, name, default)


def safe_join(base: str, *paths: str) -> str:
    """Return ``paths`` joined to ``base`` without a leading slash; a trailing one stays, and ``base`` alone gets one.

    Raises ValueError where that leaves ``base``.
    """
    root = "/" + clean_name(str(base).strip("/"))
    start = root.rstrip("/") + "/"
    joined = posixpath.join(start, *map(str, paths))
    path = "/" + posixpath.normpath(joined).lstrip("/")  # normpath keeps two leading slashes
    if path == root or (joined.endswith("/") and path != "/"):
        path = path.rstrip("/") + "/"
    if not path.startswith(start):
        raise ValueError(f"{paths!r} leaves {base!r}")
    return path.lstrip("/")


def check_location(storage: Any) -> None:
    """Raise ImproperlyConfigured where the location of ``storage`` begins with a slash."""
    if str(storage.location).startswith("/"):
        raise ImproperlyConfigured(
            f"{type(storage).__name__}: 'location' is a prefix of keys and can't be {storage.location!r}; "
            f"write {storage.location.lstrip('/')!r}"
        )


def lookup_env(names: Iterable[str]) -> str | None:
    """Return the first of the environment variables ``names`` that is set to something, or None."""
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def get_available_overwrite_name(name: str, max_length: int | None) -> str:
    """Return ``name`` cut to ``max_length``, for storages that overwrite.

    Raises SuspiciousFileOperation for a name with ``..`` and where nothing of the name would be left.
    """
    return shorten(str(validate_file_name(name, allow_relative_path=True)), max_length)


def is_seekable(file: Any) -> bool:
    """Whether ``file`` can be rewound; one that does not say can."""
    return not hasattr(file, "seekable") or file.seekable()


class ReadBytesWrapper(FileProxyMixin):
    """Read a file as bytes: text in ``encoding``, else in the file's own, else in UTF-8."""

    file: Any

    def __init__(self, file: Any, encoding: str | None = None):
        self.file = file
        self._encoding = encoding or getattr(file, "encoding", None) or "utf-8"

    @property
    def encoding(self) -> str:
        return self._encoding

    def read(self, *size: int) -> bytes:
        return self._bytes(self.file.read(*size))

    def readline(self, *size: int) -> bytes:
        return self._bytes(self.file.readline(*size))

    def readlines(self, *size: int) -> list[bytes]:
        return list(map(self._bytes, self.file.readlines(*size)))

    def __iter__(self) -> Iterator[bytes]:
        return map(self._bytes, self.file)

    def close(self) -> None:
        self.file.close()

    def _bytes(self, content: Any) -> Any:
        return content.encode(self.encoding) if isinstance(content, str) else content
