"""The faults of the contract, on B2's native API."""

from __future__ import annotations

import pytest

from storages.backends.b2 import B2Storage
from tests.conftest import running
from tests.faults import HTTPCases
from tests.servers.b2 import B2
from tests.servers.process import HOST
from tests.servers.proxy import Proxy


@pytest.fixture(scope="module")
def b2(pytestconfig):
    yield from running(B2(), pytestconfig)


class TestB2Faults(HTTPCases):
    backend, server = "B2", "fake"
    hasty = {"connect_timeout": 1, "read_timeout": 1, "max_attempts": 2}
    once = {"max_attempts": 1}
    resumes = ("read", "chunks", "save", "handle")
    overwrites = {"allow_file_overwrites": True}
    clocks = ("b2sdk._internal.b2http", "storages.backends.b2", "storages.readers")

    @pytest.fixture(autouse=True)
    def stand(self, b2):
        self.service, self.bucket_name = b2, b2.make_bucket()
        self.bucket_id = b2.buckets[self.bucket_name]["bucketId"]
        with Proxy(HOST, b2.port) as self.wire:
            yield

    def options(self, **options):
        return {
            "realm": self.wire.url,
            "application_key_id": self.service.key.id,
            "application_key": self.service.key.secret,
            "bucket": self.bucket_name,
            "account_info": {"type": "memory"},
            **options,
        }

    def make_storage(self, **options):
        return B2Storage(**self.options(**options))

    def killed_options(self):
        return "storages.backends.b2.B2Storage", self.options()

    def put(self, name, content):
        self.service.put(self.bucket_name, name, content)

    def objects(self):
        return self.service.objects(self.bucket_name)

    def leftovers(self):
        return self.service.unfinished(self.bucket_name)

    def too_busy(self, times):
        before = len(self.wire.requests)
        self.service.refuse("", 503, "service_unavailable", times=times or 10_000)
        return lambda: [exchange.status for exchange in self.wire.requests[before:]].count(503)

    def heal(self):
        super().heal()
        self.service.heal()
