"""DropboxStorage on a fake of Dropbox, held against the contract: at the top of the Dropbox, and below a folder."""

from __future__ import annotations

import contextlib
import ssl
import urllib.error
import urllib.request

import pytest
from django.contrib.staticfiles.storage import ManifestFilesMixin

from storages.backends.dropbox import DropboxStorage
from storages.testing import StorageContract, Wire
from storages.testing.cases import contract
from storages.testing.reading import fill
from tests.servers.dropbox import TOKEN, FakeDropbox
from tests.servers.process import HOST

# The SDK calls it for each request that a refresh token may be needed for.
pytestmark = pytest.mark.filterwarnings("ignore:.*utcnow.. is deprecated:DeprecationWarning")

READS = ("files/get_metadata", "files/list_folder", "files/list_folder/continue", "files/download")


class ManifestDropboxStorage(ManifestFilesMixin, DropboxStorage):
    """What a project writes for hashed static files."""


class Unreachable(DropboxStorage):
    def _make_client(self):
        client = super()._make_client()
        client._session.proxies = {"https": f"http://{HOST}:1"}
        return client


class Corrupted(DropboxStorage):
    def _open_range(self, key, start, end, if_match=None):
        body = super()._open_range(key, start, end, if_match)
        read, body._read = body._read, lambda size: read(size).replace(b"INTACT", b"BROKEN")
        return body


@pytest.fixture(scope="class")
def dropbox(request):
    """Give the class a Dropbox of its own."""
    with pytest.MonkeyPatch.context() as monkeypatch, FakeDropbox() as fake, fake.reached():
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # which would win over ours
            monkeypatch.delenv(name, raising=False)
        request.cls.fake = fake
        yield


@pytest.mark.usefixtures("dropbox")
class DropboxContract(StorageContract):
    backend = "Dropbox"
    server = FakeDropbox.name
    public_urls = True
    secrets = (TOKEN,)
    secret_settings = {"DROPBOX_OAUTH2_TOKEN": TOKEN}
    static_backend = "storages.backends.dropbox.DropboxStorage"
    manifest_backend = f"{__name__}.{ManifestDropboxStorage.__name__}"
    server_cannot = {
        "C-085": "the case of names makes no difference to Dropbox",
        "test_delete_spares_what_lies_below": "Dropbox has no file and folder of one name",
        **dict.fromkeys(("C-131", "C-170"), "Dropbox's links are to be asked for"),
    }

    @contract("C-148")
    def test_many_deletes_go_in_batches(self, storage):
        fill(storage, [f"many/{number:04}.txt" for number in range(1_300)])
        self.save(storage, "many/folder/kept.txt")
        with self.count_requests(storage) as wire:
            storage.delete_many([*(f"many/{number:04}.txt" for number in range(1_300)), "many/folder"])
        assert [entry.name for entry in storage.walk()] == ["many/folder/kept.txt"]
        # Three pages with the revisions, a look at the folder, two batches, and two looks at each.
        assert len(wire.requests) == 10

    def make_storage(self, **options):
        return self.made(DropboxStorage, **options)

    def made(self, cls, **options):
        given = {
            "oauth2_access_token": TOKEN,
            "root_path": f"/{self.location}",
            "ca_certs": str(self.fake.certificate),
        }
        return cls(**{**given, **options})

    def make_unreachable(self):
        return self.made(Unreachable, timeout=7)

    def make_forbidden(self):
        return self.make_storage(oauth2_access_token="not the token")

    def make_corrupting(self, **options):
        return self.made(Corrupted, **options)

    def clean(self):
        self.fake.clear()

    def upload_ids(self):
        return []  # they vanish by themselves, and cannot be removed

    def http(self, url, method="GET", body=None):
        context = ssl.create_default_context(cafile=str(self.fake.certificate))
        request = urllib.request.Request(url, body, method=method)
        with urllib.request.urlopen(request, timeout=30, context=context) as response:
            return response.status, response.headers, response.read()

    @contextlib.contextmanager
    def count_requests(self, storage):
        wire, before, sent = Wire(), len(self.fake.requests), self.fake.sent
        yield wire
        wire.requests.extend("GET" if route in READS else "POST" for route in self.fake.requests[before:])
        wire.received += self.fake.sent - sent


class TestDropbox(DropboxContract):
    pass


class TestDropboxWithLocation(DropboxContract):
    location = "site/media"

    def make_outer(self):
        return self.make_storage(root_path="/site")
