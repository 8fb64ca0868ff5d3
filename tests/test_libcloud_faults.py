"""The faults of the contract, on Libcloud: its S3 driver, on Ceph."""

from __future__ import annotations

import pytest

from storages.backends.apache_libcloud import LibCloudStorage
from tests.buckets import WiredBucket
from tests.faults import HTTPCases
from tests.servers.ceph import CephRGW
from tests.servers.process import HOST
from tests.servers.proxy import Proxy

# Libcloud calls it for each request.
pytestmark = pytest.mark.filterwarnings("ignore:.*utcnow.. is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def one_bucket(ceph):
    with WiredBucket(ceph) as bucket:
        yield bucket


class TestLibCloudFaults(HTTPCases):
    backend, server = "Libcloud", CephRGW.name
    hasty = {"connect_timeout": 1, "read_timeout": 1}
    resumes = ("read", "chunks")
    clocks = ("storages.backends.libcloud_drivers", "storages.readers")

    @pytest.fixture(autouse=True)
    def stand(self, one_bucket):
        self.bucket = one_bucket
        with Proxy(HOST, one_bucket.server.port) as self.wire:
            yield
        one_bucket.empty()

    def options(self, **options):
        return {
            "type": "MINIO",
            "user": self.bucket.server.access_key,
            "key": self.bucket.server.secret_key,
            "bucket": self.bucket.name,
            "host": HOST,
            "port": self.wire.port,
            "secure": False,
            "create_only": True,
            **options,
        }

    def make_storage(self, **options):
        return LibCloudStorage(**self.options(**options))

    def killed_options(self):
        return "storages.backends.apache_libcloud.LibCloudStorage", self.options()

    def put(self, name, content):
        self.bucket.put(name, content)

    def objects(self):
        return {key: self.bucket.get(key) for key in self.bucket.objects()}

    def leftovers(self):
        return self.bucket.uploads()
