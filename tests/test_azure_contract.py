"""AzureStorage on azurite, held against the contract: at the root of a container, and below a location."""

from __future__ import annotations

import contextlib
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from django.contrib.staticfiles.storage import ManifestFilesMixin

from storages.backends.azure_storage import AzureStorage
from storages.testing import StorageContract, Wire
from storages.testing.cases import contract
from storages.testing.reading import fill
from storages.testing.serving import URL_NAMES
from tests.conftest import running
from tests.servers.azurite import Azurite
from tests.servers.process import HOST
from tests.servers.proxy import Proxy


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
            checksums=True,
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
        wire, connection_string = Wire(), storage.connection_string
        storage.connection_string = self.service.connection_string(f"{self.proxy.url}/{self.service.account}")
        try:
            with self.proxy.counting() as seen:
                yield wire
        finally:
            storage.connection_string = connection_string
            wire.requests.extend(seen.methods)
            wire.headers.extend(exchange.headers for exchange in seen)
            wire.received += seen.downloaded

    # Azure's URLs hold the container, its answers to PUT and DELETE are 201 and 202, and a batch has 256 requests.

    @contract("C-122")
    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "BREW"])
    def test_url_signs_the_declared_methods_only(self, storage, method):
        self.save(storage, "a.txt")
        if method not in storage.capabilities.presign:
            with pytest.raises(ValueError):
                storage.url("a.txt", http_method=method)
            return
        url = storage.url("a.txt", http_method=method)
        headers = {"x-ms-blob-type": "BlockBlob"} if method == "PUT" else {}
        request = urllib.request.Request(url, b"put" if method == "PUT" else None, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status // 100 == 2

    @contract("C-148")
    def test_many_deletes_go_in_batches(self, storage):
        names = [f"many/{number:03}.txt" for number in range(600)]
        fill(storage, [*names, "kept.txt"])
        with self.count_requests(storage) as wire:
            storage.delete_many(names)
        assert wire.requests == ["POST"] * 3
        assert [entry.name for entry in storage.walk()] == ["kept.txt"]

    @pytest.mark.parametrize("name", URL_NAMES.values())
    @contract("C-133")
    def test_custom_domain_quotes_as_the_origin(self, storage, name):
        path = urlsplit(self.make_with_base("cdn.example.com").url(f"dir/{name}")).path
        assert urlsplit(self.url(storage, f"dir/{name}")).path == path
        assert f"/{self.container_name}/{self.location}".rstrip("/") + "/dir/" in path

    @contract("C-136")
    @pytest.mark.parametrize("base", ["cdn.example.com/base", "cdn.example.com/base/"])
    def test_name_is_appended_to_the_base_url(self, base):
        key = f"{self.location}/a.txt" if self.location else "a.txt"
        address = f"{self.service.account}/{self.container_name}/{key}"
        assert self.make_with_base(base).url("a.txt") == f"https://cdn.example.com/base/{address}"


class TestAzurite(AzureContract):
    pass


class TestAzuriteWithLocation(AzureContract):
    location = "site/media"

    def make_outer(self):
        return self.make_storage(location="site")
