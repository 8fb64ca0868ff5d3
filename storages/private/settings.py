"""Django settings of private files, read when they are needed."""

from __future__ import annotations

from typing import Any

from django.conf import settings as django_settings
from django.utils.module_loading import import_string

DEFAULTS: dict[str, Any] = {
    "PRIVATE_STORAGE_CLASS": "storages.private.storage.PrivateFileSystemStorage",
    "PRIVATE_STORAGE_ROOT": None,
    "PRIVATE_STORAGE_SERVER": "django",
    "PRIVATE_STORAGE_AUTH_FUNCTION": "storages.private.permissions.allow_superuser",  # None denies everybody
    "PRIVATE_STORAGE_INTERNAL_URL": "/private-x-accel-redirect/",
    "PRIVATE_STORAGE_NGINX_VERSION": None,  # "1.5.8"; before 1.5.9 it takes paths unquoted
    "PRIVATE_STORAGE_REDIRECT_EXPIRE": 60,  # seconds; the life of a signed URL that a client is sent to
    "PRIVATE_STORAGE_S3_REVERSE_PROXY": False,
    "PRIVATE_STORAGE_MINIO_REVERSE_PROXY": False,
    "PRIVATE_STORAGE_HIDE_DENIED": False,  # a denied file is answered as a missing one
    "PRIVATE_STORAGE_INLINE_TYPES": (),  # shown by the browser, beside headers.INERT_TYPES
    "PRIVATE_STORAGE_LINK_EXPIRE": 3600,  # seconds that a link lives if make_link() is not told
    "PRIVATE_STORAGE_LINK_LONGEST_EXPIRE": 7 * 24 * 3600,  # at most; lowered, it ends older links too
    "PRIVATE_STORAGE_LINK_BEARER_EXPIRE": 15 * 60,  # that a link lives at most which asks no permission
    "PRIVATE_STORAGE_LINK_RESUME": 15 * 60,  # seconds in which a use of a link is good for later ranges too
    "PRIVATE_STORAGE_LINK_VERSION": 1,  # another one ends every link
    "PRIVATE_STORAGE_LINK_IP_FUNCTION": None,  # dotted path: request to address; None: that of the connection
    "PRIVATE_STORAGE_LINK_STORAGES": {},  # name to dotted path of a storage object: those that STORAGES has not
}

# As earlier releases spell them.
ALIASES = {"PRIVATE_STORAGE_MINIO_REVERSE_PROXY": "PRIVATE_STORAGE_MINO_REVERSE_PROXY"}

# What django-private-storage calls its modules; the longest start that fits is replaced.
OLD_MODULES = {
    "private_storage.storage.files.": "storages.private.storage.",
    "private_storage.storage.s3boto3.": "storages.private.storage.",
    "private_storage.storage.minio.": "storages.private.storage.",
    "private_storage.": "storages.private.",
}


def get(name: str) -> Any:
    """Return the Django setting ``name``, or what it is by default. Raises KeyError for one that is none of ours."""
    default = DEFAULTS[name]
    if name in ALIASES:
        default = getattr(django_settings, ALIASES[name], default)
    return getattr(django_settings, name, default)


def modern(dotted: str) -> str:
    """Return ``dotted`` with a module of django-private-storage replaced by ours."""
    if not dotted.startswith("private_storage."):
        return dotted
    old = next(start for start in OLD_MODULES if dotted.startswith(start))
    return OLD_MODULES[old] + dotted.removeprefix(old)


def resolve(dotted: str) -> Any:
    """Return what a dotted path of the settings names, also one of django-private-storage. Raises ImportError."""
    return import_string(modern(dotted))
