"""Names and keys: cleaning, joining, shortening. Pure functions of strings."""

from __future__ import annotations

import posixpath
import re

from django.core.exceptions import SuspiciousFileOperation

# C0 controls and DEL can split a protocol's lines; lone surrogates have no UTF-8 form.
_UNSAFE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_UNTIDY = re.compile(r"\\|//|^/|(?:^|/)\.\.?(?:/|$)")


def clean_name(name: object) -> str:
    """Return ``name`` with forward slashes and without empty or dot parts; a trailing slash stays.

    Raises SuspiciousFileOperation for an absolute name, one that climbs above its start, and control characters.
    """
    text = str(name)
    if _UNSAFE.search(text):
        raise SuspiciousFileOperation(f"{text!r} holds a control character; remove it from the name")
    if not _UNTIDY.search(text):
        return text
    text = text.replace("\\", "/")
    if text.startswith("/"):
        raise SuspiciousFileOperation(f"{text!r} is absolute; give a name relative to the storage's location")
    tidy = posixpath.normpath(text)
    if tidy == ".." or tidy.startswith("../"):
        raise SuspiciousFileOperation(f"{text!r} leaves the storage's location")
    if tidy == ".":
        return ""
    return tidy + "/" if text.endswith("/") else tidy


def location_prefix(location: object) -> str:
    """Return ``location`` as the prefix of keys: empty, or ending in one slash.

    Raises SuspiciousFileOperation as clean_name() does.
    """
    tidy = clean_name(str(location or "")).rstrip("/")
    return tidy + "/" if tidy else ""


def shorten(name: str, max_length: int | None, ending: str = "") -> str:
    """Return ``name`` with ``ending`` before its extension and its root cut so that all is at most ``max_length`` long.

    Raises SuspiciousFileOperation where no character of the root would be left.
    """
    directory, file_name = posixpath.split(name)
    root, extension = posixpath.splitext(file_name)
    excess = len(name) + len(ending) - max_length if max_length else 0
    if excess > 0:
        if excess >= len(root):
            raise SuspiciousFileOperation(
                f"Storage can not find an available filename for {name!r} within max_length={max_length}; "
                "raise the field's max_length or give a shorter name"
            )
        root = root[:-excess]
    return posixpath.join(directory, f"{root}{ending}{extension}")
