"""The faults F-01 to F-20 of the contract that apply to servers with sessions, for FTP and SFTP alike."""

from __future__ import annotations

import gc
import json
import random
import re
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.core.files import File
from django.core.files.base import ContentFile

from storages.backends import connections
from tests.servers.process import HOST
from tests.servers.proxy import Proxy

MIB = 1024**2
OLD = b"the old version"
LARGE = random.Random(0).randbytes(12 * MIB)  # more than sockets buffer
HASTY = {"connect_timeout": 2, "read_timeout": 1}


def read(storage, name="large.bin"):
    with storage.open(name) as file:
        return file.read()


def read_by_chunks(storage, name="large.bin"):
    with storage.open(name) as file:
        return b"".join(file.chunks())


def read_range(storage, name="large.bin"):
    with storage.open_range(name, 0) as body:
        return body.read()


def save(storage, name, content=LARGE):
    return storage.save(name, ContentFile(content))


def write(storage, name, content=LARGE, mode="wb"):
    with storage.open(name, mode) as file:
        for start in range(0, len(content), MIB):
            file.write(content[start : start + MIB])


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
    pytest.param(lambda storage: write(storage, "new.bin"), id="handle"),
    pytest.param(lambda storage: write(storage, "old.txt", b"", "r+b"), id="update"),
    pytest.param(lambda storage: storage.delete("old.txt"), id="delete"),
    pytest.param(lambda storage: storage.listdir(""), id="listdir"),
    pytest.param(lambda storage: list(storage.walk()), id="walk"),
    pytest.param(lambda storage: storage.copy("old.txt", "new.txt"), id="copy"),
    pytest.param(lambda storage: list(storage.stale_uploads()), id="stale_uploads"),
]

KILLED = """
import json, sys, time
from django.conf import settings
settings.configure()
from django.core.files import File
from django.utils.module_loading import import_string

class Unending(File):
    def chunks(self, chunk_size=None):
        yield bytes(20 * 1024**2)
        print("written", flush=True)
        time.sleep(600)

import_string(sys.argv[1])(**json.loads(sys.argv[2])).save(sys.argv[3], Unending(None, "unending"))
"""


class FTPProxy(Proxy):
    """A proxy before an FTP server that leads data connections, one at a time, through another proxy."""

    def __init__(self, port: int, data: Proxy):
        super().__init__(HOST, port, http=False)
        self._data = data

    async def _send(self, link: Any, direction: Any, data: bytes) -> None:
        if direction == "down":
            data = re.sub(rb"227 [^(]*\((?:\d+,){4}(\d+),(\d+)\)", self._divert, data)
        await super()._send(link, direction, data)

    def _divert(self, found: re.Match[bytes]) -> bytes:
        self._data._target = (HOST, int(found[1]) * 256 + int(found[2]))
        return b"227 Passive (127,0,0,1,%d,%d)" % divmod(self._data.port, 256)


@pytest.mark.timeout(60)
class FaultCases:
    """A subclass has fixtures that set ``files``, ``wire`` (the session's proxy) and ``flow`` (that of the bytes)."""

    files: ClassVar[Path]
    wire: Proxy
    flow: Proxy
    overwrites: ClassVar[dict[str, bool]]  # the option that replaces

    def make_storage(self, **options):
        """Return a storage behind the proxies."""
        raise NotImplementedError

    def killed_options(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the options of a storage straight before the server, as JSON takes them."""
        raise NotImplementedError

    @pytest.fixture
    def storage(self):
        (self.files / "old.txt").write_bytes(OLD)
        storage = self.make_storage(**HASTY, **self.overwrites)
        yield storage
        storage.close()

    def heal(self):
        self.wire.heal()
        self.flow.heal()

    def assert_works(self, storage):
        self.heal()
        assert save(storage, "after.txt", b"after") == "after.txt"
        assert storage.exists("after.txt")
        assert read(storage, "after.txt") == b"after"
        assert "after.txt" in storage.listdir("")[1]
        storage.delete("after.txt")
        assert not storage.exists("after.txt")

    def assert_untouched(self, *also):
        found = {path.name for path in self.files.iterdir() if not path.name.startswith(".storages-")}
        assert found == {"old.txt", *also}
        assert (self.files / "old.txt").read_bytes() == OLD

    # Downloads: F-01 to F-04

    @pytest.mark.parametrize("times", [1, None])
    @pytest.mark.parametrize("fault", ["reset", "hang_up"])
    @pytest.mark.parametrize("deed", READS)
    def test_broken_download_is_right_or_an_error(self, storage, deed, fault, times):
        (self.files / "large.bin").write_bytes(LARGE)
        storage.exists("large.bin")
        getattr(self.flow, fault)(down=3 * MIB, times=times)
        answer = _answer(deed, storage)
        assert answer == LARGE or isinstance(answer, ConnectionError)
        self.assert_works(storage)

    @pytest.mark.parametrize("fault", ["reset", "hang_up"])
    @pytest.mark.parametrize("deed", READS)
    def test_download_broken_every_time_is_an_error(self, storage, deed, fault):
        (self.files / "large.bin").write_bytes(LARGE)
        storage.exists("large.bin")
        getattr(self.flow, fault)(down=100_000, times=None)
        with pytest.raises(ConnectionError):
            deed(storage)
        self.assert_works(storage)

    @pytest.mark.parametrize("deed", READS)
    def test_stalled_download_is_an_error(self, storage, deed):
        (self.files / "large.bin").write_bytes(LARGE)
        storage.exists("large.bin")
        self.flow.stall(down=100_000)
        with pytest.raises((TimeoutError, ConnectionError)):
            deed(storage)
        self.assert_works(storage)

    # Uploads: F-05 to F-08, F-17

    @pytest.mark.parametrize("fault", ["reset", "hang_up", "stall"])
    @pytest.mark.parametrize("name", ["new.bin", "old.txt"])
    @pytest.mark.parametrize("deed", WRITES)
    def test_failed_upload_leaves_what_was_there(self, storage, deed, name, fault):
        storage.exists(name)
        getattr(self.flow, fault)(up=3 * MIB, times=None)
        with pytest.raises((TimeoutError, ConnectionError)):
            deed(storage, name)
        self.assert_untouched()
        self.assert_works(storage)

    # Silence and refusal: F-09, F-10

    @pytest.mark.parametrize("fault", ["mute", "reset_at_accept", "refuse"])
    @pytest.mark.parametrize("deed", VERBS)
    def test_server_that_is_not_there_is_an_error(self, storage, deed, fault):
        getattr(self.wire, fault)()
        with pytest.raises((ConnectionError, TimeoutError)):
            deed(storage)
        self.assert_untouched()
        self.assert_works(storage)

    @pytest.mark.parametrize("deed", VERBS)
    def test_server_that_falls_silent_is_an_error(self, storage, deed):
        storage.exists("old.txt")
        self.wire.mute()
        with pytest.raises((ConnectionError, TimeoutError)):
            deed(storage)
        self.assert_untouched()
        self.assert_works(storage)

    def test_default_timeouts_end_every_verb_within_a_minute(self, storage):
        default = {name: setting.default for name, setting in storage.declared_settings().items()}
        waiting_for_others = 2 * connections.PATIENCE
        one_stall = default["connect_timeout"] + default["read_timeout"]
        assert waiting_for_others + one_stall + connections.ABORT_SECONDS <= 60

    # F-15

    @pytest.mark.parametrize("deed", VERBS)
    def test_idle_connection_that_was_dropped_is_replaced(self, storage, deed):
        storage.exists("old.txt")
        assert self.wire.drop_idle() == 1
        deed(storage)

    # F-16

    @pytest.mark.parametrize("size", [3, 12 * MIB])
    def test_failing_server_makes_the_handle_raise(self, storage, size):
        file = storage.open("old.txt", "wb")
        file.write(LARGE[:2])
        self.wire.refuse()
        with pytest.raises(ConnectionError):
            _write_and_close(file, LARGE[:size])
        assert file.closed
        self.assert_untouched()
        self.assert_works(storage)

    # F-18

    def test_faults_leak_no_descriptors(self, storage):
        def descriptors():
            gc.collect()
            return len(list(Path("/dev/fd").iterdir()))

        self.assert_works(storage)
        before = descriptors()
        for _ in range(10):
            self.flow.reset(up=100_000, times=None)
            with pytest.raises(ConnectionError):
                save(storage, "new.bin", LARGE[:MIB])
            self.heal()
            assert storage.exists("old.txt")
        deadline = time.monotonic() + 10  # the proxy closes its side in its own time
        while descriptors() > before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert descriptors() <= before

    # F-19, F-20

    @pytest.mark.parametrize("name", ["new.bin", "old.txt"])
    def test_killed_writer_shows_nothing_and_what_it_left_can_be_removed(self, storage, name):
        cls, options = self.killed_options()
        arguments = [sys.executable, "-c", KILLED, cls, json.dumps({**options, **self.overwrites}), name]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "written\n"
            assert storage.listdir("") == ([], ["old.txt"])
            process.send_signal(signal.SIGKILL)
        self.assert_untouched()
        assert len(list(storage.stale_uploads(timedelta(0)))) == 1
        assert storage.abort_stale_uploads(timedelta(days=1)) == 0
        assert storage.abort_stale_uploads(timedelta(seconds=-60)) == 1
        assert [path.name for path in self.files.iterdir()] == ["old.txt"]

    # A source that fails

    def test_source_that_fails_half_way_leaves_nothing(self, storage):
        class Failing(File):
            def chunks(self, chunk_size=None):
                yield LARGE
                raise RuntimeError("the disk is gone")

        with pytest.raises(RuntimeError, match="the disk is gone"):
            storage.save("old.txt", Failing(None, "failing"))
        self.assert_untouched()
        assert [path.name for path in self.files.iterdir()] == ["old.txt"]


def _answer(deed, storage):
    """Return what ``deed`` gave, or raised."""
    try:
        return deed(storage)
    except Exception as error:
        return error


def _write_and_close(file, content):
    try:
        file.write(content)
    finally:
        file.close()
