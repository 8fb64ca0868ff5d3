"""What all storages share below Django's API: options by role, keys, URLs, parameters of a write."""

from __future__ import annotations

import datetime
import mimetypes
import time
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.utils.deconstruct import deconstructible

from storages.contract import Capabilities
from storages.names import clean_name, location_prefix
from storages.optional import OptionalModule
from storages.settings import SettingsMixin
from storages.usual import COMPRESSIBLE_TYPES

# An archive is stored as what it is: a Content-Encoding would make browsers and proxies unpack it.
ENCODED_TYPES = {
    "br": "application/x-brotli",
    "bzip2": "application/x-bzip2",
    "compress": "application/x-compress",
    "gzip": "application/gzip",
    "xz": "application/x-xz",
}

# No URL is signed for thirty years: what is more is a moment, in seconds since 1970.
_LONGEST_SPAN = 10**9  # seconds


@deconstructible
class StorageMixin(SettingsMixin):
    """Cross from names to keys, and from options to what the hooks take."""

    capabilities: Capabilities | Any = Capabilities()

    sdk: ClassVar[OptionalModule | None] = None  # what has to be installed for this backend

    default_content_type = "application/octet-stream"
    url_without_name: ClassVar[bool] = False  # whether url("") is the start of all URLs, as templates ask static files
    longest_key: ClassVar[int | None] = None  # bytes, where the service has a limit
    longest_name: ClassVar[int | None] = None  # characters, to which get_available_name() cuts where no other is given
    longest_expire: int | Any = None  # seconds, where the signature has a limit
    # What the service calls the parameters that the base works with.
    parameter_names: ClassVar[Mapping[str, str]] = {
        "content_type": "content_type",
        "content_encoding": "content_encoding",
        "acl": "acl",
    }
    # What it calls the type and the disposition of an answer, where a signature can hold them.
    response_parameters: ClassVar[Mapping[str, str]] = {}
    signs_prefixes: ClassVar[bool] = False  # whether who may read a key by a URL may read all that begin with it

    def __init__(self, *args: Any, **options: Any):
        if self.sdk is not None:
            self.sdk.require(type(self).__name__)
        super().__init__(*args, **options)
        location = self._role("location", "")
        try:
            location_prefix(location)
        except SuspiciousFileOperation as error:
            option = next(name for name, setting in self.declared_settings().items() if setting.role == "location")
            advice = f"write {location.lstrip('/')!r}" if str(location).startswith("/") else str(error)
            raise ImproperlyConfigured(
                f"{type(self).__name__}: {self._spelt(option)} is a prefix of keys and can't be {location!r}; {advice}"
            ) from error

    def _given_options(self) -> tuple[Any, dict[str, Any]]:
        """Return what the constructor was given: what has no name (of a subclass's own), and the options by name."""
        args, kwargs = self._constructor_args  # type: ignore[attr-defined]
        return args[len(self.positional) :], {**dict(zip(self.positional, args, strict=False)), **kwargs}

    # Names and keys

    def _key(self, name: str) -> str:
        """Return the key of ``name``: the only way from one to the other, for every verb.

        Raises ValueError for an empty name, SuspiciousFileOperation for one that leaves the location, holds a control
        character or is longer than the service allows.
        """
        clean = clean_name(name)
        if not name or not clean:
            raise ValueError("The name of a file must not be empty")
        key = self._normalize_name(clean)
        if self.longest_key and len(key) * 4 > self.longest_key and len(key.encode()) > self.longest_key:
            raise SuspiciousFileOperation(
                f"The key of {name!r} is {len(key.encode())} bytes long, of which the service allows "
                f"{self.longest_key}; shorten the name"
            )
        return key

    def _normalize_name(self, name: str) -> str:
        """Return the key of a clean name. A subclass may place its names elsewhere."""
        return self._prefix + name

    @property
    def _prefix(self) -> str:
        return self._derived("prefix", lambda: location_prefix(self._role("location", "")))

    @property
    def _root(self) -> str:
        """Return the prefix of all keys of this storage, also where a subclass places its names elsewhere."""
        return self._normalize_name("")

    def _list_prefix(self, name: str) -> str:
        """Return the prefix of the keys below ``name``, which may be empty."""
        clean = clean_name(name or "").rstrip("/")
        return self._key(clean) + "/" if clean else self._root

    # URLs

    def url(
        self,
        name: str | None,
        parameters: Mapping[str, Any] | None = None,
        expire: int | datetime.timedelta | datetime.datetime | None = None,
        http_method: str | None = None,
    ) -> str:
        """Return the URL of ``name``, signed where the options say so. No request is sent.

        ``parameters`` go into the signature, or into the query of an unsigned URL; ``expire`` is in seconds from now,
        or a moment. Raises ValueError for an empty name, and where there is no such URL.
        """
        if not name and not (name == "" and self.url_without_name):
            raise ValueError("This file has no name, so it has no URL")
        key = self._key(name) if name else self._root
        method = (http_method or "GET").upper()
        try:
            # An option of None for the life says that URLs are signed only where they are given one.
            if not self._signs_urls() or (expire is None and self._role("expire", 3600) is None):
                return self._public_url(key, parameters or {})
            return self._signed_url(key, method, expire, parameters or {})
        except Exception as error:
            meaning = self._translated(error, name)
            if meaning is error:
                raise
            raise meaning from error

    def _signed_url(
        self,
        key: str,
        method: str,
        expire: int | datetime.timedelta | datetime.datetime | None,
        parameters: Mapping[str, Any],
    ) -> str:
        if method not in self.capabilities.presign:
            allowed = ", ".join(sorted(self.capabilities.presign)) or "nothing"
            raise ValueError(f"{type(self).__name__} signs URLs for {allowed}, not for {method}")
        return self._presign(key, method, self._expire_seconds(expire), parameters)

    def download_url(
        self,
        name: str,
        *,
        content_type: str,
        content_disposition: str,
        expire: int | datetime.timedelta | datetime.datetime | None = None,
    ) -> str:
        """Return a signed URL of ``name`` that answers a GET as this type, with this whole Content-Disposition.

        Both are in the signature, and what the object was stored with does not count; nor does it matter whether
        url() signs. ``expire`` is as for url(). Raises ValueError where the service can't sign that.
        """
        key = self._key(name)
        wanted = {"content_type": content_type, "content_disposition": content_disposition}
        if missing := wanted.keys() - self.response_parameters.keys():
            raise ValueError(f"{type(self).__name__} signs no URLs that set the {min(missing)} of the answer")
        parameters = {self.response_parameters[idea]: value for idea, value in wanted.items()}
        try:
            return self._presign_download(key, self._expire_seconds(expire), parameters)
        except Exception as error:
            meaning = self._translated(error, name)
            if meaning is error:
                raise
            raise meaning from error

    def _expire_seconds(self, expire: int | datetime.timedelta | datetime.datetime | None) -> int:
        value = self._role("expire", 3600) if expire is None else expire
        if isinstance(value, datetime.datetime):
            value = (value if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)).timestamp()
        if isinstance(value, datetime.timedelta):
            value = value.total_seconds()
        if type(value) not in (int, float):
            raise ValueError(f"expire is a number of seconds, not {value!r}")
        if value > _LONGEST_SPAN:
            value -= time.time()
        if value <= 0:
            raise ValueError(f"expire must be more than 0 seconds, not {value}")
        if self.longest_expire and value > self.longest_expire:
            raise ValueError(
                f"expire must be at most {self.longest_expire} seconds ({self.longest_expire // 86400} days), "
                f"not {value}"
            )
        return int(value)

    def _translated(self, error: Exception, name: str) -> BaseException:
        """Return what ``error`` means; the base knows."""
        return error

    def _signs_urls(self) -> bool:
        """Whether url() signs; hook."""
        return bool(self.capabilities.presign)

    def _presign(self, key: str, method: str, seconds: int, parameters: Mapping[str, Any]) -> str:
        raise ValueError("This file is not accessible via a signed URL.")

    def _presign_download(self, key: str, seconds: int, parameters: Mapping[str, Any]) -> str:
        """Return a URL of the service for a GET within exactly ``seconds``; hook."""
        return self._presign(key, "GET", seconds, parameters)

    def _public_url(self, key: str, parameters: Mapping[str, Any]) -> str:
        raise ValueError("This file is not accessible via a URL.")

    # Parameters of a write

    def get_object_parameters(self, name: str) -> dict[str, Any]:
        """Return the parameters with which the object under the key ``name`` is written; to be overridden.

        The option may be a mapping, or a callable that takes the key and the content (None for ``open()``).
        """
        return self._object_parameters(name, None)

    def _object_parameters(self, key: str, content: Any) -> dict[str, Any]:
        given = self._role("object_parameters") or {}
        return dict(given(key, content) if callable(given) else given)

    def _get_write_parameters(self, name: str, content: Any = None) -> dict[str, Any]:
        """Return all parameters for a write of ``content`` under the key ``name``, in the service's spelling."""
        overridden = type(self).get_object_parameters is not StorageMixin.get_object_parameters
        parameters = dict(self.get_object_parameters(name)) if overridden else self._object_parameters(name, content)
        type_name, acl_name = self.parameter_names["content_type"], self.parameter_names["acl"]
        if type_name not in parameters:
            parameters[type_name] = getattr(content, "content_type", None) or self._guessed_type(name)
        if acl_name not in parameters and (acl := self._role("acl")):
            parameters[acl_name] = acl
        return parameters

    def _guessed_type(self, name: str) -> str:
        guess, encoding = mimetypes.guess_type(f"./{name}")  # "data:..." is a name, and no URL
        if encoding:
            return ENCODED_TYPES.get(encoding, self.default_content_type)
        return guess or self.default_content_type

    def _compresses(self, parameters: Mapping[str, Any]) -> bool:
        """Whether a write with ``parameters`` is to be compressed."""
        content_type = str(parameters.get(self.parameter_names["content_type"], ""))
        return bool(
            self._role("gzip")
            and not parameters.get(self.parameter_names["content_encoding"])
            and content_type.partition(";")[0].strip().lower() in self._role("gzip_types", COMPRESSIBLE_TYPES)
        )


def quoted(key: str) -> str:
    """Return ``key`` as the path of a URL; quoted as the SDKs do it, which matters where they sign."""
    return quote(key, safe="/~")


def with_query(url: str, parameters: Mapping[str, Any]) -> str:
    """Return ``url`` with ``parameters`` in its query."""
    if not parameters:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode(parameters)}"
