"""The fields that are uploaded to directly, by the names that tokens have for them: app.Model.field."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist

from storages.uploads.errors import UploadError


def label_of(field: Any) -> str:
    """Return the name of a model's field."""
    return f"{field.model._meta.app_label}.{field.model.__name__}.{field.name}"


def field_called(label: object) -> Any:
    """Return the field of this name that is uploaded to directly. Raises UploadError unknown_field."""
    parts = label.split(".") if isinstance(label, str) else []
    try:
        app, model, name = parts
        field = apps.get_model(app, model)._meta.get_field(name)
    except (ValueError, LookupError, FieldDoesNotExist) as error:
        raise UploadError("unknown_field", "There is no such field.", field="field") from error
    if not getattr(field, "uploads_directly", False):
        raise UploadError("unknown_field", "There is no such field.", field="field")
    return field


def policy_of(field: Any) -> str:
    """Return a hash of what the field allows: a slot of before a change is renewed."""
    said = [field.max_size, field.min_size, sorted(field.content_types or ["*/*"]), sorted(field.enforce or ())]
    text = json.dumps([*said, bool(field.checksum)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
