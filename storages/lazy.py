"""The storage itself, where a project has a lazy object in its place."""

from __future__ import annotations

from typing import Any

from django.utils.functional import LazyObject, empty


def unwrapped(storage: Any) -> Any:
    """Return the storage behind a lazy one, which is made if need be. Raises what making it raises."""
    while isinstance(storage, LazyObject):
        if storage._wrapped is empty:
            storage._setup()
        storage = storage._wrapped
    return storage
