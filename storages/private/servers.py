"""Deliveries: the ways in which the bytes of a private file reach the client.

A delivery is a class with a static ``serve(private_file)`` that returns the response, or raises FileNotFoundError. What
each answer with a private file has to have is given to it afterwards, by :func:`storages.private.headers.protect`.
"""

from __future__ import annotations

import datetime
import errno
import os
import re
import time
import weakref
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files.storage import Storage
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import http_date

from storages.contract import Stat
from storages.lazy import unwrapped
from storages.private import http, locations, names, responses, settings
from storages.private.models import PrivateFile

# What an answer says to nginx, which does not hand it on.
PATH_HEADER = "X-Storages-Path"
RANGE_HEADER = "X-Storages-Range"

_RANGE = re.compile(r"bytes *=[0-9, -]+")
_VISIBLE = re.compile("/[!-~]*")


class DjangoServer:
    """Stream the file from its storage, whichever that is."""

    @staticmethod
    def serve(private_file: PrivateFile) -> HttpResponseBase:
        """Return the answer. Raises FileNotFoundError before anything is sent."""
        return responses.stream(private_file)


DjangoStreamingServer = DjangoServer


class NginxXAccelRedirectServer:
    """Have nginx send a file on disk; ``manage.py private_storage_nginx`` prints the location for it."""

    @staticmethod
    def problem(storage: Storage) -> str | None:
        """Return why files of ``storage`` cannot be sent so, or None."""
        return _problem_without_a_path(storage)

    @staticmethod
    def serve(private_file: PrivateFile) -> HttpResponseBase:
        """Return an empty answer that names the file to nginx. Raises FileNotFoundError."""
        inside, status = found_on_disk(NginxXAccelRedirectServer, private_file)
        path = quote(inside).encode() if _takes_encoded_paths() else _unencoded(inside)
        response = _sent_by_another(private_file, status)
        response["X-Accel-Redirect"] = locations.internal_url(private_file.storage).encode() + path
        return response


class ApacheXSendfileServer:
    """Have Apache with mod_xsendfile send a file on disk; XSendFilePath is the storage's root."""

    @staticmethod
    def problem(storage: Storage) -> str | None:
        """Return why files of ``storage`` cannot be sent so, or None."""
        return _problem_without_a_path(storage)

    @staticmethod
    def serve(private_file: PrivateFile) -> HttpResponseBase:
        """Return an empty answer that names the file to Apache. Raises FileNotFoundError."""
        inside, status = found_on_disk(ApacheXSendfileServer, private_file)
        response = _sent_by_another(private_file, status)
        response["X-Sendfile"] = _path(private_file, inside)  # mod_xsendfile decodes nothing
        return response


class LighttpdServer:
    """Have lighttpd send a file on disk; x-sendfile-docroot is the storage's root."""

    @staticmethod
    def problem(storage: Storage) -> str | None:
        """Return why files of ``storage`` cannot be sent so, or None."""
        return _problem_without_a_path(storage)

    @staticmethod
    def serve(private_file: PrivateFile) -> HttpResponseBase:
        """Return an empty answer that names the file to lighttpd. Raises FileNotFoundError."""
        inside, status = found_on_disk(LighttpdServer, private_file)
        response = _sent_by_another(private_file, status)
        response["X-Sendfile"] = quote(_path(private_file, inside))  # lighttpd decodes it
        return response


class NginxProxyServer:
    """Have nginx fetch the file from its cloud; ``manage.py private_storage_nginx`` prints the location for it.

    Only the path and the signature travel to nginx, which knows the host. The client sees neither.
    """

    @staticmethod
    def problem(storage: Storage) -> str | None:
        """Return why files of ``storage`` cannot be sent so, or None."""
        if problem := _problem_without_signatures(storage):
            return problem
        if not getattr(storage, "internal_url", None) and locations.label_of(storage) is None:
            return f"{_class_name(storage)} has neither 'internal_url' nor a name in STORAGES, by which nginx finds it"
        return None

    @staticmethod
    def serve(private_file: PrivateFile) -> HttpResponseBase:
        """Return an empty answer that names the object to nginx. Raises FileNotFoundError."""
        storage = private_file.storage
        require(NginxProxyServer, storage)
        found = _find(private_file)
        origin, path = _split(signed_url(private_file))
        if origin != origin_of(storage):
            raise ImproperlyConfigured(f"{_class_name(storage)} has signed for {origin}, which nginx is not to ask")
        response = _sent_by_another(private_file)
        response["X-Accel-Redirect"] = locations.internal_url(storage)
        response[PATH_HEADER] = path
        response[RANGE_HEADER] = _range_asked(private_file.request, found)
        return response


class RedirectServer:
    """Send the client to a signed URL of the storage, which lives for PRIVATE_STORAGE_REDIRECT_EXPIRE seconds.

    The type and the disposition of the answer are in the signature. No cloud can be told to send nosniff or a policy:
    what is not known to be harmless comes as an attachment, and from the cloud's own host.
    """

    @staticmethod
    def problem(storage: Storage) -> str | None:
        """Return why files of ``storage`` cannot be sent so, or None."""
        if problem := _problem_without_signatures(storage):
            return problem
        if getattr(storage, "signs_prefixes", False):
            return (
                f"who has a signed URL of {_class_name(storage)} may read every file whose name begins with the same; "
                "use 'nginx-proxy' or 'django'"
            )
        return None

    @staticmethod
    def serve(private_file: PrivateFile) -> HttpResponseBase:
        """Return the redirect, or the headers for a HEAD. Raises FileNotFoundError."""
        require(RedirectServer, private_file.storage)
        if private_file.request.method == "HEAD":  # the signature is for GET
            return responses.stream(private_file)
        _find(private_file)
        response = HttpResponse(status=302)
        response["Location"] = signed_url(private_file)  # HttpResponseRedirect takes no long one
        response["Cache-Control"] = "private, no-store"
        response["Referrer-Policy"] = "no-referrer"
        return response


# Setting to class.
SERVERS: dict[str, Any] = {
    "django": DjangoServer,
    "streaming": DjangoStreamingServer,
    "nginx": NginxXAccelRedirectServer,
    "nginx-proxy": NginxProxyServer,
    "apache": ApacheXSendfileServer,
    "lighttpd": LighttpdServer,
    "redirect": RedirectServer,
}


def get_server_class(name: Any) -> Any:
    """Return the class behind a name of the settings, or a dotted path to one. Raises ImproperlyConfigured."""
    if not isinstance(name, str):
        return name
    if name in SERVERS:
        return SERVERS[name]
    if "." not in name:
        raise ImproperlyConfigured(
            f"PRIVATE_STORAGE_SERVER is one of {', '.join(SERVERS)} or a dotted path, not {name!r}"
        )
    try:
        return settings.resolve(name)
    except ImportError as error:
        raise ImproperlyConfigured(f"PRIVATE_STORAGE_SERVER names {name!r}, which is not there: {error}") from error


def problem_of(server_class: Any, storage: Storage) -> str | None:
    """Return why ``server_class`` cannot deliver the files of ``storage``, and what can; None if it can."""
    ask: Callable[[Storage], str | None] | None = getattr(server_class, "problem", None)
    return ask(unwrapped(storage)) if ask else None


def require(server_class: Any, storage: Storage) -> None:
    """Raise ImproperlyConfigured unless ``server_class`` can deliver the files of ``storage``."""
    if problem := problem_of(server_class, storage):
        name = next((name for name, known in SERVERS.items() if known is server_class), server_class.__name__)
        raise ImproperlyConfigured(f"PRIVATE_STORAGE_SERVER can't be {name!r} here: {problem}")


# Files on disk


def found_on_disk(server_class: Any, private_file: PrivateFile) -> tuple[str, os.stat_result]:
    """Return where a file is below the storage's root, without links, and what is known of it.

    Raises FileNotFoundError, also for what only a link reaches from there; ImproperlyConfigured for ``server_class``
    where the storage is not on disk.
    """
    _refuse_untidy(private_file)
    try:
        root, inside = private_file.place
    except NotImplementedError:
        require(server_class, private_file.storage)
        raise
    except SuspiciousFileOperation as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), private_file.relative_name) from error
    return inside, os.stat(os.path.join(root, inside))  # noqa: PTH116, PTH118


def _path(private_file: PrivateFile, inside: str) -> bytes:
    """Return the path as a web server is told the root."""
    root = unwrapped(private_file.storage).path("")
    return os.fsencode(os.path.join(os.path.abspath(root), inside))  # noqa: PTH100, PTH118


def _problem_without_a_path(storage: Storage) -> str | None:
    if locations.is_on_disk(storage):
        return None
    return f"{_class_name(storage)} keeps no files on this disk; use 'nginx-proxy', 'redirect' or 'django'"


def _takes_encoded_paths() -> bool:
    version = settings.get("PRIVATE_STORAGE_NGINX_VERSION")
    numbers = version if isinstance(version, tuple) else re.findall(r"\d+", str(version or ""))
    return not numbers or tuple(map(int, numbers))[:3] >= (1, 5, 9)


def _unencoded(path: str) -> bytes:
    if "?" in path:  # nginx before 1.5.9 would send the file whose name ends before it
        raise FileNotFoundError(errno.ENOENT, "nginx before 1.5.9 cannot be told a question mark", path)
    return path.encode()


# Objects in a cloud


def signed_url(private_file: PrivateFile) -> str:
    """Return a URL of the storage that answers with the type and the disposition of this delivery.

    It lives no longer than the link, if one led here.
    """
    link = private_file.link
    return _sign(
        private_file.storage,
        private_file.relative_name,
        longest=max(1, link.claims.expires - int(time.time())) if link else None,
        content_type=private_file.response_type,
        content_disposition=private_file.content_disposition,
    )


def origin_of(storage: Storage) -> str:
    """Return the scheme and the host, with a port if there is one, to which a storage signs. Raises ValueError."""
    storage = unwrapped(storage)
    if storage not in _origins:
        url = _sign(storage, "probe", content_type="application/octet-stream", content_disposition="attachment")
        _origins[storage] = _split(url)[0]
    return _origins[storage]


_origins: weakref.WeakKeyDictionary[Storage, str] = weakref.WeakKeyDictionary()


def _sign(storage: Any, name: str, *, longest: int | None = None, **answer: str) -> str:
    expire = int(settings.get("PRIVATE_STORAGE_REDIRECT_EXPIRE"))
    limits = (longest, getattr(storage, "longest_expire", None))
    return storage.download_url(name, **answer, expire=min([expire, *filter(None, limits)]))


def _split(url: str) -> tuple[str, str]:
    """Return the origin of a URL and the rest, to the letter. Raises ValueError."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    rest = url[len(origin) :]
    if parts.scheme not in ("http", "https") or not _VISIBLE.fullmatch(rest) or not url.startswith(origin):
        raise ValueError(f"a signed URL has a host and then a path, not {origin!r}")
    return origin, rest


def _problem_without_signatures(storage: Storage) -> str | None:
    if getattr(storage, "response_parameters", None):
        return None
    return f"{_class_name(storage)} signs no URLs that say as what a file is sent; use 'django'"


def _find(private_file: PrivateFile) -> Stat:
    _refuse_untidy(private_file)
    found: Stat = private_file.storage.stat(private_file.relative_name)  # type: ignore[attr-defined]
    return found


def _range_asked(request: HttpRequest, found: Stat) -> str:
    """Return the Range for the cloud, whole where If-Range names another version: not every cloud knows that."""
    wanted = request.headers.get("Range", "")
    condition = request.headers.get("If-Range")
    etag = http.etag_of(found.etag) if found.etag else ""
    if not _RANGE.fullmatch(wanted) or (condition and (condition != etag or etag.startswith("W/"))):
        return ""
    return wanted


# Both


def _refuse_untidy(private_file: PrivateFile) -> None:
    """Raise FileNotFoundError for a name that a view ought not to have let in."""
    if not names.is_canonical(private_file.relative_name):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), private_file.relative_name)


def _sent_by_another(private_file: PrivateFile, status: os.stat_result | None = None) -> HttpResponse:
    response = HttpResponse(content_type=private_file.response_type)
    if status:
        # Else ConditionalGetMiddleware gives every file the ETag of this empty answer.
        now = datetime.datetime.now(datetime.timezone.utc)
        settled = http.is_settled(datetime.datetime.fromtimestamp(status.st_mtime, datetime.timezone.utc), now)
        etag = f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"
        response["ETag"] = http.etag_of(etag, weak=not settled)
        response["Last-Modified"] = http_date(status.st_mtime)
    return response


def _class_name(storage: Storage) -> str:
    return type(unwrapped(storage)).__name__
