"""Files that belong to somebody, in a storage that counts what it is asked."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models

from storages.backends.memory import MemoryStorage

HOOKS = ("_stat", "_open_range", "_put", "_delete", "_list", "_exists", "_copy", "_delete_many", "_start_parts")


def counted(hook: str) -> Any:
    def call(self: Any, *args: Any, **options: Any) -> Any:
        self.calls.append(hook)
        return getattr(MemoryStorage, hook)(self, *args, **options)

    return call


class CountingStorage(MemoryStorage):
    """In ``calls`` is every hook that was called."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.calls: list[str] = []


for hook in HOOKS:
    if hasattr(MemoryStorage, hook):
        setattr(CountingStorage, hook, counted(hook))

memory = CountingStorage()


class Document(models.Model):
    title = models.CharField(max_length=50)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True)
    file = models.FileField(upload_to="documents", storage=memory, blank=True)
