"""Errors that are both what Python calls them and what the SDK calls them, so that code written for either works."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

# Status of an answer to what it means for an object; 412: a condition does not hold.
STATUS_MEANINGS: dict[int, type[Exception]] = {
    401: PermissionError,
    403: PermissionError,
    404: FileNotFoundError,
    412: FileExistsError,
    507: OSError,  # no room left
}

# Errors of requests and of urllib3 below it, for meaning_by_name().
REQUESTS_MEANINGS: dict[str, type[Exception]] = {
    **dict.fromkeys(("ConnectionError", "NameResolutionError", "NewConnectionError", "ProxyError"), ConnectionError),
    **dict.fromkeys(("ChunkedEncodingError", "IncompleteRead", "ProtocolError", "SSLError"), ConnectionError),
    **dict.fromkeys(("Timeout", "TimeoutError"), TimeoutError),
}

_ERRNO = {
    FileNotFoundError: errno.ENOENT,
    PermissionError: errno.EACCES,
    FileExistsError: errno.EEXIST,
    IsADirectoryError: errno.EISDIR,
}


_classes: dict[tuple[type, type], type[Translated]] = {}


def meaning_by_name(error: BaseException, meanings: Mapping[str, type[Exception]]) -> type[Exception] | None:
    """Return what ``meanings`` says of the nearest class of ``error``, or None; by name, so that no SDK is imported.

    What Python itself raises, as it may for a caller's content, speaks for itself.
    """
    if type(error).__module__ == "builtins":
        return None
    return next((meanings[cls.__name__] for cls in type(error).__mro__ if cls.__name__ in meanings), None)


class Translated(Exception):
    """Mark of an error that has been given its meaning."""

    _made_of: tuple[Any, ...]

    def __str__(self) -> str:
        return self._made_of[0].__str__(self)  # not the SDK's, which may add the whole answer

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (*self._made_of, self.__dict__)


def translated(error: BaseException, kind: type[Exception], message: str, name: str) -> Translated:
    """Return an error of class ``kind`` that is also of the class of ``error`` and has its attributes."""
    args: tuple[Any, ...] = (message,)
    if issubclass(kind, OSError):
        args = (_ERRNO.get(kind, errno.EIO), message, name or None)
    return _rebuilt(kind, type(error), args, vars(error))


def _rebuilt(
    kind: type[Exception], vendor: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]
) -> Translated:
    combined = _combined(kind, vendor)
    new = combined.__new__(combined, *args)  # not __init__: the SDK's takes its own arguments
    new.__dict__.update(state)
    new._made_of = (kind, vendor, args)
    return new


def _combined(kind: type[Exception], vendor: type[BaseException]) -> type[Translated]:
    if (kind, vendor) not in _classes:
        _classes[kind, vendor] = _combine(kind, vendor)
    return _classes[kind, vendor]


def _combine(kind: type[Exception], vendor: type[BaseException]) -> type[Translated]:
    try:
        return type(kind.__name__, (Translated, kind, vendor), {"__module__": vendor.__module__})
    except TypeError:  # the one is a kind of the other, or the two cannot be one class
        return type(kind.__name__, (Translated, vendor if issubclass(vendor, kind) else kind), {})
