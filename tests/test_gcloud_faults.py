"""The faults F-01 to F-20 of the contract on Google Cloud Storage: right bytes or an error, and nothing partial."""

from __future__ import annotations

import gc
import json
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from django.core.files import File
from django.core.files.base import ContentFile
from google.api_core.retry import retry_base, retry_unary
from google.auth.credentials import AnonymousCredentials

from storages import readers
from storages.backends.gcloud import GoogleCloudStorage
from tests.conftest import running
from tests.servers.gcs import FakeGCS
from tests.servers.google import Google, Scripted, Sessions
from tests.servers.process import HOST, free_ports
from tests.servers.proxy import Proxy

MIB = 1024**2
OLD = b"the old version"
LARGE = random.Random(0).randbytes(12 * MIB)  # two chunks; more than sockets buffer
SMALL = LARGE[: 6 * MIB]  # one request
HASTY = {"connect_timeout": 1, "read_timeout": 1, "retry_deadline": 1}

# A stalled test fails here instead of holding up the run; the promise is a minute.
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def server(pytestconfig):
    (port,) = free_ports(1)
    with Proxy(HOST, port) as wire:
        server = FakeGCS(reached_at=wire.url)
        server.port = port
        server.wire = wire
        yield from running(server, pytestconfig)


class Bucket:
    """A new bucket that holds one object; storages reach it over the wire, the test looks at it directly."""

    def __init__(self, server):
        self.wire = server.wire
        self.name = server.make_bucket()
        self.direct = server.client().bucket(self.name)
        self.direct.blob("old.txt").upload_from_string(OLD)

    def storage(self, **options):
        given = {
            "bucket_name": self.name,
            "credentials": AnonymousCredentials(),
            "client_options": {"api_endpoint": self.wire.url},
        }
        return GoogleCloudStorage(**{**given, **HASTY, **options})

    def get(self, key):
        return self.direct.blob(key).download_as_bytes()

    def keys(self):
        return {blob.name for blob in self.direct.client.list_blobs(self.direct)}


@pytest.fixture
def bucket(server):
    bucket = Bucket(server)
    yield bucket
    bucket.wire.heal()
    bucket.direct.client.close()


@pytest.fixture
def storage(bucket):
    return bucket.storage()


def read(storage, name="large.bin"):
    with storage.open(name) as file:
        return file.read()


def read_by_chunks(storage, name="large.bin"):
    with storage.open(name) as file:
        return b"".join(file.chunks())


def read_range(storage, name="large.bin"):
    with storage.open_range(name, 0, len(LARGE)) as body:
        return body.read()


def save(storage, name, content=LARGE):
    return storage.save(name, ContentFile(content))


def write(storage, name, content=LARGE, mode="wb"):
    with storage.open(name, mode) as file:
        for start in range(0, len(content), MIB):
            file.write(content[start : start + MIB])


def assert_works(bucket, storage):
    bucket.wire.heal()
    assert save(storage, "after.txt", b"after") == "after.txt"
    assert storage.exists("after.txt")
    assert read(storage, "after.txt") == b"after"
    storage.delete("after.txt")
    assert not storage.exists("after.txt")


def assert_untouched(bucket):
    assert bucket.keys() == {"old.txt"}
    assert bucket.get("old.txt") == OLD


READS = [
    pytest.param(read, id="read"),
    pytest.param(read_by_chunks, id="chunks"),
    pytest.param(read_range, id="open_range"),
]
WRITES = [pytest.param(save, id="save"), pytest.param(write, id="handle")]
VERBS = [
    pytest.param(lambda storage: storage.exists("old.txt"), id="exists"),
    pytest.param(lambda storage: storage.size("old.txt"), id="size"),
    pytest.param(lambda storage: storage.get_created_time("old.txt"), id="created time"),
    pytest.param(lambda storage: read(storage, "old.txt"), id="read"),
    pytest.param(lambda storage: storage.open_range("old.txt", 4).read(), id="open_range"),
    pytest.param(lambda storage: save(storage, "new.txt", b"new"), id="save"),
    pytest.param(lambda storage: save(storage, "new.bin"), id="save in chunks"),
    pytest.param(lambda storage: write(storage, "new.txt", b"new"), id="handle"),
    pytest.param(lambda storage: write(storage, "new.bin"), id="handle in chunks"),
    pytest.param(lambda storage: write(storage, "old.txt", b"", "r+b"), id="update"),
    pytest.param(lambda storage: storage.delete("old.txt"), id="delete"),
    pytest.param(lambda storage: storage.delete_many(["old.txt", "other.txt"]), id="delete_many"),
    pytest.param(lambda storage: storage.listdir(""), id="listdir"),
    pytest.param(lambda storage: list(storage.walk()), id="walk"),
    pytest.param(lambda storage: storage.copy("old.txt", "new.txt"), id="copy"),
]


# Downloads: F-01 to F-04


@pytest.mark.parametrize("deed", READS)
@pytest.mark.parametrize("after", [100, 100_000, 3 * MIB])
@pytest.mark.parametrize("fault", ["reset", "hang_up"])
def test_download_broken_once_gives_right_bytes_or_an_error(bucket, storage, deed, fault, after):
    bucket.direct.blob("large.bin").upload_from_string(LARGE)
    getattr(bucket.wire, fault)(down=after)
    try:
        assert deed(storage) == LARGE
    except ConnectionError:
        # A range that is read as it comes cannot be taken up again by itself.
        assert deed is read_range
    assert_works(bucket, storage)


@pytest.mark.parametrize("deed", READS)
@pytest.mark.parametrize("fault", ["reset", "hang_up"])
def test_download_broken_every_time_is_an_error(bucket, storage, deed, fault):
    bucket.direct.blob("large.bin").upload_from_string(LARGE)
    getattr(bucket.wire, fault)(down=100_000, times=None)
    with pytest.raises(ConnectionError):
        deed(storage)
    assert_works(bucket, storage)


@pytest.mark.parametrize("deed", READS)
def test_stalled_download_is_an_error(bucket, storage, deed):
    bucket.direct.blob("large.bin").upload_from_string(LARGE)
    bucket.wire.stall(down=100_000)
    with pytest.raises((TimeoutError, ConnectionError)):
        deed(storage)
    assert_works(bucket, storage)


# Uploads: F-05 to F-08. Those in one request, then those in chunks


@pytest.mark.parametrize("deed", WRITES)
@pytest.mark.parametrize("fault", ["reset", "hang_up"])
def test_upload_broken_once_is_tried_again(bucket, deed, fault):
    storage = bucket.storage(retry_deadline=20)
    getattr(bucket.wire, fault)(up=MIB)
    deed(storage, "old.txt", SMALL)
    assert bucket.get("old.txt") == SMALL
    assert_works(bucket, storage)


@pytest.mark.parametrize("deed", WRITES)
@pytest.mark.parametrize("name", ["new.bin", "old.txt"])
@pytest.mark.parametrize("fault", ["reset", "hang_up", "stall"])
def test_failed_upload_leaves_what_was_there(bucket, storage, deed, name, fault):
    getattr(bucket.wire, fault)(up=MIB, times=None)
    with pytest.raises((TimeoutError, ConnectionError)):
        deed(storage, name, SMALL)
    assert_untouched(bucket)
    assert_works(bucket, storage)


@pytest.fixture
def sessions():
    """A service of resumable uploads, and its wire."""
    with Scripted(Sessions()) as server, Proxy(HOST, int(server.url.rpartition(":")[2])) as wire:
        yield SimpleNamespace(uploads=server.script, wire=wire)


def long_storage(sessions, **options):
    return Bucket.storage(SimpleNamespace(name="bkt", wire=sessions.wire), blob_chunk_size=4 * MIB, **options)


@pytest.mark.parametrize("deed", WRITES)
@pytest.mark.parametrize("after", [100, MIB, 5 * MIB, 9 * MIB])
@pytest.mark.parametrize("fault", ["reset", "hang_up"])
def test_long_upload_broken_once_goes_on_where_it_was(sessions, deed, fault, after):
    storage = long_storage(sessions, retry_deadline=20)
    getattr(sessions.wire, fault)(up=after)
    deed(storage, "new.bin")
    assert sessions.uploads.complete
    assert sessions.uploads.stored == LARGE


@pytest.mark.parametrize("deed", WRITES)
@pytest.mark.parametrize("fault", ["reset", "hang_up", "stall"])
def test_long_upload_broken_every_time_shows_nothing(sessions, deed, fault):
    storage = long_storage(sessions)
    getattr(sessions.wire, fault)(up=MIB, times=None)
    with pytest.raises((TimeoutError, ConnectionError)):
        deed(storage, "new.bin")
    assert not sessions.uploads.complete


# Silence and refusal: F-09, F-10


@pytest.mark.parametrize("deed", VERBS)
@pytest.mark.parametrize("fault", ["mute", "reset_at_accept", "refuse"])
def test_server_that_is_not_there_is_an_error(bucket, deed, fault):
    storage = bucket.storage(retry_deadline=0, read_timeout=0.3)
    getattr(bucket.wire, fault)()
    with pytest.raises((TimeoutError, ConnectionError)):
        deed(storage)
    bucket.wire.heal()
    assert_untouched(bucket)
    assert_works(bucket, storage)


def test_silence_where_tokens_are_given_is_an_error(bucket):
    with Google() as google, Proxy(HOST, int(google.url.rpartition(":")[2])) as accounts:
        accounts.mute()
        storage = bucket.storage(credentials=google.key(token_uri=f"{accounts.url}/token"), retry_deadline=0)
        with pytest.raises((TimeoutError, ConnectionError)):
            storage.exists("old.txt")
        accounts.heal()
        assert_works(bucket, storage)


# Too busy: F-11 to F-13


@pytest.fixture
def naps(monkeypatch):
    """The seconds that would have gone by between two tries; they do not."""
    naps: list[float] = []
    monkeypatch.setattr(retry_unary, "time", SimpleNamespace(sleep=naps.append, monotonic=time.monotonic))
    return naps


@pytest.mark.parametrize("deed", VERBS)
def test_three_times_too_busy_is_survived(bucket, naps, deed):
    storage = bucket.storage(retry_deadline=30)
    bucket.wire.slow_down(times=3)
    deed(storage)
    assert len(naps) == 3
    assert_works(bucket, storage)


@pytest.mark.parametrize("deed", VERBS)
def test_always_too_busy_is_an_error(bucket, deed):
    storage = bucket.storage(retry_deadline=0)
    bucket.wire.slow_down(times=None)
    with pytest.raises(Exception, match="503") as caught:
        deed(storage)
    assert not isinstance(caught.value, FileNotFoundError)
    bucket.wire.heal()
    assert_untouched(bucket)
    assert_works(bucket, storage)


# F-14 is assert_works() above. F-15


@pytest.mark.parametrize("deed", VERBS)
def test_idle_connection_that_was_dropped_is_replaced(bucket, deed):
    storage = bucket.storage(retry_deadline=20)
    read(storage, "old.txt")
    assert bucket.wire.drop_idle() > 0
    deed(storage)
    assert_works(bucket, storage)


# F-16, F-17: handles, and the old version


@pytest.mark.parametrize("size", [3, 4 * MIB, 12 * MIB])
def test_failing_server_makes_the_handle_raise(bucket, storage, size):
    file = storage.open("old.txt", "wb")
    bucket.wire.refuse()
    with pytest.raises(ConnectionError):
        write_and_close(file, LARGE[:size])
    assert file.closed
    bucket.wire.heal()
    assert_untouched(bucket)
    assert_works(bucket, storage)


def write_and_close(file, content):
    try:
        file.write(content)
    finally:
        file.close()


@pytest.mark.parametrize("mode", ["wb", "xb", "ab", "r+b", "w+b", "w"])
@pytest.mark.parametrize("size", [10, 20 * MIB])
def test_exception_inside_with_publishes_nothing(bucket, storage, mode, size):
    name = "new.bin" if mode[0] == "x" else "old.txt"
    with pytest.raises(RuntimeError), storage.open(name, mode) as file:
        file.write("x" * size if mode == "w" else bytes(size))
        raise RuntimeError
    assert_untouched(bucket)


def test_source_that_fails_half_way_leaves_nothing(bucket, storage):
    class Failing(File):
        def chunks(self, chunk_size=None):
            yield LARGE
            raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        storage.save("old.txt", Failing(None, "failing"))
    assert_untouched(bucket)


# F-18


def test_faults_leak_no_descriptors(bucket):
    def descriptors():
        gc.collect()
        return len(list(Path("/dev/fd").iterdir()))

    storage = bucket.storage(retry_deadline=0)
    assert_works(bucket, storage)
    before = descriptors()
    for _ in range(20):
        bucket.wire.reset(up=100_000, times=None)
        with pytest.raises(ConnectionError):
            save(storage, "new.bin", LARGE[:MIB])
        bucket.wire.heal()
        assert storage.exists("old.txt")
    deadline = time.monotonic() + 10  # the proxy closes its side in its own time
    while descriptors() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert descriptors() <= before


# F-19, F-20: killed writers


KILLED = """
import json, sys, time
from django.conf import settings
settings.configure()
from django.core.files import File
from google.auth.credentials import AnonymousCredentials
from storages import readers
from storages.backends.gcloud import GoogleCloudStorage

class Unending(File):
    def chunks(self, chunk_size=None):
        yield bytes(20 * 1024**2)
        print("written", flush=True)
        time.sleep(600)

storage = GoogleCloudStorage(credentials=AnonymousCredentials(), **json.loads(sys.argv[1]))
storage.save(sys.argv[2], Unending(None, "unending"))
"""


@pytest.mark.parametrize("name", ["new.bin", "old.txt"])
def test_killed_writer_shows_nothing(bucket, name):
    options = {"bucket_name": bucket.name, "client_options": {"api_endpoint": bucket.wire.url}}
    arguments = [sys.executable, "-c", KILLED, json.dumps(options), name]
    with bucket.wire.counting() as seen, subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "written\n"
        finally:
            process.send_signal(signal.SIGKILL)
    assert seen.methods == ["POST", "PUT"]  # it was in the middle of its chunks
    assert_untouched(bucket)


# Default options end within a minute. Time is counted here, not spent.


class Clock(threading.local):
    """A ``time`` of one thread, which passes when somebody waits."""

    now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.mark.parametrize("deed", VERBS)
@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (requests.ReadTimeout("silent"), 30),
        (requests.ConnectTimeout("silent"), 5),
        (requests.ConnectionError("refused"), 0),
        (requests.ConnectionError("reset while sending"), 5),
    ],
    ids=["silent", "unreachable", "refused", "reset"],
)
def test_dead_server_is_an_error_within_a_minute(monkeypatch, deed, error, seconds):
    clock = Clock()

    def send(self, *arguments, **options):
        clock.sleep(seconds)
        raise error

    for module in (retry_base, retry_unary):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(readers, "time", clock)
    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    storage = GoogleCloudStorage(bucket_name="bkt", credentials=AnonymousCredentials())
    with pytest.raises((TimeoutError, ConnectionError)):
        deed(storage)
    assert 0 < clock.now < 60
