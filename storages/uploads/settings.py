"""Django settings of direct uploads, read when they are needed."""

from __future__ import annotations

from typing import Any

from django.conf import settings as django_settings

DEFAULTS: dict[str, Any] = {
    "UPLOADS_PERMISSION": "storages.uploads.permissions.allow_authenticated",  # None denies everybody
    "UPLOADS_AUTHENTICATION": (),  # dotted paths: who knows clients without a session, as REST framework's classes do
    "UPLOADS_SLOT_EXPIRE": 12 * 3600,  # seconds that a form may lie open
    "UPLOADS_SLOT_FILES": 100,  # uploads that one rendering of a form is good for, and all rows that it grows
    "UPLOADS_EXPIRE": 24 * 3600,  # seconds that an upload may take, and a form then has for taking it
    "UPLOADS_LINK_EXPIRE": 300,  # seconds that a signature for one request lives
    "UPLOADS_PART_SIZE": 16 * 1024 * 1024,  # bytes; larger where the number of parts would be too large
    "UPLOADS_PARTS_ABOVE": 64 * 1024 * 1024,  # bytes from which on an upload is in parts
    "UPLOADS_STAGING": "uploads-staging",  # where clients write what is then copied; swept by the bucket's own rule
    "UPLOADS_MAX_OPEN": 20,  # uploads of one user that are not over
    "UPLOADS_QUOTA": None,  # bytes of one user's uploads that are not claimed; a number or a dotted path
    "UPLOADS_RATE": None,  # dotted path: request, field to seconds to wait, or None
    "UPLOADS_SCANNER": None,  # dotted path: what looks at every file before a form may take it
    "UPLOADS_SPOOL": None,  # directory for uploads through this server; None: that of the system's temporary files
    "UPLOADS_SPOOL_QUOTA": None,  # bytes of all uploads in it; None: what the disk has, less a tenth
    "UPLOADS_S3_OPEN": False,  # whether anybody may have a form signed, as django-buckets lets them
    "UPLOADS_S3_DIRECTORIES": ("",),  # in which forms may put files, beside upload_to of every S3FileField
    "UPLOADS_S3_KEEP_NAMES": False,  # whether such a file has the client's name, in a directory of its own
    "UPLOADS_FAKE": None,  # whether the fake S3 answers; None: with DEBUG
}


def get(name: str) -> Any:
    """Return the Django setting ``name``, or what it is by default. Raises KeyError for one that is none of ours."""
    default = DEFAULTS[name]
    return getattr(django_settings, name, default)
