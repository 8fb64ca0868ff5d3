"""Which object of a storage a URL means: how models with an S3FileField remember their files."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote, urlsplit

from django.core.exceptions import SuspiciousFileOperation

from storages.names import clean_name

_PROBE = "x"


def join(url: str, key: str) -> str:
    """Return the URL of ``key`` below ``url``, which may end in a slash or not."""
    return f"{url.rstrip('/')}/{quote(key, safe='/~')}"


def address_of(storage: Any, name: str) -> str:
    """Return the URL of an object without any signature, the same at all times."""
    own = getattr(storage, "address_of", None)
    return own(name) if own else str(storage.url(name)).partition("?")[0]


def name_in(storage: Any, url: object) -> str | None:
    """Return the name of the object that ``url`` means, or None where it is none of ``storage``."""
    text = str(url)
    for base in _bases(storage):
        if text.startswith(base):
            path = urlsplit(text).path
            rest = unquote(path[len(urlsplit(base).path) :])
            return _clean(storage, rest)
    return None


def _bases(storage: Any) -> list[str]:
    """Return all that URLs of the storage start with."""
    own = getattr(storage, "address_bases", None)
    if own is not None:
        return list(own)
    return [address_of(storage, _PROBE).removesuffix(_PROBE)]


def _clean(storage: Any, name: str) -> str | None:
    try:
        clean = clean_name(name)
    except SuspiciousFileOperation:
        return None
    return clean if clean == name and clean and not clean.endswith("/") else None
