"""RangeReader and its kin over a service whose every answer is scripted."""

from __future__ import annotations

import csv
import gzip
import io
import random
import threading
import zipfile
from collections import deque
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from storages import process, readers
from storages.contract import ObjectChanged, Stat
from storages.readers import (
    FIRST_RANGE,
    LARGEST_WINDOW,
    LONE_WINDOW,
    RETRIES,
    RUN,
    SHORT_RANGE,
    TAIL,
    RangeFile,
    RangeReader,
    Unzipped,
)

KIB = 1024
MIB = 1024**2


class Answer(io.BytesIO):
    """A Body that ends after ``most`` bytes, with ``error`` or as if that were all."""

    def __init__(self, content, stat, most=None, error=None):
        super().__init__(content[:most])
        self.stat = stat
        self._error = error

    def read(self, size=-1):
        data = super().read(size)
        if self._error and (size < 0 or not data):
            raise self._error
        return data


class Service:
    """One object; ``asked`` holds (start, end, etag) of every request, ``faults`` how the next ones fail."""

    def __init__(self, content):
        self.content = content
        self.stat = Stat(len(content), etag="first")
        self.asked = []
        self.answers = []
        self.faults = deque()
        self._lock = threading.Lock()

    def fetch(self, start, end, etag):
        with self._lock:
            self.asked.append((start, end, etag))
            fault = self.faults.popleft() if self.faults else {}
            if isinstance(fault, Exception):
                raise fault
            answer = Answer(self.content[start:end], self.stat, **fault)
            self.answers.append(answer)
            return answer

    @property
    def ranges(self):
        return [(start, end) for start, end, _ in self.asked]


@pytest.fixture
def at_once(monkeypatch):
    """Work for the worker threads is done at once, so that what is asked for has one order."""

    def submit(function, *arguments):
        future = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    monkeypatch.setattr(process, "submit", submit)


@pytest.fixture(scope="module")
def content():
    return random.Random(3).randbytes(24 * MIB)


@pytest.fixture
def service(content):
    return Service(content)


def read_on(reader, size, piece=64 * KIB):
    buffer = bytearray(piece)
    while size > 0:
        size -= reader.readinto(memoryview(buffer)[: min(size, piece)])


# How much is asked for


@pytest.mark.parametrize("size", [0, 1, FIRST_RANGE])
def test_small_object_is_one_request(content, size):
    service = Service(content[:size])
    with RangeReader(service.fetch) as reader:
        assert reader.read() == content[:size]
        reader.seek(0)
        assert reader.read() == content[:size]
        assert reader.stat is service.stat
    assert service.asked == [(0, FIRST_RANGE, None)]


@pytest.mark.usefixtures("at_once")
def test_reading_ahead_begins_after_a_run(service):
    reader = RangeReader(service.fetch)
    read_on(reader, RUN)
    assert service.ranges == [(0, FIRST_RANGE)]
    read_on(reader, 1)
    assert service.ranges == [(0, FIRST_RANGE), (FIRST_RANGE, 2 * FIRST_RANGE)]


@pytest.mark.usefixtures("at_once")
def test_reading_ahead_does_not_outlive_a_seek(service):
    reader = RangeReader(service.fetch)
    read_on(reader, RUN + 1)
    asked = len(service.asked)
    reader.seek(10 * MIB)
    read_on(reader, RUN // 2)
    assert service.ranges[asked:] == [(10 * MIB, 10 * MIB + SHORT_RANGE)]


@pytest.mark.usefixtures("at_once")
def test_seek_to_the_same_place_is_none(service):
    reader = RangeReader(service.fetch)
    for _ in range(0, RUN + 64 * KIB, 64 * KIB):
        reader.seek(reader.tell())
        read_on(reader, 64 * KIB)
    assert len(service.asked) == 2


@pytest.mark.usefixtures("at_once")
def test_windows_double_up_to_the_largest(service):
    reader = RangeReader(service.fetch, depth=1)
    read_on(reader, len(service.content))
    sizes = [end - start for start, end in service.ranges]
    assert sizes[:7] == [FIRST_RANGE, *(FIRST_RANGE * 2**step for step in range(5)), LONE_WINDOW]
    assert max(sizes) == LONE_WINDOW
    assert sum(sizes) == len(service.content)


@pytest.mark.usefixtures("at_once")
def test_depth_grows_while_the_reader_waits_and_no_further_than_told(service, monkeypatch):
    monkeypatch.setattr(readers, "LONG_WAIT", -1)
    reader = RangeReader(service.fetch, depth=3)
    ahead = []
    while reader.tell() < len(service.content):
        read_on(reader, 64 * KIB)
        ahead.append(sum(1 for start, _ in service.ranges if start > reader.tell()))
    assert ahead[0] == 0
    assert ahead == [0] * ahead.index(1) + ahead[ahead.index(1) :]
    assert max(ahead) == 3


@pytest.mark.usefixtures("at_once")
def test_windows_beside_each_other_are_shorter(service, monkeypatch):
    reader = RangeReader(service.fetch)
    read_on(reader, 12 * MIB)
    asked = len(service.asked)
    monkeypatch.setattr(readers, "LONG_WAIT", -1)
    read_on(reader, 12 * MIB)
    sizes = [end - start for start, end in service.ranges]
    assert max(sizes[:asked]) == LONE_WINDOW
    assert max(sizes[asked + 1 :]) == LARGEST_WINDOW
    assert sum(sizes) == len(service.content)


@pytest.mark.usefixtures("at_once")
def test_reader_that_waited_once_gets_more_at_a_time(service, monkeypatch):
    monkeypatch.setattr(readers, "LONG_WAIT", -1)
    reader = RangeReader(service.fetch)
    read_on(reader, FIRST_RANGE)
    assert len(service.asked) == 2
    read_on(reader, FIRST_RANGE)
    assert [end - start for start, end in service.ranges[2:]] == [FIRST_RANGE * 2**step for step in (1, 2, 3)]


@pytest.mark.parametrize(
    ("waits", "more"), [([0.03], True), ([0, 0, 0, 0, 0.09], False), ([0, 0, 0, 0, 0.09, 0.09], True)]
)
def test_one_pause_is_not_the_network(service, monkeypatch, waits, more):
    clock = SimpleNamespace(now=0.0)

    class Coming(Future):
        def result(self):
            clock.now += waits.pop(0)
            return super().result()

    def submit(function, *arguments):
        coming = Coming()
        coming.set_result(function(*arguments))
        return coming

    monkeypatch.setattr(process, "submit", submit)
    monkeypatch.setattr(readers, "time", SimpleNamespace(monotonic=lambda: clock.now))
    reader = RangeReader(service.fetch)
    while waits:
        read_on(reader, 64 * KIB)
    assert (sum(start > reader.tell() for start, _ in service.ranges) > 1) is more


@pytest.mark.usefixtures("at_once")
def test_reader_that_stops_early_has_asked_for_ten_times_what_it_read_at_most(service, monkeypatch):
    monkeypatch.setattr(readers, "LONG_WAIT", -1)
    reader = RangeReader(service.fetch, depth=16)
    while reader.tell() < 2 * MIB:
        read_on(reader, 64 * KIB)
        asked = max(end for _, end in service.ranges)
        assert asked <= max(FIRST_RANGE, 10 * reader.tell())


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("most", [MIB, 8 * MIB])
def test_what_is_read_ahead_is_bounded(service, most):
    reader = RangeReader(service.fetch, depth=10, ahead=most)
    while reader.tell() < len(service.content):
        read_on(reader, 64 * KIB)
        asked = max(end for _, end in service.ranges)
        assert asked - reader.tell() <= most + LONE_WINDOW
        assert sum(len(block) for _, block in reader._blocks) <= 2 * LONE_WINDOW


def test_depth_of_none_starts_no_threads(service, monkeypatch):
    monkeypatch.setattr(process, "submit", None)
    with RangeReader(service.fetch, depth=0) as reader:
        assert b"".join(iter(lambda: reader.read(64 * KIB), b"")) == service.content
        reader.seek(1)
        assert reader.read() == service.content[1:]


@pytest.mark.parametrize("way", ["read", "readinto"])
def test_end_of_an_object_is_fetched_once(service, way):
    size = len(service.content)
    with io.BufferedReader(RangeReader(service.fetch)) as file:
        for back in (22, 400 * KIB, 100):
            file.seek(-back, io.SEEK_END)
            got = file.read() if way == "read" else file.read(back)
            assert got == service.content[-back:]
    assert service.ranges == [(0, FIRST_RANGE), (size - TAIL, size)]


@pytest.mark.parametrize("size", [FIRST_RANGE + 1, TAIL, TAIL + 100 * KIB, MIB])
@pytest.mark.parametrize("place", [0, 1, 100 * KIB, FIRST_RANGE, FIRST_RANGE + 1])
@pytest.mark.parametrize("before", [[], [0], [FIRST_RANGE, 0]], ids=["", "start", "middle"])
def test_all_that_is_left_is_all(content, size, place, before):
    """What is kept may hold the place, but not the end."""
    service = Service(content[:size])
    with RangeReader(service.fetch) as reader:
        for seen in before:
            reader.seek(seen)
            reader.read(KIB)
        reader.seek(place)
        assert reader.read() == content[place:size]
        assert reader.tell() == max(place, size)


def test_all_that_is_left_is_fetched_once(service, content):
    with RangeReader(service.fetch) as reader:
        reader.seek(5 * MIB)
        assert reader.read() == content[5 * MIB :]
        assert reader.tell() == len(content)
        assert reader.read() == b""
    assert sum(end - start for start, end in service.ranges[1:]) == len(content) - 5 * MIB


def test_what_is_kept_is_not_fetched_again(service, content):
    with RangeReader(service.fetch) as reader:
        reader.read(10)
        assert reader.read() == content[10:]
    assert min(start for start, _ in service.ranges[1:]) == FIRST_RANGE


# Answers that break off


@pytest.mark.parametrize("fault", [{"most": 10}, {"most": 10, "error": ConnectionError()}], ids=["short", "broken"])
def test_broken_answer_is_asked_for_again(service, content, fault):
    service.faults += [fault] * RETRIES
    with RangeReader(service.fetch) as reader:
        assert reader.read(100) == content[:100]
    assert service.ranges == [(0, FIRST_RANGE)] * (RETRIES + 1)


@pytest.mark.parametrize("fault", [{"most": 10}, {"most": 10, "error": ConnectionError()}], ids=["short", "broken"])
def test_always_broken_answer_is_an_error(service, fault):
    service.faults += [fault] * (RETRIES + 1)
    with pytest.raises(ConnectionError):
        RangeReader(service.fetch)
    assert len(service.asked) == RETRIES + 1


@pytest.mark.usefixtures("at_once")
def test_long_read_goes_on_where_it_broke_off(service, content):
    with RangeReader(service.fetch, depth=0) as reader:
        service.faults += [{"most": 3 * MIB}, {"most": 10}]
        assert reader.read() == content
    end = FIRST_RANGE + readers.READALL_RANGE
    stood = FIRST_RANGE + 3 * MIB
    assert service.ranges[1:4] == [(FIRST_RANGE, end), (stood, end), (stood + 10, end)]


def test_long_read_that_always_breaks_off_is_an_error(service):
    with RangeReader(service.fetch) as reader:
        service.faults += [{"most": 10}] * 100
        with pytest.raises(ConnectionError, match="broke off after"):
            reader.read()


@pytest.mark.parametrize("way", ["read", "readinto"])
def test_answer_that_took_long_to_break_is_not_asked_for_again(service, monkeypatch, way):
    reader = RangeReader(service.fetch, depth=0)
    clock = iter(range(0, 10_000, readers.RETRY_SECONDS + 1))
    monkeypatch.setattr(readers, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    service.faults.append({"most": 10, "error": TimeoutError()})
    reader.seek(MIB)
    with pytest.raises(TimeoutError):
        reader.read(*([] if way == "read" else [10]))
    assert len(service.asked) == 2


@pytest.mark.usefixtures("at_once")
def test_reading_ahead_that_failed_is_told_where_it_matters_and_can_be_tried_again(service, content):
    reader = RangeReader(service.fetch)
    service.faults += [{"most": 0}] * (RETRIES + 1)
    read_on(reader, FIRST_RANGE)
    with pytest.raises(ConnectionError):
        reader.read(10)
    assert reader.read(10) == content[FIRST_RANGE : FIRST_RANGE + 10]


def test_every_answer_is_closed(service):
    with RangeReader(service.fetch) as reader:
        service.faults += [{"most": 10}, {"error": ConnectionError()}]
        reader.seek(MIB)
        reader.read(10)
        reader.seek(0)
        reader.read()
    assert len(service.answers) > 5
    assert all(answer.closed for answer in service.answers)


# One version of the object


def test_all_ranges_are_of_the_version_that_was_opened(service):
    with RangeReader(service.fetch) as reader:
        reader.seek(MIB)
        read_on(reader, MIB)
        reader.read()
    assert [etag for _, _, etag in service.asked] == [None] + ["first"] * (len(service.asked) - 1)


@pytest.mark.parametrize("size", [10, -1])
def test_changed_object_is_not_asked_for_again(service, size):
    reader = RangeReader(service.fetch, depth=0)
    service.faults.append(ObjectChanged())
    reader.seek(MIB)
    with pytest.raises(ObjectChanged):
        reader.read(size)
    assert len(service.asked) == 2


# As a file


def test_closed_reader_is_closed(service):
    reader = RangeReader(service.fetch)
    reader.close()
    for use in (reader.read, reader.tell, lambda: reader.seek(0), lambda: reader.readinto(bytearray(1))):
        with pytest.raises(ValueError, match="closed"):
            use()
    assert reader.closed


def test_closing_waits_for_nothing(service):
    release = threading.Event()

    def fetch(start, end, etag):
        if start:
            release.wait(30)
        return service.fetch(start, end, etag)

    reader = RangeReader(fetch)
    read_on(reader, RUN + 1)
    reader.close()
    assert service.ranges == [(0, FIRST_RANGE)]
    release.set()


@pytest.mark.parametrize(("offset", "whence"), [(-1, 0), (-1, 1), (-(25 * MIB), 2), (0, 9)])
def test_seek_to_nowhere_is_refused(service, offset, whence):
    with RangeReader(service.fetch) as reader:
        with pytest.raises(ValueError, match=r"seek|whence"):
            reader.seek(offset, whence)
        assert reader.tell() == 0


def test_behind_the_end_there_is_nothing(service):
    with RangeReader(service.fetch) as reader:
        assert reader.seek(10, io.SEEK_END) == len(service.content) + 10
        assert reader.read(1) == reader.read() == b""
        assert reader.tell() == len(service.content) + 10
    assert len(service.asked) == 1


def test_archives_tables_and_compressed_files_read_through_it(content):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("table.csv", "a,b\r\n1,ü\r\n")
        opened.writestr("large.bin", content[: 2 * MIB])
        opened.writestr("table.csv.gz", gzip.compress(b"a,b\r\n1,2\r\n"))
    service = Service(archive.getvalue())
    with zipfile.ZipFile(io.BufferedReader(RangeReader(service.fetch))) as opened:
        with io.TextIOWrapper(opened.open("table.csv"), "utf-8", newline="") as table:
            assert list(csv.reader(table)) == [["a", "b"], ["1", "ü"]]
        assert opened.read("large.bin") == content[: 2 * MIB]
        with gzip.open(opened.open("table.csv.gz"), "rt", newline="") as table:
            assert list(csv.DictReader(table)) == [{"a": "1", "b": "2"}]


# One range, and what is compressed


@pytest.mark.parametrize(
    ("skip", "end", "expected"),
    [(0, None, b"0123456789"), (3, None, b"3456789"), (3, 5, b"34"), (8, 20, b"89"), (3, 3, b""), (20, None, b"")],
)
def test_range_is_cut_out_of_the_whole(skip, end, expected):
    with RangeFile(Answer(b"0123456789", Stat(10)), skip, end) as body:
        assert body.read() == expected
        assert body.stat == Stat(10)


def test_closing_a_range_closes_its_body():
    answer = Answer(b"0123456789", Stat(10))
    RangeFile(answer).close()
    assert answer.closed


def test_unzipped_reader_seeks_and_closes_what_it_reads(content):
    service = Service(gzip.compress(content[:MIB], 1))
    raw = io.BufferedReader(RangeReader(service.fetch))
    with Unzipped(raw) as file:
        assert file.read(10) == content[:10]
        file.seek(MIB - 10)
        assert file.read() == content[MIB - 10 : MIB]
        file.seek(5)
        assert file.read(5) == content[5:10]
    assert raw.closed
