"""What holds for any name, any way to read and any way to write: Hypothesis looks for the one where it does not."""

from __future__ import annotations

import io
import itertools
import tempfile
import urllib.request
from pathlib import Path

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files import File
from django.core.files.base import ContentFile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from storages import readers
from storages.backends.memory import MemoryStorage
from storages.streams import Spool
from storages.writers import PartWriter
from tests.buckets import WiredBucket
from tests.servers.process import HOST
from tests.servers.proxy import Proxy

MIB = 1024**2

# Time depends on the machine; a run of the suite is to find the same things each time.
bounded = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
many = settings(bounded, max_examples=300)
few = settings(bounded, max_examples=25)
slow = settings(bounded, max_examples=6)


@pytest.fixture(scope="module")
def bucket(seaweedfs):
    with Proxy(HOST, seaweedfs.port) as wire, WiredBucket(seaweedfs, wire) as bucket:
        yield bucket


@pytest.fixture(scope="module")
def s3(bucket):
    return bucket.storage(create_only=True, file_overwrite=False)


@pytest.fixture
def small_ranges(monkeypatch):
    """Ranges so small that an object of a hundred bytes needs all that a reader can do."""
    sizes = {"FIRST_RANGE": 16, "SHORT_RANGE": 5, "TAIL": 20, "RUN": 8, "LARGEST_WINDOW": 40, "READALL_RANGE": 12}
    for name, size in sizes.items():
        monkeypatch.setattr(readers, name, size)


# Names

numbers = itertools.count()
characters = st.one_of(st.sampled_from("a/ .%+?#&'\"<>~=;:@$!*()[]{}|^`,\\-_é€\U0001f600\u2028\ufffe"), st.characters())
names = st.text(characters, min_size=1, max_size=40)


@few
@given(name=names, content=st.binary(max_size=100))
@example(name="a b+c%20d%2Fe?f#g&h=i.txt", content=b"x")
@example(name="a/./b//c.txt", content=b"x")
@example(name="\ufffe\uffff.txt", content=b"x")
@example(name="e\u0301 is \u00e9", content=b"x")
@example(name="~'()*!.txt", content=b"x")
@example(name=".hidden", content=b"x")
@example(name="trailing. ", content=b"x")
def test_any_name_that_save_returns_is_one_for_every_verb(bucket, s3, name, content):
    # A directory to itself: what one name takes another would have to avoid.
    directory = f"names/{next(numbers)}"
    before = len(bucket.wire.requests)
    try:
        saved = s3.save(f"{directory}/{name}", ContentFile(content))
    except SuspiciousFileOperation:
        assert len(bucket.wire.requests) == before
        return
    assert saved.startswith(f"{directory}/")
    with s3.open(saved) as file:
        assert (file.name, file.read()) == (saved, content)
    assert s3.size(saved) == len(content)
    assert s3.exists(saved)
    assert [entry.name for entry in s3.walk(directory)] == [saved]
    parent, _, last = saved.rpartition("/")
    assert s3.listdir(parent) == ([], [last])
    with urllib.request.urlopen(s3.url(saved), timeout=30) as response:
        assert response.read() == content
    s3.copy(saved, f"copies/{saved}")
    assert bucket.get(f"copies/{saved}") == content
    second = s3.save(saved, ContentFile(b"second"))
    assert second != saved
    s3.delete_many([saved, f"copies/{saved}"])
    assert list(s3.walk("copies")) == []
    assert [entry.name for entry in s3.walk(directory)] == [second]
    s3.delete(second)
    assert list(s3.walk(directory)) == []


# Reading


def reads(size):
    """Return programs of reads in a file of ``size`` bytes: seeks may go behind its end."""
    amount = st.just(-1) | st.integers(0, size + 5)
    return st.lists(
        st.one_of(
            st.tuples(st.just("read"), amount),
            st.tuples(st.just("readline"), amount),
            st.tuples(st.just("readinto"), st.integers(0, size + 5)),
            st.tuples(st.just("seek"), st.integers(0, size + 5), st.sampled_from([0, 1, 2])),
            st.tuples(st.just("tell")),
            st.tuples(st.just("lines")),
        ),
        max_size=25,
    )


def run(file, program, size):
    """Return the answer of ``file`` to each step; a seek is to a place in the file, however it is counted."""
    for step, *arguments in program:
        if step == "seek":
            place, whence = arguments
            start = (0, file.tell(), size)[whence]
            yield file.seek(place - start, whence)
        elif step == "readinto":
            buffer = bytearray(arguments[0])
            yield file.readinto(buffer), bytes(buffer)
        elif step == "lines":
            yield list(itertools.islice(file, 3))
        else:
            yield getattr(file, step)(*arguments)


# Of any length alike: Hypothesis by itself prefers short ones, which need one range.
contents = st.integers(0, 80).flatmap(lambda size: st.binary(min_size=size, max_size=size)) | st.lists(
    st.binary(max_size=30), max_size=8
).map(b"\n".join)
programs = contents.flatmap(lambda content: st.tuples(st.just(content), reads(len(content))))


@pytest.mark.usefixtures("small_ranges")
@many
@given(case=programs, depth=st.integers(0, 3), ahead=st.integers(1, 100), buffer=st.integers(1, 50))
def test_any_reads_answer_as_those_of_bytes_in_memory(case, depth, ahead, buffer):
    content, program = case
    storage = MemoryStorage()
    storage.ranges_at_once, storage.read_ahead = depth, ahead
    storage.save("a", ContentFile(content))
    raw = storage._reader("a")[0].detach()
    with io.BufferedReader(raw, buffer) as file:
        assert list(run(file, program, len(content))) == list(run(io.BytesIO(content), program, len(content)))


@pytest.mark.usefixtures("small_ranges")
@few
@given(case=programs)
def test_any_reads_of_an_object_answer_as_those_of_bytes_in_memory(bucket, s3, case):
    content, program = case
    bucket.put("read.bin", content)
    with s3.open("read.bin") as file:
        assert list(run(file.file, program, len(content))) == list(run(io.BytesIO(content), program, len(content)))


@few
@given(content=contents, bounds=st.tuples(st.integers(0, 250), st.none() | st.integers(0, 250)))
def test_any_range_is_a_slice(bucket, s3, content, bounds):
    start, end = bounds
    end = end if end is None else max(start, end)
    bucket.put("range.bin", content)
    with s3.open_range("range.bin", start, end) as body:
        assert body.read() == content[start:end]
        assert body.stat.size == len(content)


@slow
@given(data=st.data())
def test_any_reads_of_a_large_object_answer_as_those_of_bytes_in_memory(bucket, s3, data):
    content = LARGE
    bucket.put("large.bin", content)
    with s3.open("large.bin") as file:
        program = data.draw(reads(len(content)))
        assert list(run(file.file, program, len(content))) == list(run(io.BytesIO(content), program, len(content)))


LARGE = bytes(range(256)) * (3 * MIB // 256)

# Writing


class Upload:
    """A service that takes parts, in memory."""

    def __init__(self):
        self.content = None
        self.parts = {}

    def put(self, body):
        self.content = body.read()

    def send(self, number, body):
        self.parts[number] = body.read()

    def complete(self):
        self.content = b"".join(self.parts[number] for number in sorted(self.parts))


def cut(content, places):
    """Return ``content`` in pieces, cut at ``places``."""
    edges = [0, *sorted(places), len(content)]
    return [content[start:end] for start, end in itertools.pairwise(edges)]


@many
@given(
    content=st.binary(max_size=300),
    places=st.lists(st.integers(0, 300)),
    size=st.integers(1, 100),
    depth=st.integers(0, 4),
)
def test_any_pieces_of_a_write_are_one_object(content, places, size, depth):
    upload = Upload()
    with PartWriter(upload.put, lambda: upload, part_size=size, depth=depth) as writer:
        for piece in cut(content, places):
            writer.write(piece)
        writer.commit()
    assert upload.content == content


@slow
@given(
    size=st.sampled_from([5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 10 * MIB, 10 * MIB + 1]),
    places=st.lists(st.integers(0, 11 * MIB), max_size=20),
    handle=st.booleans(),
)
def test_any_pieces_of_a_long_write_are_one_object(bucket, size, places, handle):
    storage = bucket.storage(part_size=5 * MIB)
    content = (LARGE * 4)[:size]
    pieces = cut(content, [place for place in places if place < size])
    if handle:
        with storage.open("written.bin", "wb") as file:
            file.writelines(pieces)
    else:
        source = File(None, "source")
        source.chunks = lambda: pieces
        storage.save("written.bin", source)
    assert bucket.get("written.bin") == content
    assert bucket.uploads() == []


# Writing in any order

steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.binary(max_size=30)),
        st.tuples(st.just("read"), st.integers(-1, 30)),
        st.tuples(st.just("readline")),
        st.tuples(st.just("seek"), st.integers(0, 60)),
        st.tuples(st.just("seek"), st.just(0), st.just(2)),
        st.tuples(st.just("tell")),
        st.tuples(st.just("truncate"), st.integers(0, 60)),
        st.tuples(st.just("truncate")),
    ),
    max_size=20,
)
update_modes = st.sampled_from(["r+b", "w+b", "a+b", "ab", "wb"])


def changed(file, program):
    """Return the answer of ``file`` to each step, the class of an error among them."""
    for step, *arguments in program:
        try:
            yield getattr(file, step)(*arguments)
        except io.UnsupportedOperation:
            yield io.UnsupportedOperation


def assert_changes_as_a_file_on_disk(storage, mode, old, program):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "file")
        path.write_bytes(old)
        with path.open(mode, buffering=0) as file:  # with a buffer, tell() after an append is not where the file is
            expected = list(changed(file, program))
        with storage.open("changed.bin", mode) as file:
            assert list(changed(file, program)) == expected
        with storage.open("changed.bin") as file:
            assert file.read() == path.read_bytes()


@many
@given(mode=update_modes, old=st.binary(max_size=50), program=steps, limit=st.integers(0, 60))
def test_any_changes_are_those_of_a_file_on_disk(mode, old, program, limit):
    storage = MemoryStorage(allow_overwrite=True)
    storage.spool_limit = limit
    storage.save("changed.bin", ContentFile(old))
    assert_changes_as_a_file_on_disk(storage, mode, old, program)


@few
@given(mode=update_modes.filter(lambda mode: mode != "wb"), old=st.binary(max_size=50), program=steps)
def test_any_changes_of_an_object_are_those_of_a_file_on_disk(bucket, mode, old, program):
    bucket.put("changed.bin", old)
    assert_changes_as_a_file_on_disk(bucket.storage(), mode, old, program)


@many
@given(program=steps, limit=st.integers(0, 60))
def test_any_use_of_a_spool_is_that_of_bytes_in_memory(program, limit):
    with Spool(limit) as spool, tempfile.TemporaryFile() as file:
        assert list(changed(spool, program)) == list(changed(file, program))
        spool.seek(0)
        file.seek(0)
        assert spool.read() == file.read()
        assert spool.size == file.tell()
