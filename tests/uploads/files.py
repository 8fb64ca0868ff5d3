"""Uploads that are over, and who made them, for tests of what comes afterwards."""

from __future__ import annotations

import datetime
from typing import Any

from django.core.files.base import ContentFile
from django.utils import timezone

from storages.uploads import audience, registry, tokens
from storages.uploads.models import State, Upload
from storages.uploads.widgets import PREFIX

PNG = b"\x89PNG\r\n\x1a\n" + 20 * b"."
PDF = b"%PDF-1.7\n"
HTML = b"<!doctype html><script>alert(1)</script>"


def finished(field: str, user: Any = None, *, filename: str = "a.png", content: bytes = PNG, **columns: Any) -> Upload:
    """Return the row of a file that ``user`` uploaded for ``field``, "app.Model.field", which is in its storage."""
    storage = registry.field_called(field).storage
    name = storage.save(f"uploaded/{filename}", ContentFile(content))
    columns = {"content_type": "image/png", "state": State.FINISHED, "pin": "1", "kind": "tus", **columns}
    expires = timezone.now() + datetime.timedelta(hours=1)
    columns = {"name": name, "filename": filename, "size": len(content), "expires": expires, **columns}
    return Upload.objects.create(field=field, user=user, **columns)


def token_of(upload: Upload) -> str:
    """Return what the element posts for an upload."""
    return PREFIX + tokens.file_token(upload)


def session_of(request: Any) -> str:
    """Return what the rows of somebody who is not logged in have."""
    return audience.of(request).session
