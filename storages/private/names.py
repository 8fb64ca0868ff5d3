"""The one form of a name that permission, storage and delivery all see."""

from __future__ import annotations

from django.core.exceptions import SuspiciousFileOperation

from storages.names import clean_name


def is_canonical(name: str) -> bool:
    """Whether ``name`` is written as the storage itself would write it: nothing is left to be resolved or cleaned."""
    if not name or name.endswith("/"):
        return False
    try:
        return clean_name(name) == name
    except SuspiciousFileOperation:
        return False
