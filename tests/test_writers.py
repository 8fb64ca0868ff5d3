"""PartWriter, SpoolWriter and GzipWriter over an upload that writes down what happens to it."""

from __future__ import annotations

import array
import gc
import gzip
import io
import random
import threading
import time
import zipfile

import pytest
from django.core.files.base import ContentFile, File
from django.core.files.uploadedfile import InMemoryUploadedFile

from storages import writers
from storages.streams import Spool, file_on_disk
from storages.writers import GzipWriter, PartWriter, SpoolWriter, send_file

MIB = 1024**2
TIB = 1024**4
PART = 100  # bytes


class Upload:
    """A service that takes one object, in one put or in parts; ``log`` tells the order of what was done."""

    def __init__(self):
        self.content = None  # what is visible
        self.parts = {}
        self.log = []
        self.fails = {}  # the name of a deed, or a part's number: its error
        self.gate = threading.Event()  # no part arrives before it is set
        self.gate.set()
        self.at_gate = 0
        self.most_at_gate = 0
        self._lock = threading.Lock()

    def _do(self, deed):
        with self._lock:
            self.log.append(deed)
        if deed in self.fails:
            raise self.fails[deed]

    def put(self, body):
        self._do("put")
        self.content = body.read()

    def start(self):
        self._do("start")
        return self

    def send(self, number, body):
        with self._lock:
            self.at_gate += 1
            self.most_at_gate = max(self.most_at_gate, self.at_gate)
        self.gate.wait(30)
        with self._lock:
            self.at_gate -= 1
            self.parts[number] = body.read()
        self._do(number)

    def complete(self):
        self._do("complete")
        self.content = b"".join(self.parts[number] for number in sorted(self.parts))

    def abort(self):
        self._do("abort")
        self.parts.clear()

    def writer(self, **options):
        return PartWriter(self.put, self.start, **{"part_size": PART, **options})


@pytest.fixture
def upload():
    return Upload()


def content_of(size):
    return random.Random(size).randbytes(size)


def eventually(condition):
    """Whether ``condition()`` comes true in a while."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    return condition()


# What is sent


@pytest.mark.parametrize("size", [0, 1, PART])
def test_short_write_is_one_put(upload, size):
    with upload.writer() as writer:
        writer.write(content_of(size))
        assert upload.log == []
        writer.commit()
    assert upload.content == content_of(size)
    assert upload.log == ["put"]


@pytest.mark.parametrize("depth", [0, 1, 4])
@pytest.mark.parametrize("size", [PART + 1, 2 * PART, 7 * PART + 3])
@pytest.mark.parametrize("piece", [1, 33, PART, 250, 1000])
def test_long_write_is_equal_parts_and_a_last_one_that_is_not_empty(upload, size, piece, depth):
    content = content_of(size)
    with upload.writer(depth=depth) as writer:
        for start in range(0, size, piece):
            assert writer.write(content[start : start + piece]) == len(content[start : start + piece])
        assert writer.tell() == size
        assert upload.content is None
        writer.commit()
    assert upload.content == content
    assert upload.log[0] == "start"
    assert upload.log[-1] == "complete"
    sizes = [len(upload.parts[number]) for number in sorted(upload.parts)]
    assert sorted(upload.parts) == list(range(1, len(sizes) + 1))
    assert sizes[:-1] == [PART] * (len(sizes) - 1)
    assert sizes[-1] > 0


def test_what_was_given_may_be_changed_afterwards(upload):
    buffer = bytearray(b"first")
    with upload.writer() as writer:
        writer.write(buffer)
        buffer[:] = b"other"
        writer.commit()
    assert upload.content == b"first"


def test_size_of_a_write_is_in_bytes(upload):
    with upload.writer() as writer:
        assert writer.write(array.array("I", [1, 2])) == 8


def test_part_writer_cannot_seek_so_archives_are_written_in_one_go(upload):
    with upload.writer() as writer:
        assert not writer.seekable()
        with zipfile.ZipFile(writer, "w") as archive:
            archive.writestr("a.bin", content_of(1000))
        writer.commit()
    with zipfile.ZipFile(io.BytesIO(upload.content)) as archive:
        assert archive.read("a.bin") == content_of(1000)


@pytest.mark.parametrize("part_size", [5 * MIB, 8 * MIB, 16 * MIB, 64 * MIB])
def test_ten_thousand_parts_hold_five_tebibytes_and_none_is_above_five_gibibytes(upload, part_size):
    writer = upload.writer(part_size=part_size)
    sizes, total = [], 0
    while total < 5 * TIB:
        writer._parts.count = len(sizes)
        sizes.append(writer._size_of_next())
        total += sizes[-1]
    writer.close()
    assert len(sizes) <= 10_000
    assert max(sizes) <= 5 * 1024 * MIB
    assert set(sizes[:500]) == {part_size}


# Memory


@pytest.mark.parametrize("depth", [1, 3])
def test_parts_on_their_way_are_bounded(upload, depth):
    upload.gate.clear()
    written = []

    def write():
        with upload.writer(depth=depth) as writer:
            for number in range(20):
                writer.write(content_of(PART))
                written.append(number)
            writer.commit()

    thread = threading.Thread(target=write)
    thread.start()
    assert eventually(lambda: upload.at_gate == depth and len(written) == depth + 1)
    thread.join(0.1)
    assert len(written) == depth + 1  # and one that waits: the memory of depth + 2 parts
    upload.gate.set()
    thread.join()
    assert upload.most_at_gate == depth
    assert len(upload.content) == 20 * PART


def test_large_parts_are_fewer_at_a_time(upload, monkeypatch):
    monkeypatch.setattr(writers, "PARTS_OF_ONE_SIZE", 1)
    upload.gate.clear()

    def write():
        with upload.writer(depth=4) as writer:
            writer.write(content_of(10 * PART))
            writer.commit()

    thread = threading.Thread(target=write)
    thread.start()
    assert eventually(lambda: upload.at_gate)
    thread.join(0.1)
    assert upload.most_at_gate == 2
    upload.gate.set()
    thread.join()
    assert [len(upload.parts[number]) for number in sorted(upload.parts)] == [PART, 2 * PART, 4 * PART, 3 * PART]
    assert upload.content == content_of(10 * PART)


# What fails


@pytest.mark.parametrize("depth", [0, 4])
@pytest.mark.parametrize("deed", ["start", 1, 2, 5, "complete"])
def test_failure_at_any_step_is_raised_and_leaves_nothing(upload, deed, depth):
    upload.fails[deed] = ConnectionError("gone")
    with pytest.raises(ConnectionError, match="gone"), upload.writer(depth=depth) as writer:
        writer.write(content_of(5 * PART))
        writer.commit()
    assert upload.content is None
    assert upload.log.count("abort") == (deed != "start")
    assert "put" not in upload.log


def test_failed_put_is_raised_and_is_not_tried_again_by_close(upload):
    upload.fails["put"] = ConnectionError("gone")
    writer = upload.writer()
    writer.write(b"x")
    with pytest.raises(ConnectionError):
        writer.commit()
    writer.close()
    assert upload.log == ["put"]


def test_writer_that_failed_takes_nothing_more(upload):
    upload.fails[1] = ConnectionError("gone")
    writer = upload.writer(depth=0)
    with pytest.raises(ConnectionError):
        writer.write(content_of(3 * PART))
    with pytest.raises(OSError, match="earlier write failed"):
        writer.write(b"x")
    writer.commit()
    writer.close()
    assert upload.content is None
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"x")


@pytest.mark.parametrize("size", [1, 5 * PART])
def test_close_without_commit_is_giving_up(upload, size):
    writer = upload.writer()
    writer.write(content_of(size))
    writer.close()
    assert upload.content is None
    assert upload.parts == {}


def test_interrupt_gives_up(upload):
    upload.fails[1] = KeyboardInterrupt()
    writer = upload.writer(depth=0)
    with pytest.raises(KeyboardInterrupt):
        writer.write(content_of(3 * PART))
    assert upload.log[-1] == "abort"
    writer.close()


def test_abort_comes_after_the_last_part_that_was_on_its_way(upload):
    upload.gate.clear()
    writer = upload.writer(depth=4)
    writer.write(content_of(4 * PART + 1))
    assert eventually(lambda: upload.at_gate == 4)
    threading.Timer(0.05, upload.gate.set).start()
    writer.discard()
    assert sorted(upload.log[1:-1]) == [1, 2, 3, 4]
    assert upload.log[-1] == "abort"
    writer.close()


def test_abort_does_not_hold_up_the_error(upload, monkeypatch):
    monkeypatch.setattr(writers, "ABORT_SECONDS", 0.01)
    upload.gate.clear()
    writer = upload.writer(depth=4)
    writer.write(content_of(4 * PART + 1))
    assert eventually(lambda: upload.at_gate == 4)
    writer.close()
    assert upload.log == ["start"]
    upload.gate.set()
    assert eventually(lambda: "abort" in upload.log)


def test_failed_abort_is_logged_and_hides_nothing(upload, caplog):
    upload.fails.update({1: ConnectionError("the cause"), "abort": OSError("denied")})
    with pytest.raises(ConnectionError, match="the cause"), upload.writer(depth=0) as writer:
        writer.write(content_of(3 * PART))
    (record,) = caplog.records
    assert "lifecycle rule" in record.message
    assert "denied" in record.message


@pytest.mark.parametrize("size", [1, 5 * PART])
def test_dropped_writer_gives_up_and_says_so(upload, size, caplog):
    writer = upload.writer()
    writer.write(content_of(size))
    del writer
    gc.collect()
    assert upload.content is None
    assert upload.parts == {}
    assert ["dropped without close()" in record.message for record in caplog.records] == [True]


# Writing in any order


class Published:
    def __init__(self):
        self.contents = []

    def __call__(self, chunks):
        self.contents.append(b"".join(chunks))


def spooled(content=b"", **options):
    published, spool = Published(), Spool(8)
    spool.write(content)
    spool.seek(0)
    spool.written = False
    return published, SpoolWriter(published, spool, **{"always": False, "append": False, "reads": True, **options})


def test_spooled_write_is_published_whole(upload):
    published, writer = spooled(b"0123456789")
    with writer:
        writer.seek(2)
        assert writer.read(2) == b"23"
        writer.write(b"ab")
        writer.seek(0, io.SEEK_END)
        writer.write(b"!")
        assert (writer.tell(), writer.size, published.contents) == (11, 11, [])
        writer.commit()
        writer.commit()
    assert published.contents == [b"0123ab6789!"]


def test_append_writes_at_the_end_wherever_it_stands():
    published, writer = spooled(b"01234", append=True)
    with writer:
        writer.seek(0)
        writer.write(b"ab")
        writer.seek(1)
        writer.write(b"c")
        writer.commit()
    assert published.contents == [b"01234abc"]


@pytest.mark.parametrize(("always", "contents"), [(False, []), (True, [b"0123456789"])])
def test_what_was_not_changed_is_published_only_if_it_is_new(always, contents):
    published, writer = spooled(b"0123456789", always=always)
    with writer:
        writer.read()
        writer.commit()
    assert published.contents == contents


def test_truncating_is_a_change():
    published, writer = spooled(b"0123456789")
    with writer:
        assert writer.truncate(4) == 4
        writer.commit()
    assert published.contents == [b"0123"]


def test_spool_that_is_only_written_does_not_read():
    _, writer = spooled(reads=False)
    with writer:
        assert not writer.readable()
        for read in (writer.read, writer.read1, lambda: writer.readinto(bytearray(1))):
            with pytest.raises(io.UnsupportedOperation):
                read()


@pytest.mark.parametrize("content", [b"1", b"0123456789"], ids=["memory", "disk"])
def test_given_up_spool_is_closed_and_publishes_nothing(content):
    published, writer = spooled(content)
    writer.write(b"x")
    writer.close()
    assert published.contents == []
    assert writer._spool.closed


# Compressed


def test_compressed_write_unpacks_to_what_was_written(upload):
    content = content_of(50) * 1000
    with GzipWriter(upload.writer()) as writer:
        for start in range(0, len(content), 777):
            writer.write(content[start : start + 777])
        assert writer.tell() == len(content)
        writer.commit()
    assert gzip.decompress(upload.content) == content


def test_compressed_write_is_the_same_each_time():
    uploads = [Upload(), Upload()]
    for upload in uploads:
        with GzipWriter(upload.writer()) as writer:
            writer.write(b"same")
            writer.commit()
    assert uploads[0].content == uploads[1].content


@pytest.mark.parametrize("size", [10, 100 * PART])
def test_given_up_compressed_write_gives_up_what_it_writes_to(upload, size, caplog):
    with GzipWriter(upload.writer(depth=0)) as writer:
        writer.write(content_of(size))
    assert upload.content is None
    assert upload.parts == {}
    assert caplog.records == []


# Files on disk


def test_file_on_disk_is_sent_from_the_disk(upload, tmp_path):
    path = tmp_path / "large.bin"
    path.write_bytes(content_of(3 * PART + 1))
    with path.open("rb") as file:
        file.seek(PART)
        descriptor, size = file_on_disk(File(file))
        send_file(upload.start, descriptor, size, part_size=PART, depth=2)
        assert file.tell() == PART
    assert upload.content == path.read_bytes()


def test_file_that_becomes_shorter_is_not_published(upload, tmp_path):
    path = tmp_path / "large.bin"
    path.write_bytes(content_of(3 * PART))
    with path.open("r+b") as file:
        descriptor, size = file_on_disk(File(file))
        file.truncate(PART)
        with pytest.raises(OSError, match="shorter"):
            send_file(upload.start, descriptor, size, part_size=PART, depth=2)
    assert upload.log[-1] == "abort"
    assert upload.content is None


@pytest.mark.parametrize(
    "content",
    [
        ContentFile(b"in memory"),
        ContentFile("text"),
        InMemoryUploadedFile(io.BytesIO(b"x"), None, "a.txt", "text/plain", 1, None),
        File(io.BufferedReader(io.BytesIO(b"wrapped"))),
    ],
    ids=lambda content: type(content).__name__,
)
def test_what_is_not_on_disk_is_read_as_it_is(content):
    assert file_on_disk(content) is None


def test_what_differs_from_its_bytes_on_disk_is_read_as_it_is(tmp_path):
    path = tmp_path / "packed.gz"
    path.write_bytes(gzip.compress(b"plain"))
    with gzip.open(path) as unpacking, path.open(encoding="latin-1") as text:
        assert (file_on_disk(File(unpacking)), file_on_disk(File(text))) == (None, None)


def test_buffered_writes_are_on_disk_before_it_is_sent(tmp_path):
    with (tmp_path / "new.bin").open("w+b") as file:
        file.write(b"not flushed")
        assert file_on_disk(File(file))[1] == len(b"not flushed")
