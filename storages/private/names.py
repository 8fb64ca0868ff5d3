"""The one form of a name that permission, storage and delivery all see."""

from __future__ import annotations

import errno
import os
import stat
from typing import Any

from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import FileSystemStorage, InMemoryStorage, Storage

from storages.lazy import unwrapped
from storages.names import clean_name
from storages.private.storage import PrivateFileSystemStorage

# How most storages make a path; local_place() looks for links itself, as the latter does at each call.
_USUAL = (FileSystemStorage.path, PrivateFileSystemStorage.path)
LONGEST_NAME = 4096  # bytes; the longest path of Linux, and more than any service takes


def is_canonical(name: str) -> bool:
    """Whether ``name`` is written as the storage itself would write it: nothing is left to be resolved or cleaned."""
    if not name or name.endswith("/") or len(name) > LONGEST_NAME:
        return False
    try:
        return clean_name(name) == name and len(name.encode()) <= LONGEST_NAME
    except SuspiciousFileOperation:
        return False


def local_place(storage: Storage, name: str) -> tuple[str, str]:
    """Return the path of the storage's root, and the way from there to the file ``name``, on which is no link.

    Raises FileNotFoundError for what is no regular file, or reached through a link out of the root;
    NotImplementedError where the storage is not on disk; SuspiciousFileOperation from the storage.
    """
    path, root = _paths(unwrapped(storage), name)
    start = os.path.join(root, "")  # noqa: PTH118
    if not path.startswith(start) or not _is_plain_file(start, path[len(start) :]):
        path, root = os.path.realpath(path), os.path.realpath(root)
        start = os.path.join(root, "")  # noqa: PTH118
        # Path.is_file() raises for too long a name
        if not path.startswith(start) or not os.path.isfile(path):  # noqa: PTH113
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    return root, path[len(start) :]


def _is_plain_file(start: str, inside: str) -> bool:
    """Whether ``inside`` leads down to a file, and over no link: one look for each step, however deep the root is."""
    if os.name == "nt":  # which has more than links that lead elsewhere
        return False
    path, mode = start, 0
    for part in inside.split("/"):
        if part in ("", ".", ".."):
            return False
        path += part
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            return False
        if stat.S_ISLNK(mode):
            return False
        path += "/"
    return stat.S_ISREG(mode)


def _paths(storage: Any, name: str) -> tuple[str, str]:
    """Return the path of ``name`` and that of the root, links and all."""
    if getattr(storage.path, "__func__", None) in _USUAL:
        root = os.path.abspath(storage.location)  # noqa: PTH100
        return os.path.join(root, name), root  # noqa: PTH118
    path = storage.path(name)
    if not os.path.isabs(path) or isinstance(storage, InMemoryStorage):  # noqa: PTH117 -- which has paths all the same
        raise NotImplementedError(f"{type(storage).__name__}.path() is not one on disk")
    return path, os.path.abspath(storage.path(""))  # noqa: PTH100
