"""A bucket of S3 that browsers upload to by forms, with the settings of django-buckets."""

from __future__ import annotations

import mimetypes
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from storages.backends.s3 import S3Storage as _S3Storage
from storages.settings import Setting
from storages.sniffing import OCTETS
from storages.uploads import addresses, settings

LARGEST = 5 * 1024**3  # bytes; docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html

_PROBE = "probe"

# Keys of the dict AWS, and what they are called here.
_REQUIRED = {"BUCKET": "bucket_name", "ACCESS_KEY": "access_key", "SECRET_KEY": "secret_key"}
_OPTIONAL = {"REGION": "region_name", "MAX_FILE_SIZE": "max_file_size"}


class S3DirectStorage(_S3Storage):
    """Store files in a bucket, and sign forms with which browsers put files there themselves.

    Reads the Django setting ``AWS``: a dict of BUCKET, ACCESS_KEY, SECRET_KEY, and if need be REGION and MAX_FILE_SIZE
    (bytes). OPTIONS and the settings AWS_* of the S3 backend come first.
    """

    max_file_size = Setting(
        None,
        names=("AWS_S3_MAX_FILE_SIZE",),
        type=int,
        least=1,
        help="Bytes that a file may have which a browser uploads by a signed form. None: what S3 takes, 5 GiB.",
    )

    def __init__(self, **options: Any):
        said = getattr(django_settings, "AWS", None)
        for key, option in _REQUIRED.items():
            is_needed = key == "BUCKET" or (said is not None and not options.get("session_profile"))
            if is_needed and not ((said or {}).get(key) or options.get(option) or self._given(option)):
                raise ImproperlyConfigured(f"{type(self).__name__}: set AWS[{key!r}], or the option {option!r}")
        super().__init__(**options)

    def get_default_settings(self) -> dict[str, Any]:
        """Return the defaults of all options; the dict AWS is asked where no setting of the S3 backend says it."""
        found = super().get_default_settings()
        said = getattr(django_settings, "AWS", None) or {}
        keys = ("ACCESS_KEY", "SECRET_KEY")  # of one account: both from here, or none
        has_keys = any(self._given(_REQUIRED[key]) is not None for key in keys)
        for key, option in {**_REQUIRED, **_OPTIONAL}.items():
            if key in said and not (has_keys if key in keys else self._given(option) is not None):
                found[option] = said[key]
        return found

    def get_signed_url(
        self, key: str, *, content_type: str | None = None, max_size: int | None = None, seconds: int | None = None
    ) -> dict[str, Any]:
        """Return ``url`` and ``fields`` of a form that puts the file ``key`` there, replacing what has that name.

        The policy has the exact key and type, and a length from 1 byte to ``max_size``. Raises NotImplementedError
        where the service takes no forms.
        """
        if "$" in key:  # S3 puts the client's own name for ${filename}
            raise ValueError(f"{key!r} cannot be signed: it has a dollar sign")
        kinds = self.upload_kinds
        if kinds and "post" not in kinds:
            raise NotImplementedError(f"{type(self).__name__}: this service takes no uploads by forms")
        fields = {"Content-Type": content_type or mimetypes.guess_type(key)[0] or OCTETS}
        most = min(max_size or LARGEST, self.max_file_size or LARGEST)
        with self._translating(key):
            signed = self.client.generate_presigned_post(
                self._bucket(),
                self._file_key(key),
                Fields=fields,
                Conditions=[*({name: value} for name, value in fields.items()), ["content-length-range", 1, most]],
                ExpiresIn=seconds or settings.get("UPLOADS_LINK_EXPIRE"),
            )
        return {"url": signed["url"], "fields": signed["fields"]}

    def address_of(self, name: str) -> str:
        """Return the URL of ``name`` without a signature, as a client that has uploaded it puts it together."""
        return addresses.join(self._form_url, self._file_key(name))

    @property
    def address_bases(self) -> list[str]:
        """All that URLs of this storage's objects may start with, in the spellings of S3 too."""
        bucket, region = self._bucket(), self.region_name
        hosts = [f"{bucket}.s3.amazonaws.com", f"s3.amazonaws.com/{bucket}"]
        if region:
            hosts += [f"{bucket}.s3.{region}.amazonaws.com", f"s3.{region}.amazonaws.com/{bucket}"]
            hosts += [f"s3-{region}.amazonaws.com/{bucket}"]
        urls = [self._form_url.rstrip("/"), *([] if self.endpoint_url else [f"https://{host}" for host in hosts])]
        if self.custom_domain:
            urls.append(f"{self.url_protocol}//{self.custom_domain}".rstrip("/"))
        return [addresses.join(url, self._key(_PROBE)).removesuffix(_PROBE) for url in urls]

    @property
    def _form_url(self) -> str:
        return self._derived("form_url", lambda: self.client.generate_presigned_post(self._bucket(), _PROBE)["url"])


S3Storage = S3DirectStorage  # as django-buckets calls it
