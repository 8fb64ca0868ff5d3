"""The faults of the contract, on Google Cloud Storage, and those of its uploads in chunks."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from google.auth.credentials import AnonymousCredentials

from storages.backends.gcloud import GoogleCloudStorage
from tests.conftest import running
from tests.faults import LARGE, MIB, WRITES, HTTPCases, killed_writer
from tests.servers.gcs import FakeGCS
from tests.servers.google import Google, Scripted, Sessions
from tests.servers.process import HOST, free_ports
from tests.servers.proxy import Proxy


class AnonymousStorage(GoogleCloudStorage):
    """A storage that no credentials have to be found for, wherever it is made."""

    def __init__(self, **options):
        super().__init__(**{"credentials": AnonymousCredentials(), **options})


@pytest.fixture(scope="module")
def server(pytestconfig):
    (port,) = free_ports(1)
    with Proxy(HOST, port) as wire:
        server = FakeGCS(reached_at=wire.url)
        server.port = port
        server.wire = wire
        yield from running(server, pytestconfig)


@pytest.fixture
def sessions():
    """A service of resumable uploads, and its wire."""
    with Scripted(Sessions()) as server, Proxy(HOST, int(server.url.rpartition(":")[2])) as wire:
        yield SimpleNamespace(uploads=server.script, wire=wire)


class TestGCSFaults(HTTPCases):
    backend, server = "GCS", "fake-gcs-server"
    hasty = {"connect_timeout": 1, "read_timeout": 1, "retry_deadline": 1}
    once = {"retry_deadline": 0}
    patient = {"retry_deadline": 20}
    uploaded = LARGE[: 6 * MIB]  # one request; fake-gcs-server keeps what it got of several
    midway = MIB
    clocks = ("google.api_core.retry.retry_base", "google.api_core.retry.retry_unary", "storages.readers")

    @pytest.fixture(autouse=True)
    def stand(self, server):
        self.wire, self.bucket_name = server.wire, server.make_bucket()
        self.bucket = server.client().bucket(self.bucket_name)
        yield
        self.wire.heal()
        self.bucket.client.close()

    def options(self, **options):
        return {"bucket_name": self.bucket_name, "client_options": {"api_endpoint": self.wire.url}, **options}

    def make_storage(self, **options):
        return AnonymousStorage(**self.options(**options))

    def killed_options(self):
        return f"{__name__}.AnonymousStorage", self.options()

    def put(self, name, content):
        self.bucket.blob(name).upload_from_string(content)

    def objects(self):
        return {blob.name: blob.download_as_bytes() for blob in self.bucket.client.list_blobs(self.bucket)}

    # Uploads in chunks, which fake-gcs-server knows less well than this server of the tests

    def long_storage(self, sessions, **options):
        endpoint = {"api_endpoint": sessions.wire.url}
        return self.make_storage(blob_chunk_size=4 * MIB, client_options=endpoint, **{**self.hasty, **options})

    @pytest.mark.fault("F-05")
    @pytest.mark.parametrize("deed", WRITES)
    @pytest.mark.parametrize("after", [100, MIB, 5 * MIB, 9 * MIB])
    @pytest.mark.parametrize("fault", ["reset", "hang_up"])
    def test_long_upload_broken_once_goes_on_where_it_was(self, sessions, deed, fault, after):
        storage = self.long_storage(sessions, retry_deadline=20)
        getattr(sessions.wire, fault)(up=after)
        deed(storage, "new.bin")
        assert sessions.uploads.complete
        assert sessions.uploads.stored == LARGE

    @pytest.mark.fault("F-06")
    @pytest.mark.parametrize("deed", WRITES)
    @pytest.mark.parametrize("fault", ["reset", "hang_up", "stall"])
    def test_long_upload_broken_every_time_shows_nothing(self, sessions, deed, fault):
        storage = self.long_storage(sessions)
        getattr(sessions.wire, fault)(up=MIB, times=None)
        with pytest.raises((TimeoutError, ConnectionError)):
            deed(storage, "new.bin")
        assert not sessions.uploads.complete

    @pytest.mark.fault("F-20")
    @pytest.mark.usefixtures("storage")
    def test_writer_is_killed_in_the_middle_of_its_chunks(self):
        with self.wire.counting() as seen, killed_writer(*self.killed_options(), "old.txt") as process:
            assert process.stdout.readline() == "written\n"
        assert seen.methods == ["POST", "PUT"]
        self.assert_untouched()

    # Silence: F-09

    @pytest.mark.fault("F-09")
    def test_silence_where_tokens_are_given_is_an_error(self):
        with Google() as google, Proxy(HOST, int(google.url.rpartition(":")[2])) as accounts:
            accounts.mute()
            key = google.key(token_uri=f"{accounts.url}/token")
            storage = self.make_storage(**{**self.hasty, **self.once}, credentials=key)
            with pytest.raises((TimeoutError, ConnectionError)):
                storage.exists("old.txt")
            accounts.heal()
            self.assert_works(storage)
