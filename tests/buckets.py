"""A bucket of a test's own: storages reach it over a wire that counts and breaks, the test looks at it directly."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from storages.backends.s3 import S3Storage
from tests.servers.process import Server
from tests.servers.proxy import Proxy

if TYPE_CHECKING:
    from typing_extensions import Self


class WiredBucket:
    """A new bucket on ``server``; ``storage()`` goes over ``wire``, everything else does not."""

    def __init__(self, server: Server, wire: Proxy | None = None):
        self.server = server
        self.wire: Any = wire
        self.name = server.make_bucket()
        self.client = server.client()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.client.close()

    def options(self, **options: Any) -> dict[str, Any]:
        """Return the options of a storage on this bucket, changed by ``options``."""
        return {
            "bucket_name": self.name,
            "endpoint_url": self.wire.url if self.wire else self.server.endpoint_url,
            "region_name": self.server.region,
            "access_key": self.server.access_key,
            "secret_key": self.server.secret_key,
            "addressing_style": "path",
            **options,
        }

    def storage(self, **options: Any) -> S3Storage:
        return S3Storage(**self.options(**options))

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=content)

    def get(self, key: str) -> bytes:
        with contextlib.closing(self.client.get_object(Bucket=self.name, Key=key)["Body"]) as body:
            return body.read()

    def objects(self) -> dict[str, str]:
        """Return the etag of every object by its key: equal before and after means that nothing was touched."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return {item["Key"]: item["ETag"] for page in pages for item in page.get("Contents", ())}

    def uploads(self) -> list[str]:
        """Return the keys of the multipart uploads that nobody has completed or removed."""
        return [upload["Key"] for upload in self._uploads()]

    def empty(self) -> None:
        for key in self.objects():
            self.client.delete_object(Bucket=self.name, Key=key)
        for upload in self._uploads():
            self.client.abort_multipart_upload(Bucket=self.name, Key=upload["Key"], UploadId=upload["UploadId"])

    def _uploads(self) -> list[dict[str, Any]]:
        return self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])
