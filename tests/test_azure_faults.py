"""The faults of the contract, on Azure."""

from __future__ import annotations

import pytest

from storages.backends.azure_storage import AzureStorage
from tests.conftest import running
from tests.faults import MIB, HTTPCases
from tests.servers.azurite import Azurite
from tests.servers.process import HOST
from tests.servers.proxy import Proxy

QUICK = {"connection_timeout": 1, "read_timeout": 1, "increment_base": 0.1, "random_jitter_range": 0}


@pytest.fixture(scope="module")
def azurite(pytestconfig):
    yield from running(Azurite(), pytestconfig)


class TestAzureFaults(HTTPCases):
    backend, server = "Azure", "Azurite"
    hasty = {"client_options": {**QUICK, "retry_total": 1}}
    once = {"client_options": {**QUICK, "retry_total": 0}}
    resumes = ("read", "chunks", "save", "handle")
    overwrites = {"overwrite_files": True}
    midway = MIB
    clocks = ("azure.core.pipeline.transport._base", "storages.backends.azure_storage", "storages.readers")

    @pytest.fixture(autouse=True)
    def stand(self, azurite):
        self.azurite, self.container_name = azurite, azurite.make_bucket()
        with Proxy(HOST, azurite.port) as self.wire, azurite.client() as client:
            self.container = client.get_container_client(self.container_name)
            yield

    def options(self, **options):
        connection_string = self.azurite.connection_string(f"{self.wire.url}/{self.azurite.account}")
        given = {"connection_string": connection_string, "azure_container": self.container_name, "azure_ssl": False}
        return {**given, **options}

    def make_storage(self, **options):
        return AzureStorage(**self.options(**options))

    def killed_options(self):
        return "storages.backends.azure_storage.AzureStorage", self.options()

    def put(self, name, content):
        self.container.upload_blob(name, content, overwrite=True)

    def objects(self):
        names = [found.name for found in self.container.list_blobs()]
        return {name: self.container.download_blob(name).readall() for name in names}
