"""AzureStorage on azurite, held against the contract: at the root of a container, and below a location."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock

import pytest
from django.contrib.staticfiles.storage import ManifestFilesMixin

from storages.backends.azure_storage import AzureStorage
from storages.testing import StorageContract
from tests.conftest import running
from tests.servers.azurite import Azurite
from tests.servers.process import HOST
from tests.servers.proxy import Proxy
from tests.wires import counted


class CorruptingProxy(Proxy):
    """Damage what comes down, at the same length."""

    async def _send(self, link, direction, data):
        await super()._send(link, direction, data.replace(b"INTACT", b"BROKEN") if direction == "down" else data)


class StaticAzureStorage(AzureStorage):
    """Static files: replaced by every collectstatic, and under URLs that stay."""

    def __init__(self, **options):
        super().__init__(**{**options, "expiration_secs": None})


class ManifestAzureStorage(ManifestFilesMixin, StaticAzureStorage):
    pass


@pytest.fixture(scope="session")
def azurite(pytestconfig: pytest.Config) -> Iterator[Azurite]:
    yield from running(Azurite(), pytestconfig)


@pytest.fixture(scope="class")
def container(request, azurite):
    """Give the class a server, a container of its own on it and two proxies before it."""
    cls = request.cls
    cls.service = azurite
    cls.container_name = azurite.make_bucket()
    cls.url_prefix = f"{azurite.account}/{cls.container_name}/"
    cls.secrets = (azurite.account_key,)
    cls.secret_settings = {"AZURE_CONNECTION_STRING": azurite.connection_string()}
    address = (HOST, azurite.port)
    with Proxy(*address) as cls.proxy, CorruptingProxy(*address) as cls.corrupting:
        yield


@pytest.mark.usefixtures("container")
class AzureContract(StorageContract):
    backend = "Azure"
    server = "Azurite"
    overwrite_option = "overwrite_files"
    static_backend = f"{__name__}.StaticAzureStorage"
    manifest_backend = f"{__name__}.ManifestAzureStorage"
    checksum_options = ({"checksums": True}, {"checksums": False})
    checksum_header = "content-md5"
    upload_headers = {"x-ms-blob-type": "BlockBlob"}
    most_deletes = 256

    def make_storage(self, **options):
        given = {
            "connection_string": self.service.connection_string(),
            "azure_container": self.container_name,
            "location": self.location,
            "expiration_secs": 600,
            "azure_ssl": False,
        }
        return AzureStorage(**{**given, **options})

    def over(self, url: str, **options):
        """Return a storage that reaches the account at ``url``."""
        return self.make_storage(connection_string=self.service.connection_string(url), **options)

    def make_unreachable(self):
        return self.over(f"http://{HOST}:1/{self.service.account}", client_options={"retry_total": 0})

    def make_forbidden(self):
        wrong = "bm90IHRoZSBrZXk="
        return self.make_storage(connection_string=self.service.connection_string(account_key=wrong))

    def make_corrupting(self, **options):
        return self.over(
            f"{self.corrupting.url}/{self.service.account}",
            client_options={"retry_total": 0},
            **options,
        )

    def make_with_base(self, base):
        return self.make_storage(custom_domain=base, expiration_secs=None, azure_ssl=True)

    def cache_control_options(self, value):
        return {"object_parameters": lambda key, content: {"cache_control": value}}

    def precompressed_options(self):
        return {"object_parameters": {"content_type": "text/css", "content_encoding": "gzip"}}

    def disposition_parameters(self, value):
        return {"content_disposition": value}

    @contextlib.contextmanager
    def count_requests(self, storage):
        with mock.patch.object(
            storage, "connection_string", self.service.connection_string(f"{self.proxy.url}/{self.service.account}")
        ):
            with counted(self.proxy) as wire:
                yield wire


class TestAzurite(AzureContract):
    pass


class TestAzuriteWithLocation(AzureContract):
    location = "site/media"

    def make_outer(self):
        return self.make_storage(location="site")
