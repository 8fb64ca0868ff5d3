"""The faults F-01 to F-20 of the contract, as cases that each backend is held against behind a proxy."""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import requests
from django.core.files import File
from django.core.files.base import ContentFile

from storages.backends import connections
from storages.testing import impossible
from tests.servers.process import HOST
from tests.servers.proxy import Proxy

MIB = 1024**2
OLD = b"the old version"
BROKEN = (ConnectionError, TimeoutError)  # what becomes of a deed on a broken network
LARGE = random.Random(0).randbytes(12 * MIB)  # two parts or more; more than sockets buffer

FAULTS = {
    "F-01": "reset once in mid-download: right bytes or an error",
    "F-02": "clean close once in mid-download: right bytes or an error",
    "F-03": "truncated body every time: an error, never short data",
    "F-04": "server stalls in mid-download: an error within the limit",
    "F-05": "reset once in mid-upload: recovers or raises; nothing partial visible",
    "F-06": "reset in mid-upload every time: raises; nothing partial visible",
    "F-07": "clean close in mid-upload every time: raises; nothing partial visible",
    "F-08": "server stalls in mid-upload: an error within the limit; nothing partial visible",
    "F-09": "server accepts and never answers: an error within the limit",
    "F-10": "connection reset at accept, every time: an error, soon",
    "F-11": "503 three times, then fine: a read recovers",
    "F-12": "503 three times, then fine: a write recovers, object complete",
    "F-13": "503 for ever: an error within the limit, never an absence",
    "F-14": "the same instance works again after a fault",
    "F-15": "idle connection dropped by the server: the next call works",
    "F-16": "write handle: a failing server makes it raise; old version intact",
    "F-17": "failed upload over an existing name: the old bytes stay",
    "F-18": "faults leak no descriptors",
    "F-19": "writer killed in mid-save: nothing visible under the new name",
    "F-20": "writer killed in mid-overwrite: the old bytes stay",
}


def read(storage, name="large.bin"):
    with storage.open(name) as file:
        return file.read()


def read_by_chunks(storage, name="large.bin"):
    with storage.open(name) as file:
        return b"".join(file.chunks())


def read_rest(storage, name="large.bin"):
    with storage.open_range(name, 0) as body:
        return body.read()


def read_range(storage, name="large.bin"):
    with storage.open_range(name, 0, len(LARGE)) as body:
        return body.read()


def save(storage, name, content=LARGE):
    return storage.save(name, ContentFile(content))


def write(storage, name, content=LARGE, mode="wb"):
    with storage.open(name, mode) as file:
        for start in range(0, len(content), MIB):
            file.write(content[start : start + MIB])


def look_for_stale_uploads(storage):
    if not hasattr(storage, "stale_uploads"):
        impossible("the backend lists no unfinished uploads")
    return list(storage.stale_uploads())


READS = [
    pytest.param(read, id="read"),
    pytest.param(read_by_chunks, id="chunks"),
    pytest.param(read_rest, id="open_range"),
    pytest.param(read_range, id="open_range to an end"),
]
WRITES = [pytest.param(save, id="save"), pytest.param(write, id="handle")]
LOOKS = {
    "exists": lambda storage: storage.exists("old.txt"),
    "size": lambda storage: storage.size("old.txt"),
    "modified time": lambda storage: storage.get_modified_time("old.txt"),
    "read": lambda storage: read(storage, "old.txt"),
    "open_range": lambda storage: storage.open_range("old.txt", 4).read(),
    "listdir": lambda storage: storage.listdir(""),
    "walk": lambda storage: list(storage.walk()),
    "stale_uploads": look_for_stale_uploads,
}
CHANGES = {
    "save": lambda storage: save(storage, "new.txt", b"new"),
    "save in parts": lambda storage: save(storage, "new.bin"),
    "handle": lambda storage: write(storage, "new.txt", b"new"),
    "handle in parts": lambda storage: write(storage, "new.bin"),
    "update": lambda storage: write(storage, "old.txt", b"", "r+b"),
    "delete": lambda storage: storage.delete("old.txt"),
    "delete_many": lambda storage: storage.delete_many(["old.txt", "other.txt"]),
    "copy": lambda storage: storage.copy("old.txt", "new.txt"),
}


def fault(*numbers: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.fault(number) for number in numbers]


def params(verbs: dict[str, Any], *numbers: str) -> list[Any]:
    return [pytest.param(verb, id=name, marks=fault(*numbers)) for name, verb in verbs.items()]


VERBS = params({**LOOKS, **CHANGES})
GONE = [
    pytest.param("mute", marks=fault("F-09")),
    pytest.param("reset_at_accept", marks=fault("F-10")),
    pytest.param("refuse", marks=fault("F-10")),
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


class Clock(threading.local):
    """A ``time`` of one thread, which passes when somebody waits."""

    now = 0.0

    def monotonic(self):
        return self.now

    time = monotonic

    def sleep(self, seconds):
        self.now += seconds


class DeadNetwork:
    """A network where no request succeeds; ``fail()`` takes the place of what sends one."""

    def __init__(self, clock: Clock, how: str, errors: dict[str, Callable[[], Exception]]):
        self.clock, self.tries = clock, 0
        self._how, self._error = how, errors[how]

    def fail(self, timeouts: tuple[float, float]) -> None:
        """Let as much time pass as a client with these timeouts waits, to connect and to read; raise its error."""
        connect, read = timeouts
        self.tries += 1
        self.clock.sleep({"silent": read, "unreachable": connect, "refused": 0, "reset": connect}[self._how])
        raise self._error()


@pytest.mark.timeout(60)
class FaultCases:
    """A subclass has fixtures that set ``wire``, says how its server is looked at directly, and what cannot be."""

    backend: ClassVar[str]  # rows of the table at the end of a run
    server: ClassVar[str]
    # A fault's number, a test's name, one of its ids, or "F-12 save": number and id -> why this cannot be.
    cannot: ClassVar[dict[str, str]] = {}

    wire: Proxy
    hasty: ClassVar[dict[str, Any]]  # options by which a storage gives up soon
    once: ClassVar[dict[str, Any]] = {}  # those by which it gives up after its first try
    patient: ClassVar[dict[str, Any]] = {}  # those by which it does not
    overwrites: ClassVar[dict[str, Any]] = {"file_overwrite": True}  # the option that replaces
    uploaded: ClassVar[bytes] = LARGE
    midway: ClassVar[int] = 3 * MIB  # bytes, in the first part of what is uploaded
    # What one break does not disturb; with "headers", nor one before the bytes.
    resumes: ClassVar[tuple[str, ...]] = ("headers", "read", "chunks", "save", "handle")
    cleans_up: ClassVar[bool] = True  # whether a broken upload leaves nothing that is to be removed
    clocks: ClassVar[tuple[str, ...]] = ()  # modules whose ``time`` it is that clients wait by

    def make_storage(self, **options):
        """Return a storage behind the proxies."""
        raise NotImplementedError

    def killed_options(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the options of a storage straight before the server, as JSON takes them."""
        raise NotImplementedError

    def put(self, name: str, content: bytes) -> None:
        """Store an object without the storage."""
        raise NotImplementedError

    def objects(self) -> dict[str, bytes]:
        """Return all that is visible on the server, by its name."""
        raise NotImplementedError

    def leftovers(self) -> list[str]:
        """Return what uploads have left on the server that nobody sees."""
        return []

    def too_busy(self, times: int | None) -> Callable[[], int]:
        """Have the next requests answered with 503; return what tells how many were. None: until heal()."""
        before = len(self.wire.requests)
        self.wire.slow_down(times)
        return lambda: [exchange.status for exchange in self.wire.requests[before:]].count(503)

    @pytest.fixture(autouse=True)
    def _declared(self, request):
        numbers = [mark.args[0] for name in ("fault", "contract") for mark in request.node.iter_markers(name)]
        ids = request.node.callspec.id.split("-") if hasattr(request.node, "callspec") else []
        of_both = [f"{number} {id_}" for number in numbers for id_ in ids]
        for known in (*numbers, request.node.originalname, *ids, *of_both):
            if known in self.cannot:
                impossible(self.cannot[known])

    @pytest.fixture
    def storage(self):
        """A storage that replaces, and that gives up soon."""
        yield from self.made(**self.hasty)

    @pytest.fixture
    def impatient(self):
        yield from self.made(**{**self.hasty, **self.once})

    @pytest.fixture
    def patient_storage(self):
        yield from self.made(**self.patient)

    def made(self, **options):
        self.put("old.txt", OLD)
        storage = self.make_storage(**{**options, **self.overwrites})
        yield storage
        self.heal()
        if hasattr(storage, "close"):
            storage.close()

    @pytest.fixture
    def naps(self, monkeypatch):
        """The seconds that clients would have waited before they try again; they do not wait."""
        naps: list[float] = []
        for module in self.clocks:
            monkeypatch.setattr(f"{module}.time", SimpleNamespace(**{**vars(time), "sleep": naps.append}))
        return naps

    def heal(self):
        self.wire.heal()
        self.flow.heal()

    @property
    def flow(self) -> Proxy:
        """The proxy that the bytes go through."""
        return self.wire

    def assert_works(self, storage):
        self.heal()
        assert save(storage, "after.txt", b"after") == "after.txt"
        assert storage.exists("after.txt")
        assert storage.size("after.txt") == 5
        assert read(storage, "after.txt") == b"after"
        assert self.is_listed(storage, "after.txt")
        storage.delete("after.txt")
        assert not storage.exists("after.txt")

    def is_listed(self, storage, name):
        return name in storage.listdir("")[1]

    def assert_untouched(self):
        assert self.objects() == {"old.txt": OLD}

    # Downloads: F-01 to F-04

    @pytest.mark.parametrize(
        ("after", "times"), [(100, 1), (100_000, 1), (3 * MIB, 1), (300_000, None), (3 * MIB, None)]
    )
    @pytest.mark.parametrize(
        "fault", [pytest.param("reset", marks=fault("F-01")), pytest.param("hang_up", marks=fault("F-02"))]
    )
    @pytest.mark.parametrize("deed", READS)
    def test_broken_download_is_right_or_an_error(self, request, patient_storage, deed, fault, after, times):
        self.put("large.bin", LARGE)
        patient_storage.exists("large.bin")
        getattr(self.flow, fault)(down=after, times=times)
        answer = outcome(deed, patient_storage)
        assert answer == LARGE or isinstance(answer, BROKEN)
        disturbed = {_id_of(request, READS), "headers"} if after == 100 else {_id_of(request, READS)}
        if times == 1 and disturbed <= {*self.resumes}:
            assert answer == LARGE
        self.assert_works(patient_storage)

    @pytest.mark.fault("F-03")
    @pytest.mark.parametrize("fault", ["reset", "hang_up"])
    @pytest.mark.parametrize("deed", READS)
    def test_download_broken_every_time_is_an_error(self, storage, deed, fault):
        self.put("large.bin", LARGE)
        storage.exists("large.bin")
        getattr(self.flow, fault)(down=100_000, times=None)
        with pytest.raises(BROKEN):
            deed(storage)
        self.assert_works(storage)

    @pytest.mark.fault("F-04")
    @pytest.mark.parametrize("deed", READS)
    def test_stalled_download_is_an_error(self, storage, deed):
        self.put("large.bin", LARGE)
        storage.exists("large.bin")
        self.flow.stall(down=100_000)
        with pytest.raises(BROKEN):
            deed(storage)
        self.assert_works(storage)

    @pytest.mark.fault("F-14")
    def test_interrupted_reader_can_be_read_on(self, storage):
        self.put("large.bin", LARGE)
        with storage.open("large.bin") as file:
            head = file.read(1000)
            self.wire.refuse()
            self.flow.refuse()
            file.seek(9 * MIB)
            with pytest.raises(BROKEN):
                file.read(10)
            self.heal()
            assert head + file.read(10) == LARGE[:1000] + LARGE[9 * MIB : 9 * MIB + 10]

    # Uploads: F-05 to F-08, F-17

    @pytest.mark.fault("F-05")
    @pytest.mark.parametrize("fault", ["reset", "hang_up"])
    @pytest.mark.parametrize("deed", WRITES)
    def test_upload_broken_once_is_whole_or_an_error(self, request, patient_storage, deed, fault):
        patient_storage.exists("new.bin")
        getattr(self.flow, fault)(up=self.midway)
        answer = outcome(deed, patient_storage, "new.bin", self.uploaded)
        if isinstance(answer, Exception):
            assert isinstance(answer, BROKEN)
            assert _id_of(request, WRITES) not in self.resumes
            self.assert_untouched()
        else:
            assert self.objects() == {"old.txt": OLD, "new.bin": self.uploaded}
        assert self.leftovers() == [] or not self.cleans_up
        self.assert_works(patient_storage)

    @pytest.mark.parametrize(
        "fault",
        [
            pytest.param("reset", marks=fault("F-06")),
            pytest.param("hang_up", marks=fault("F-07")),
            pytest.param("stall", marks=fault("F-08")),
        ],
    )
    @pytest.mark.parametrize("name", ["new.bin", pytest.param("old.txt", marks=fault("F-17"))])
    @pytest.mark.parametrize("deed", WRITES)
    def test_failed_upload_leaves_what_was_there(self, storage, deed, name, fault):
        storage.exists(name)
        getattr(self.flow, fault)(up=self.midway, times=None)
        with pytest.raises(BROKEN):
            deed(storage, name, self.uploaded)
        self.assert_untouched()
        assert self.leftovers() == [] or not self.cleans_up
        self.assert_works(storage)

    # Silence and refusal: F-09, F-10, F-14

    @pytest.mark.fault("F-14")
    @pytest.mark.parametrize("fault", GONE)
    @pytest.mark.parametrize("deed", VERBS)
    def test_server_that_is_gone_is_an_error(self, impatient, deed, fault):
        impatient.exists("old.txt")  # so that it is the verb that fails, not the login
        getattr(self.wire, fault)()
        with pytest.raises(BROKEN):
            deed(impatient)
        self.heal()
        self.assert_untouched()
        self.assert_works(impatient)

    # Too busy: F-11 to F-13

    @pytest.mark.parametrize("deed", [*params(LOOKS, "F-11"), *params(CHANGES, "F-12")])
    def test_three_times_too_busy_is_survived(self, patient_storage, naps, deed):
        patient_storage.exists("old.txt")
        refused = self.too_busy(3)
        answer = deed(patient_storage)
        assert refused() == 3
        left = self.objects()
        assert deed(patient_storage) == answer  # as without a fault
        assert self.objects() == left

    @pytest.mark.fault("F-13")
    @pytest.mark.parametrize("deed", VERBS)
    def test_always_too_busy_is_an_error(self, storage, naps, deed):
        storage.exists("old.txt")
        self.too_busy(None)
        with pytest.raises(Exception, match=r"SlowDown|Slow Down|503") as caught:
            deed(storage)
        assert not isinstance(caught.value, FileNotFoundError)
        self.heal()
        self.assert_untouched()
        self.assert_works(storage)

    # F-15

    @pytest.mark.fault("F-15")
    @pytest.mark.parametrize("deed", VERBS)
    def test_idle_connection_that_was_dropped_is_replaced(self, patient_storage, deed):
        patient_storage.exists("old.txt")
        before = self.wire.connections
        assert self.wire.drop_idle() >= 1
        deed(patient_storage)
        assert self.wire.connections > before

    # F-16

    @pytest.mark.fault("F-16")
    @pytest.mark.parametrize("size", [3, 4 * MIB, 12 * MIB])
    def test_failing_server_makes_the_handle_raise(self, storage, size):
        file = storage.open("old.txt", "wb")
        file.write(LARGE[:2])
        self.wire.refuse()
        with pytest.raises(BROKEN):
            write_and_close(file, LARGE[:size])
        assert file.closed
        self.heal()
        self.assert_untouched()
        self.assert_works(storage)

    @pytest.mark.contract("C-033")
    @pytest.mark.parametrize("mode", ["wb", "xb", "ab", "r+b", "w+b", "w"])
    @pytest.mark.parametrize("size", [10, 20 * MIB])
    def test_exception_inside_with_publishes_nothing(self, patient_storage, mode, size):
        name = "new.bin" if mode[0] == "x" else "old.txt"
        with pytest.raises(RuntimeError), patient_storage.open(name, mode) as file:
            file.write("x" * size if mode == "w" else bytes(size))
            raise RuntimeError
        self.assert_untouched()
        assert self.leftovers() == []

    @pytest.mark.contract("C-051")
    @pytest.mark.parametrize("size", [10, 20 * MIB])
    def test_dropped_writer_publishes_nothing(self, patient_storage, size, caplog):
        file = patient_storage.open("old.txt", "wb")
        file.write(bytes(size))
        del file
        gc.collect()
        self.assert_untouched()
        assert self.leftovers() == []
        assert [record.message for record in caplog.records if record.name == "storages"] == [
            "A file was dropped without close(); what was written to it is not stored"
        ]

    # F-18

    @pytest.mark.fault("F-18")
    def test_faults_leak_no_descriptors(self, storage):
        def descriptors():
            gc.collect()
            return len(list(Path("/dev/fd").iterdir()))

        self.assert_works(storage)
        before = descriptors()
        for _ in range(20):
            self.flow.reset(up=100_000, times=None)
            with pytest.raises(BROKEN):
                save(storage, "new.bin", LARGE[:MIB])
            self.heal()
            assert storage.exists("old.txt")
        deadline = time.monotonic() + 10  # the proxy closes its side in its own time
        while descriptors() > before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert descriptors() <= before

    # F-19, F-20

    @pytest.mark.parametrize(
        "name", [pytest.param("new.bin", marks=fault("F-19")), pytest.param("old.txt", marks=fault("F-20"))]
    )
    def test_killed_writer_shows_nothing_and_what_it_left_can_be_removed(self, patient_storage, name):
        cls, options = self.killed_options()
        with killed_writer(cls, {**options, **self.overwrites}, name) as process:
            assert process.stdout.readline() == "written\n"
            self.assert_untouched()
        self.assert_untouched()
        if hasattr(patient_storage, "stale_uploads"):
            assert len(self.leftovers()) == 1
            assert len(list(patient_storage.stale_uploads(timedelta(0)))) == 1
            assert patient_storage.abort_stale_uploads() == 0
            assert patient_storage.abort_stale_uploads(timedelta(seconds=-60)) == 1
            assert self.leftovers() == []

    # A source that fails

    @pytest.mark.fault("F-17")
    def test_source_that_fails_half_way_leaves_nothing(self, patient_storage):
        class Failing(File):
            def chunks(self, chunk_size=None):
                yield LARGE
                raise RuntimeError("the disk is gone")

        with pytest.raises(RuntimeError, match="the disk is gone"):
            patient_storage.save("old.txt", Failing(None, "failing"))
        self.assert_untouched()
        assert self.leftovers() == []


class SessionCases(FaultCases):
    """The faults of servers with sessions, whose objects are the files of a directory: FTP and SFTP."""

    files: ClassVar[Path]
    hasty: ClassVar[dict[str, Any]] = {"connect_timeout": 1, "read_timeout": 1}
    patient: ClassVar[dict[str, Any]] = {"connect_timeout": 5, "read_timeout": 5}
    resumes: ClassVar[tuple[str, ...]] = ()
    cleans_up: ClassVar[bool] = False  # without a connection there is no way to
    cannot: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("F-11", "F-12", "F-13"), "the protocol has no 503"),
        "save in parts": "an upload is one stream",
        "handle in parts": "an upload is one stream",
    }

    def put(self, name, content):
        (self.files / name).write_bytes(content)

    def objects(self):
        return {path.name: path.read_bytes() for path in self.files.iterdir() if not self._is_partial(path)}

    def leftovers(self):
        return [path.name for path in self.files.iterdir() if self._is_partial(path)]

    def _is_partial(self, path):
        return path.name.startswith(".storages-")

    @pytest.mark.parametrize("fault", GONE)
    @pytest.mark.parametrize("deed", VERBS)
    def test_server_that_was_never_there_is_an_error(self, storage, deed, fault):
        getattr(self.wire, fault)()
        with pytest.raises(BROKEN):
            deed(storage)
        self.assert_untouched()
        self.assert_works(storage)

    @pytest.mark.fault("F-09")
    def test_default_timeouts_end_every_verb_within_a_minute(self, storage):
        default = {name: setting.default for name, setting in storage.declared_settings().items()}
        waiting_for_others = 2 * connections.PATIENCE
        one_stall = default["connect_timeout"] + default["read_timeout"]
        assert waiting_for_others + one_stall + connections.ABORT_SECONDS <= 60


# SDKs leave broken connections to the collector; that none stays open, test_faults_leak_no_descriptors() counts.
@pytest.mark.filterwarnings("ignore:unclosed <s:ResourceWarning")
class HTTPCases(FaultCases):
    """The faults of servers that are spoken to in requests."""

    most_tries: ClassVar[dict[str, int]] = {}  # of one verb where the network is dead, by how it is

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _collect(cls):
        yield
        gc.collect()  # here, where that is known

    def kill_network(self, monkeypatch, network_of: Callable[[dict], DeadNetwork]) -> DeadNetwork:
        """Make every request fail as ``network_of(errors)`` says; the errors are those of what the client sends by."""
        network = network_of(DEAD_REQUESTS)

        def send(self, request, *arguments, timeout, **options):
            network.fail(timeout)

        monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
        return network

    @pytest.mark.fault("F-09")
    @pytest.mark.parametrize("how", ["silent", "unreachable", "refused", "reset"])
    @pytest.mark.parametrize("deed", VERBS)
    def test_dead_server_is_an_error_within_a_minute(self, monkeypatch, deed, how):
        """By default; time is counted here, not spent."""
        self.put("old.txt", OLD)
        storage = self.make_storage(**self.overwrites)
        storage.parts_at_once = 0
        storage.exists("old.txt")
        clock = Clock()
        with monkeypatch.context() as patched:
            for module in self.clocks:
                patched.setattr(f"{module}.time", clock)
            network = self.kill_network(patched, functools.partial(DeadNetwork, clock, how))
            with pytest.raises(BROKEN):
                deed(storage)
        assert 1 <= network.tries <= self.most_tries.get(how, network.tries)
        assert clock.now <= 60


DEAD_REQUESTS: dict[str, Callable[[], Exception]] = {
    "silent": functools.partial(requests.ReadTimeout, "silent"),
    "unreachable": functools.partial(requests.ConnectTimeout, "silent"),
    "refused": functools.partial(requests.ConnectionError, "refused"),
    "reset": functools.partial(requests.ConnectionError, "reset while sending"),
}


@contextlib.contextmanager
def killed_writer(cls: str, options: dict[str, Any], name: str) -> Iterator[subprocess.Popen[str]]:
    """Have another process save 20 MiB and never an end under ``name``; kill it at the end of the block."""
    arguments = [sys.executable, "-c", KILLED, cls, json.dumps(options), name]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def outcome(deed, storage, *arguments):
    """Return what ``deed`` gave, or raised."""
    try:
        return deed(storage, *arguments)
    except Exception as error:
        return error


def _id_of(request, deeds) -> str:
    """Return the id of the deed that a test does."""
    deed = request.node.callspec.params["deed"]
    return next(one.id for one in deeds if one.values[0] is deed)


def write_and_close(file, content):
    try:
        file.write(content)
    finally:
        file.close()
