"""The faults F-01 to F-20 of the contract: right bytes or an error, nothing partial, and all is well afterwards."""

from __future__ import annotations

import contextlib
import gc
import json
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from botocore.exceptions import ConnectionClosedError, ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError
from django.core.files import File
from django.core.files.base import ContentFile

from storages.backends.s3 import S3Storage
from tests.buckets import WiredBucket

MIB = 1024**2
OLD = b"the old version"
LARGE = random.Random(0).randbytes(12 * MIB)  # two parts; more than sockets buffer
HASTY = {"connect_timeout": 1, "read_timeout": 1, "max_attempts": 2}

# A stalled test fails here instead of holding up the run; the promise is a minute.
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def one_bucket(seaweedfs):
    with WiredBucket(seaweedfs) as bucket:
        yield bucket


@pytest.fixture
def bucket(one_bucket, wire):
    """A bucket that holds one object; the wire is new, and so are the client and its quota of retries."""
    one_bucket.wire = wire
    one_bucket.put("old.txt", OLD)
    yield one_bucket
    wire.heal()
    one_bucket.empty()


@pytest.fixture
def storage(bucket):
    return bucket.storage(**HASTY)


@pytest.fixture
def naps(monkeypatch):
    """The seconds that botocore would have waited before trying again; it does not wait."""
    naps: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=naps.append))
    return naps


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


def outcome(deed, *arguments):
    """Return what ``deed`` raised, else its answer."""
    try:
        return deed(*arguments)
    except Exception as error:
        return error


def assert_works(bucket, storage):
    bucket.wire.heal()
    assert save(storage, "after.txt", b"after") == "after.txt"
    assert storage.exists("after.txt")
    assert storage.size("after.txt") == 5
    assert read(storage, "after.txt") == b"after"
    assert "after.txt" in storage.listdir("")[1]
    storage.delete("after.txt")
    assert not storage.exists("after.txt")


def assert_untouched(bucket, *also):
    assert bucket.objects().keys() == {"old.txt", *also}
    assert bucket.get("old.txt") == OLD
    assert bucket.uploads() == []


READS = [
    pytest.param(read, id="read"),
    pytest.param(read_by_chunks, id="chunks"),
    pytest.param(read_range, id="open_range"),
]
WRITES = [pytest.param(save, id="save"), pytest.param(write, id="handle")]
VERBS = [
    pytest.param(lambda storage: storage.exists("old.txt"), id="exists"),
    pytest.param(lambda storage: storage.size("old.txt"), id="size"),
    pytest.param(lambda storage: storage.get_modified_time("old.txt"), id="modified time"),
    pytest.param(lambda storage: read(storage, "old.txt"), id="read"),
    pytest.param(lambda storage: storage.open_range("old.txt", 4).read(), id="open_range"),
    pytest.param(lambda storage: save(storage, "new.txt", b"new"), id="save"),
    pytest.param(lambda storage: save(storage, "new.bin"), id="save in parts"),
    pytest.param(lambda storage: write(storage, "new.txt", b"new"), id="handle"),
    pytest.param(lambda storage: write(storage, "new.bin"), id="handle in parts"),
    pytest.param(lambda storage: write(storage, "old.txt", b"", "r+b"), id="update"),
    pytest.param(lambda storage: storage.delete("old.txt"), id="delete"),
    pytest.param(lambda storage: storage.delete_many(["old.txt", "other.txt"]), id="delete_many"),
    pytest.param(lambda storage: storage.listdir(""), id="listdir"),
    pytest.param(lambda storage: list(storage.walk()), id="walk"),
    pytest.param(lambda storage: storage.copy("old.txt", "new.txt"), id="copy"),
    pytest.param(lambda storage: list(storage.stale_uploads()), id="stale_uploads"),
]


# Downloads: F-01 to F-04


@pytest.mark.parametrize("after", [100_000, 3 * MIB])
@pytest.mark.parametrize("fault", ["reset", "hang_up"])
@pytest.mark.parametrize("deed", READS[:2])
def test_download_broken_once_is_taken_up_again(bucket, storage, deed, fault, after):
    bucket.put("large.bin", LARGE)
    getattr(bucket.wire, fault)(down=after)
    assert deed(storage) == LARGE


@pytest.mark.parametrize(
    ("fault", "after"), [("reset", 100_000), ("hang_up", 100_000), ("reset", 300_000), ("hang_up", 300_000)]
)
@pytest.mark.parametrize("deed", READS)
def test_download_broken_every_time_is_an_error(bucket, storage, deed, fault, after):
    bucket.put("large.bin", LARGE)
    getattr(bucket.wire, fault)(down=after, times=None)
    with pytest.raises(ConnectionError):
        deed(storage)
    assert_works(bucket, storage)


@pytest.mark.parametrize("deed", READS)
def test_stalled_download_is_an_error(bucket, storage, deed):
    bucket.put("large.bin", LARGE)
    bucket.wire.stall(down=300_000, times=None)
    with pytest.raises(TimeoutError):
        deed(storage)
    assert_works(bucket, storage)


def test_interrupted_reader_can_be_read_on(bucket, storage):
    bucket.put("large.bin", LARGE)
    with storage.open("large.bin") as file:
        head = file.read(1000)
        bucket.wire.refuse()
        file.seek(5 * MIB)
        with pytest.raises(ConnectionError):
            file.read(10)
        bucket.wire.heal()
        assert head + file.read(10) == LARGE[:1000] + LARGE[5 * MIB : 5 * MIB + 10]


# Uploads: F-05 to F-08


@pytest.mark.parametrize("fault", ["reset", "hang_up"])
@pytest.mark.parametrize("deed", WRITES)
def test_upload_broken_once_is_tried_again(bucket, storage, deed, fault):
    getattr(bucket.wire, fault)(up=3 * MIB)
    deed(storage, "new.bin")
    assert bucket.get("new.bin") == LARGE
    assert bucket.uploads() == []


@pytest.mark.parametrize("fault", ["reset", "hang_up", "stall"])
@pytest.mark.parametrize("name", ["new.bin", "old.txt"])
@pytest.mark.parametrize("deed", WRITES)
def test_failed_upload_leaves_what_was_there(bucket, storage, deed, name, fault):
    getattr(bucket.wire, fault)(up=3 * MIB, times=None)
    with pytest.raises(OSError):
        deed(storage, name)
    assert_untouched(bucket)
    assert_works(bucket, storage)


@pytest.mark.parametrize("deed", WRITES)
def test_failed_single_put_leaves_what_was_there(bucket, storage, deed):
    bucket.wire.reset(up=MIB, times=None)
    with pytest.raises(OSError):
        deed(storage, "old.txt", LARGE[: 4 * MIB])
    assert_untouched(bucket)
    assert_works(bucket, storage)


@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"])
@pytest.mark.parametrize("deed", WRITES)
def test_multipart_write_that_fails_at_any_step_is_removed(bucket, storage, deed, operation):
    def fail(**_):
        raise ConnectionClosedError(endpoint_url="http://test")

    storage.client.meta.events.register(f"before-send.s3.{operation}", fail)
    with pytest.raises(ConnectionError):
        deed(storage, "old.txt")
    assert_untouched(bucket)


def test_upload_whose_last_answer_is_lost_is_whole(bucket, storage):
    def lose_answer(**_):
        bucket.wire.reset(down=1)

    storage.client.meta.events.register("before-send.s3.CompleteMultipartUpload", lose_answer)
    outcome(save, storage, "new.bin")
    assert bucket.get("new.bin") == LARGE


# Silence and refusal: F-09, F-10


@pytest.mark.parametrize("fault", ["mute", "reset_at_accept", "refuse"])
@pytest.mark.parametrize("deed", VERBS)
def test_server_that_is_not_there_is_an_error(bucket, deed, fault):
    storage = bucket.storage(**{**HASTY, "max_attempts": 1})
    getattr(bucket.wire, fault)()
    with pytest.raises((ConnectionError, TimeoutError)):
        deed(storage)
    assert_untouched(bucket)
    assert_works(bucket, storage)


# Too busy: F-11 to F-13


@pytest.mark.usefixtures("naps")
@pytest.mark.parametrize("deed", VERBS)
def test_three_times_too_busy_is_survived(bucket, deed):
    storage = bucket.storage()
    bucket.wire.slow_down(3)
    answer = deed(storage)
    statuses = [exchange.status for exchange in bucket.wire.requests]
    left = bucket.objects()
    assert statuses.count(503) == 3
    assert deed(storage) == answer  # as without a fault
    assert bucket.objects() == left


@pytest.mark.parametrize("deed", VERBS)
def test_always_too_busy_is_an_error(bucket, naps, deed):
    storage = bucket.storage()
    bucket.wire.slow_down(None)
    with pytest.raises(storage.client.exceptions.ClientError, match=r"SlowDown|503"):
        deed(storage)
    assert len(naps) >= storage.max_attempts - 1
    assert_untouched(bucket)
    assert_works(bucket, storage)


# F-14 is assert_works() above. F-15


@pytest.mark.parametrize("deed", VERBS)
def test_idle_connection_that_was_dropped_is_replaced(bucket, deed):
    storage = bucket.storage(max_attempts=1)
    storage.exists("old.txt")
    assert bucket.wire.drop_idle() == 1
    deed(storage)
    assert bucket.wire.connections >= 2


# F-16, F-17: handles, and the old version


@pytest.mark.parametrize("size", [3, 4 * MIB, 12 * MIB])
def test_failing_server_makes_the_handle_raise(bucket, storage, size):
    file = storage.open("old.txt", "wb")
    bucket.wire.refuse()
    with pytest.raises(ConnectionError):
        write_and_close(file, LARGE[:size])
    assert file.closed
    bucket.wire.heal()
    assert bucket.get("old.txt") == OLD
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


@pytest.mark.parametrize("size", [10, 20 * MIB])
def test_dropped_writer_publishes_nothing(bucket, storage, size, caplog):
    file = storage.open("old.txt", "wb")
    file.write(bytes(size))
    del file
    gc.collect()
    assert_untouched(bucket)
    assert [record.message for record in caplog.records if record.name == "storages"] == [
        "A file was dropped without close(); what was written to it is not stored"
    ]


# F-18


def test_faults_leak_no_descriptors(bucket, storage):
    def descriptors():
        gc.collect()
        return len(list(Path("/dev/fd").iterdir()))

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
from storages.backends.s3 import S3Storage

class Unending(File):
    def chunks(self, chunk_size=None):
        yield bytes(20 * 1024**2)
        print("written", flush=True)
        time.sleep(600)

S3Storage(**json.loads(sys.argv[1])).save(sys.argv[2], Unending(None, "unending"))
"""


@contextlib.contextmanager
def killed_writer(bucket, name, until):
    """Start another process that saves under ``name``, and kill it when ``until(process)`` returns."""
    arguments = [sys.executable, "-c", KILLED, json.dumps(bucket.options()), name]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            until(process)
        finally:
            process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    yield


@pytest.mark.parametrize("name", ["new.bin", "old.txt"])
def test_killed_writer_shows_nothing_and_its_parts_can_be_removed(bucket, storage, name):
    with killed_writer(bucket, name, until=lambda process: process.stdout.readline()):
        assert bucket.objects().keys() == {"old.txt"}
    assert bucket.get("old.txt") == OLD
    assert [upload.key for upload in storage.stale_uploads(timedelta(0))] == [name]
    assert list(storage.stale_uploads()) == []
    assert storage.abort_stale_uploads() == 0
    assert storage.abort_stale_uploads(timedelta(0)) == 1
    assert_untouched(bucket)


def test_writer_killed_within_a_request_shows_nothing(bucket):
    def part_is_on_its_way(_):
        while not any(exchange.request_body_bytes > MIB for exchange in bucket.wire.requests):
            time.sleep(0.01)

    bucket.wire.stall(up=2 * MIB)
    with killed_writer(bucket, "old.txt", until=part_is_on_its_way):
        bucket.wire.heal()
    assert bucket.objects().keys() == {"old.txt"}
    assert bucket.get("old.txt") == OLD


def test_stale_uploads_are_only_those_below_the_location(bucket):
    for key in ("inside/a.bin", "outside.bin"):
        bucket.client.create_multipart_upload(Bucket=bucket.name, Key=key)
    storage = bucket.storage(location="inside")
    assert storage.abort_stale_uploads(timedelta(0)) == 1
    assert bucket.uploads() == ["outside.bin"]


# A source that fails


def test_source_that_fails_half_way_leaves_nothing(bucket, storage):
    class Failing(File):
        def chunks(self, chunk_size=None):
            yield LARGE
            raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        storage.save("old.txt", Failing(None, "failing"))
    assert_untouched(bucket)


# Default options end within a minute. Time is counted here, not spent.


class Clock(threading.local):
    """A ``time`` of one thread, which passes when somebody waits."""

    now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class DeadNetwork:
    """A transport each of whose tries takes ``seconds`` and ends with ``error``."""

    def __init__(self, monkeypatch, error, seconds):
        self.clock = Clock()
        self.tries = []  # when each began
        self.ends = []
        self._error, self._seconds = error, seconds
        for module in ("storages.backends.s3_clients", "storages.readers", "botocore.endpoint"):
            monkeypatch.setattr(f"{module}.time", self.clock)
        monkeypatch.setattr("botocore.httpsession.URLLib3Session.send", self._send)

    def _send(self, request):
        self.tries.append(self.clock.now)
        self.clock.sleep(self._seconds)
        self.ends.append(self.clock.now)
        raise self._error(endpoint_url=request.url)


@pytest.mark.parametrize(
    ("error", "seconds", "most_tries"),
    [
        pytest.param(ReadTimeoutError, 30, 1, id="silent"),
        pytest.param(ConnectTimeoutError, 5, 6, id="unreachable"),
        pytest.param(ConnectionClosedError, 5, 6, id="stalled upload"),
        pytest.param(EndpointConnectionError, 0, 3, id="refused"),
    ],
)
@pytest.mark.parametrize("deed", VERBS)
def test_dead_server_is_an_error_within_a_minute(monkeypatch, deed, error, seconds, most_tries):
    # A client of its own: the quota of retries of a shared one is soon used up.
    endpoint = f"http://{uuid.uuid4()}.invalid"
    storage = S3Storage(bucket_name="bucket", endpoint_url=endpoint, access_key="a", secret_key="b")
    storage.parts_at_once = 0
    network = DeadNetwork(monkeypatch, error, seconds)
    with pytest.raises((ConnectionError, TimeoutError)):
        deed(storage)
    assert 1 <= len(network.tries) <= most_tries
    assert max(network.ends) <= 60


def test_defaults_are_the_documented_ones():
    config = S3Storage(bucket_name="bucket", endpoint_url="http://dead.invalid").client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (5, 30)
    assert config.retries == {"mode": "standard", "total_max_attempts": 8}
    assert config.tcp_keepalive
