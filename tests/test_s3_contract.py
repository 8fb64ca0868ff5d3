"""S3Storage on two real servers, held against the contract: at the root of a bucket, and below a location."""

from __future__ import annotations

import contextlib
import time
from unittest import mock

import pytest

from storages.backends.s3 import S3Storage
from storages.testing import StorageContract
from tests.servers.process import HOST
from tests.servers.proxy import Proxy
from tests.wires import counted


class CorruptingProxy(Proxy):
    """Damage what comes down, at the same length."""

    async def _send(self, link, direction, data):
        await super()._send(link, direction, data.replace(b"INTACT", b"BROKEN") if direction == "down" else data)


@pytest.fixture(scope="class")
def s3(request):
    """Give the class a server, a bucket of its own on it and two proxies before it."""
    cls = request.cls
    cls.service = request.getfixturevalue(cls.fixture)
    cls.bucket_name = cls.service.make_bucket()
    cls.secrets = (cls.service.secret_key,)
    cls.secret_settings = {
        "AWS_S3_ACCESS_KEY_ID": cls.service.access_key,
        "AWS_S3_SECRET_ACCESS_KEY": cls.service.secret_key,
    }
    address = (HOST, cls.service.port)
    with (
        Proxy(*address) as cls.proxy,
        CorruptingProxy(*address) as cls.corrupting,
        contextlib.closing(cls.service.client()) as cls.client,
    ):
        yield


@pytest.mark.usefixtures("s3")
class S3Contract(StorageContract):
    backend = "S3"
    fixture: str  # of the server
    overwrites_by_default = True
    gzip_options = {"gzip": True}
    checksum_options = ({"checksums": "when_supported"}, {"checksums": "when_required"})
    static_backend = "storages.backends.s3.S3StaticStorage"
    manifest_backend = "storages.backends.s3.S3ManifestStaticStorage"

    @pytest.mark.contract("C-058")
    def test_conditional_writes_are_found_to_work(self, storage):
        self.save(storage, "a.txt")
        self.save(storage, "a.txt")
        # The storage finds this out for itself; were it wrong, the cases of C-058 would count as impossible.
        assert storage.capabilities.create_only

    def make_storage(self, **options):
        given = {
            "bucket_name": self.bucket_name,
            "endpoint_url": self.service.endpoint_url,
            "region_name": self.service.region,
            "access_key": self.service.access_key,
            "secret_key": self.service.secret_key,
            "addressing_style": "path",
            "location": self.location,
        }
        return S3Storage(**{**given, **options})

    def make_unreachable(self):
        return self.make_storage(endpoint_url=f"http://{HOST}:1", max_attempts=1)

    def make_forbidden(self):
        return self.make_storage(secret_key="not the secret")

    def make_corrupting(self, **options):
        return self.make_storage(endpoint_url=self.corrupting.url, max_attempts=1, **options)

    def make_with_base(self, base):
        return self.make_storage(custom_domain=base, querystring_auth=False)

    def cache_control_options(self, value):
        return {"object_parameters": lambda key, content: {"CacheControl": value}}

    def precompressed_options(self):
        return {"object_parameters": {"ContentType": "text/css", "ContentEncoding": "gzip"}}

    def disposition_parameters(self, value):
        return {"ResponseContentDisposition": value}

    def upload_ids(self):
        uploads = self.client.list_multipart_uploads(Bucket=self.bucket_name).get("Uploads", [])
        return [upload["UploadId"] for upload in uploads]

    @contextlib.contextmanager
    def count_requests(self, storage):
        with mock.patch.object(storage, "endpoint_url", self.proxy.url):
            with counted(self.proxy) as wire:
                yield wire


class S3BelowLocation(S3Contract):
    location = "site/media"

    def make_outer(self):
        return self.make_storage(location="site")


class SeaweedFSMixin:
    server = "SeaweedFS"
    fixture = "seaweedfs"

    def clean(self):
        super().clean()
        # Its directories outlive what was in them, and are listed; S3 has none.
        prefix = f"{self.location}/" if self.location else ""
        answer = self.client.list_objects_v2(Bucket=self.bucket_name, Prefix=prefix, Delimiter="/")
        if not answer.get("CommonPrefixes"):
            return
        self.client.delete_bucket(Bucket=self.bucket_name)
        # Asked for its collections while it forgets the volumes of one, SeaweedFS's master may lock up for good.
        time.sleep(0.05)
        self.client.create_bucket(Bucket=self.bucket_name)


class CephMixin:
    server = "Ceph RGW"
    fixture = "ceph"
    server_cannot = {"test_damaged_download_is_an_error": "answers a GET without the checksum that came with the PUT"}


class TestSeaweedFS(SeaweedFSMixin, S3Contract):
    pass


class TestSeaweedFSWithLocation(SeaweedFSMixin, S3BelowLocation):
    pass


class TestCeph(CephMixin, S3Contract):
    pass


class TestCephWithLocation(CephMixin, S3BelowLocation):
    pass
