"""Models with files that are uploaded directly, into a cloud of this process's memory."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.http import HttpRequest

from storages.backends.memory import MemoryStorage
from storages.uploads.fields import DirectUploadField
from tests.uploads.form_models import *  # noqa: F403
from tests.uploads.kinds import KINDS, KindStorage

cloud = KindStorage(*KINDS)
proxied = MemoryStorage()  # nothing can be signed for it

TURNS: dict[str, Any] = {"answer": True, "calls": 0}


def allow_turns(request: HttpRequest, field: Any) -> bool:
    """A permission that tests turn."""
    TURNS["calls"] += 1
    return TURNS["answer"]


class Clip(models.Model):
    """Has two fields of one kind, so that a token for the one can be tried on the other."""

    title = models.CharField(max_length=20, blank=True)
    file = DirectUploadField(upload_to="clips", storage=cloud, max_size=10_000, max_length=200)
    cover = DirectUploadField(upload_to="covers", storage=cloud, content_types=["image/*"], blank=True, max_length=200)


class Note(models.Model):
    """Comes through the server."""

    file = DirectUploadField(upload_to="notes", storage=proxied, max_size=10_000, max_length=200)


class Strict(models.Model):
    """Wants more than most kinds can promise."""

    file = DirectUploadField(
        storage=cloud,
        enforce={"size", "type"},
        checksum=True,
        permission="tests.uploads.models.allow_turns",
        max_length=200,
    )


class Plain(models.Model):
    """Has a file that is not uploaded directly."""

    file = models.FileField()
