"""StorageFile: modes, the text layer, and what closing it in each way does; over the memory backend."""

from __future__ import annotations

import csv
import gc
import gzip
import io
import zipfile

import pytest
from django.core.files.base import ContentFile

from storages.backends.memory import MemoryStorage
from storages.contract import ObjectChanged
from storages.files import parse_mode

OLD = b"one\r\ntwo\n\xc3\xbc\n"


@pytest.fixture
def storage():
    storage = MemoryStorage()
    storage.save("old.txt", ContentFile(OLD))
    return storage


def stored(storage, name="old.txt"):
    return storage.client[name][0]


# Modes


@pytest.mark.parametrize("letter", "rwxa")
@pytest.mark.parametrize("extra", ["", "b", "t", "+", "+b", "b+", "+t", "t+"])
def test_mode_of_python_is_known(letter, extra):
    assert parse_mode(letter + extra) == (letter + "+" * ("+" in extra), "b" not in extra)


@pytest.mark.parametrize(
    "mode", ["", "b", "+", "t", "rw", "wr", "rr", "ww", "rbt", "r++", "rbb", "U", "rU", "z", "r b", "wa", "br+w", "R"]
)
def test_other_mode_is_refused_and_touches_nothing(storage, mode):
    with pytest.raises(ValueError, match="invalid mode"):
        storage.open("old.txt", mode)
    assert stored(storage) == OLD


@pytest.mark.parametrize(
    ("mode", "readable", "writable"),
    [
        ("rb", True, False),
        ("wb", False, True),
        ("ab", False, True),
        ("r+b", True, True),
        ("w+b", True, True),
        ("a+b", True, True),
        ("r", True, False),
        ("w", False, True),
        ("r+", True, True),
    ],
)
def test_file_says_what_it_can_do(storage, mode, readable, writable):
    with storage.open("old.txt", mode) as file:
        assert (file.readable(), file.writable()) == (readable, writable)
        if not readable:
            with pytest.raises(io.UnsupportedOperation):
                file.read()
        if not writable:
            with pytest.raises(io.UnsupportedOperation):
                file.write("x" if mode == "r" else b"x")
    assert stored(storage) == (b"" if mode[0] == "w" else OLD)


@pytest.mark.parametrize("mode", ["rb", "r", "r+b", "r+"])
def test_missing_file_is_told_by_open(storage, mode):
    with pytest.raises(FileNotFoundError):
        storage.open("missing.txt", mode)


@pytest.mark.parametrize("mode", ["xb", "x", "x+b"])
def test_exclusive_create_refuses_what_is_there(storage, mode):
    with pytest.raises(FileExistsError):
        storage.open("old.txt", mode)
    assert stored(storage) == OLD


def test_exclusive_create_refuses_what_came_in_between(storage):
    file = storage.open("new.txt", "xb")
    file.write(b"mine")
    storage.save("new.txt", ContentFile(b"theirs"))
    with pytest.raises(FileExistsError):
        file.close()
    assert stored(storage, "new.txt") == b"theirs"


@pytest.mark.parametrize("mode", ["r+b", "ab", "a+b"])
def test_change_of_what_has_changed_meanwhile_is_refused(storage, mode):
    file = storage.open("old.txt", mode)
    file.write(b"mine")
    with storage.open("old.txt", "wb") as other:
        other.write(b"theirs")
    with pytest.raises(ObjectChanged):
        file.close()
    assert stored(storage) == b"theirs"


def test_reader_of_what_has_changed_meanwhile_says_so(storage):
    with storage.open("large.bin", "wb") as file:
        file.write(bytes(2 * 1024**2))
    with storage.open("large.bin") as file:
        file.read(10)
        with storage.open("large.bin", "wb") as other:
            other.write(bytes(3 * 1024**2))
        file.seek(1024**2)
        with pytest.raises(ObjectChanged):
            file.read(10)


# Text


@pytest.mark.parametrize("newline", [None, "", "\n", "\r\n"])
@pytest.mark.parametrize("encoding", [None, "utf-8", "utf-16", "latin-1"])
def test_text_is_written_and_read_as_python_does(storage, tmp_path, newline, encoding):
    lines = ["one\n", "two\r\n", "ü\n", "end"]
    path = tmp_path / "text"
    with path.open("w", newline=newline, encoding=encoding or "utf-8") as file:
        file.writelines(lines)
    with storage.open("text", "w", newline=newline, encoding=encoding) as file:
        file.writelines(lines)
    assert stored(storage, "text") == path.read_bytes()
    with (
        path.open(newline=newline, encoding=encoding or "utf-8") as expected,
        storage.open("text", "r", newline=newline, encoding=encoding) as file,
    ):
        assert file.readlines() == expected.readlines()


def test_errors_of_decoding_are_as_asked(storage):
    with storage.open("old.txt", "r", encoding="ascii", errors="replace") as file:
        assert file.read().endswith("��\n")
    with pytest.raises(UnicodeDecodeError), storage.open("old.txt", "r", encoding="ascii") as file:
        file.read()


def test_bytes_to_a_text_file_and_text_to_a_binary_one_keep_their_order(storage):
    with storage.open("mixed", "w") as file:
        file.write("a")
        file.write(b"b")
        file.write("c")
    with storage.open("mixed.bin", "wb") as file:
        file.write("ü")
        file.write(b"b")
    assert stored(storage, "mixed") == b"abc"
    assert stored(storage, "mixed.bin") == "üb".encode()


@pytest.mark.parametrize("mode", ["w", "r+", "a"])
def test_text_that_is_still_held_is_discarded_with_the_rest(storage, mode):
    with pytest.raises(RuntimeError), storage.open("old.txt", mode) as file:
        file.write("x" * 10)
        raise RuntimeError
    assert stored(storage) == OLD
    assert file.closed


def test_text_that_cannot_be_encoded_publishes_nothing(storage):
    with pytest.raises(UnicodeEncodeError), storage.open("old.txt", "w", encoding="ascii") as file:
        file.write("a")
        file.write("ü")
    assert stored(storage) == OLD


def test_failure_of_the_last_flush_is_raised_once(storage, monkeypatch):
    file = storage.open("old.txt", "w")
    file.write("x")
    monkeypatch.setattr(storage, "_put", None)
    with pytest.raises(TypeError):
        file.close()
    file.close()
    assert file.closed
    assert stored(storage) == OLD


# Closing


def test_closing_twice_publishes_once(storage):
    file = storage.open("new.txt", "wb")
    file.write(b"x")
    file.close()
    etag = storage.client["new.txt"][1].etag
    file.close()
    assert storage.client["new.txt"][1].etag == etag


@pytest.mark.parametrize("mode", ["wb", "w", "r+b", "a"])
def test_discard_leaves_the_object_as_it_was(storage, mode):
    file = storage.open("old.txt", mode)
    file.write("x" if file.mode in ("w", "a") else b"x")
    file.discard()
    file.discard()
    assert file.closed
    assert stored(storage) == OLD


@pytest.mark.parametrize("mode", ["wb", "w", "r+b", "a"])
def test_dropped_file_publishes_nothing_and_says_so(storage, mode, caplog):
    file = storage.open("old.txt", mode)
    file.write("x" if mode in ("w", "a") else b"x")
    del file
    gc.collect()
    assert stored(storage) == OLD
    assert ["dropped without close()" in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize("mode", ["rb", "r"])
def test_reading_a_closed_file_is_an_error(storage, mode):
    file = storage.open("old.txt", mode)
    file.close()
    for use in (file.read, file.readline, lambda: file.seek(0), lambda: next(iter(file))):
        with pytest.raises(ValueError, match="closed"):
            use()


@pytest.mark.parametrize("mode", ["wb", "w", "r+b", "a"])
def test_writing_to_a_closed_file_is_an_error(storage, mode):
    file = storage.open("old.txt", mode)
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.write("x" if mode in ("w", "a") else b"x")


def test_closed_file_opens_again(storage):
    file = storage.open("old.txt")
    file.read(5)
    assert file.open() is file
    assert file.read(3) == b"one"
    file.close()
    with file.open("ab") as again:
        assert again is file
        again.write(b"!")
    assert stored(storage) == OLD + b"!"


# Size


def test_size_of_a_writer_is_what_was_written(storage):
    with storage.open("new.txt", "w") as file:
        sizes = [file.size, file.write("ü") and file.size, file.write(b"ab") and file.size]
    assert sizes == [0, 2, 4]


def test_size_of_an_update_is_that_of_the_whole(storage):
    with storage.open("old.txt", "r+b") as file:
        file.write(b"x")
        assert file.size == len(OLD)
        file.seek(0, io.SEEK_END)
        file.write(b"x")
        assert file.size == len(OLD) + 1


# With other libraries


def test_archive_is_written_and_read_through_a_file(storage):
    with storage.open("a.zip", "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one.txt", "1" * 1000)
    with storage.open("a.zip", "r+b") as file, zipfile.ZipFile(file, "a") as archive:
        archive.writestr("two.txt", "2")
    with storage.open("a.zip") as file, zipfile.ZipFile(file) as archive:
        assert archive.namelist() == ["one.txt", "two.txt"]
        assert archive.read("one.txt") == b"1" * 1000


def test_table_is_written_and_read_through_a_file(storage):
    rows = [["a", "b\nc"], ["ü", "d"]]
    with storage.open("t.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    with storage.open("t.csv", "r", newline="") as file:
        assert list(csv.reader(file)) == rows


def test_wrappers_of_the_standard_library_take_a_file(storage):
    with storage.open("text.gz", "wb") as file, gzip.open(file, "wt", encoding="utf-8") as text:
        text.write("ü\n" * 3)
    with storage.open("text.gz") as file, io.TextIOWrapper(gzip.open(file), "utf-8") as text:
        assert text.readlines() == ["ü\n"] * 3


@pytest.mark.parametrize("first", ["rb", "r+b"])
@pytest.mark.parametrize("second", ["rb", "r+b"])
def test_two_files_of_one_object_stand_where_they_are(storage, first, second):
    with storage.open("old.txt", first) as one, storage.open("old.txt", second) as two:
        one.read(3)
        assert two.read(3) == b"one"
        assert one.read(2) == b"\r\n"
