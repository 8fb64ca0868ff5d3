"""The one form of a name that permission, storage and delivery all see."""

from __future__ import annotations

import errno
import os

from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import InMemoryStorage, Storage

from storages.names import clean_name

LONGEST_NAME = 4096  # bytes; the longest path of Linux, and more than any service takes


def is_canonical(name: str) -> bool:
    """Whether ``name`` is written as the storage itself would write it: nothing is left to be resolved or cleaned."""
    if not name or name.endswith("/") or len(name) > LONGEST_NAME:
        return False
    try:
        return clean_name(name) == name and len(name.encode()) <= LONGEST_NAME
    except SuspiciousFileOperation:
        return False


def local_path(storage: Storage, name: str) -> str:
    """Return the real path of the file ``name`` on disk, which lies below the real path of the storage's root.

    Raises FileNotFoundError for what is no regular file, or reached through a link out of the root;
    NotImplementedError where the storage is not on disk; SuspiciousFileOperation from the storage.
    """
    path = storage.path(name)
    # os.path and not Path: this runs for every request, at a third of the time
    if not os.path.isabs(path) or isinstance(storage, InMemoryStorage):  # noqa: PTH117 -- which has paths all the same
        raise NotImplementedError(f"{type(storage).__name__}.path() is not one on disk")
    real = os.path.realpath(path)
    root = os.path.abspath(storage.path(""))  # noqa: PTH100
    if real != path:  # a link is on the way, perhaps that to the root itself
        root = os.path.realpath(root)
    # Path.is_file() raises for too long a name
    if os.path.commonpath((root, real)) != root or not os.path.isfile(real):  # noqa: PTH113
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    return real
