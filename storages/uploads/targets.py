"""The storages that are uploaded to: those of the fields, and those of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.files.storage import storages

from storages.lazy import unwrapped


def fields() -> Iterator[Any]:
    """Yield the fields of all models that are uploaded to directly, each once: a child has its parent's."""
    for model in apps.get_models():
        for field in model._meta.local_fields:
            if getattr(field, "uploads_directly", False):
                yield field


def named(alias: str) -> Any:
    """Return the storage of an alias in STORAGES. Raises InvalidStorageError."""
    return unwrapped(storages[alias])


def all_storages() -> dict[str, Any]:
    """Return the storages of all fields, each once: by its alias, or else by its first field."""
    found: dict[str, Any] = {}
    for field in fields():
        storage = unwrapped(field.storage)
        if not any(storage is known for known in found.values()):
            found[_alias_of(storage) or f"{field.model._meta.label}.{field.name}"] = storage
    return found


def kinds_of(storage: Any) -> dict[str, Any]:
    """Return the kinds of upload that a storage signs; none for one of somebody else."""
    return dict(getattr(storage, "upload_kinds", None) or {})


def _alias_of(storage: Any) -> str | None:
    for alias in storages.backends:
        try:
            if named(alias) is storage:
                return alias
        except Exception:  # noqa: BLE001, S112 -- another one that is misconfigured, or whose SDK is not here
            continue
    return None
