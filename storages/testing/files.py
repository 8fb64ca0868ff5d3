"""Group C of the contract: the file object."""

from __future__ import annotations

import csv
import gc
import io
import os
import warnings
import zipfile

import pytest
from django.core.files import File

from storages.testing.cases import contract
from storages.testing.harness import MIB, content_of, pattern

LINES = b"one\r\ntwo\nthree\r\n\r\nlast"


class FileCases:
    @contract("C-035")
    def test_seek_and_tell_behave_as_io(self, storage):
        self.save(storage, "a.txt", b"0123456789")
        with storage.open("a.txt") as file:
            assert (file.read(3), file.tell()) == (b"012", 3)
            assert (file.seek(7), file.read(2)) == (7, b"78")
            assert (file.seek(-4, os.SEEK_END), file.read()) == (6, b"6789")
            file.seek(1)
            assert (file.seek(2, os.SEEK_CUR), file.read(1), file.tell()) == (3, b"3", 4)

    @contract("C-036")
    def test_seek_before_the_first_read_is_honoured(self, storage):
        self.save(storage, "a.txt", b"0123456789")
        with storage.open("a.txt") as file:
            file.seek(6)
            assert file.read() == b"6789"

    @contract("C-037")
    def test_readlines_continues_after_readline(self, storage):
        self.save(storage, "a.txt", b"one\ntwo\nthree\n")
        with storage.open("a.txt") as file:
            assert file.readline() == b"one\n"
            assert file.readlines() == [b"two\n", b"three\n"]

    @contract("C-038")
    def test_iteration_keeps_line_endings(self, storage):
        self.save(storage, "a.txt", LINES)
        with storage.open("a.txt") as file:
            assert list(file) == [b"one\r\n", b"two\n", b"three\r\n", b"\r\n", b"last"]

    @contract("C-039")
    def test_chunks_start_over(self, storage):
        self.save(storage, "a.bin", pattern(150_000))
        with storage.open("a.bin") as file:
            assert b"".join(file.chunks()) == pattern(150_000)
            assert [len(chunk) for chunk in file.chunks(100_000)] == [100_000, 50_000]

    @contract("C-040")
    def test_size_is_known_before_reading(self, storage):
        self.save(storage, "a.bin", pattern(70_001))
        with storage.open("a.bin") as file:
            assert file.size == 70_001
            assert len(file) == 70_001
            assert file.tell() == 0

    @contract("C-041")
    def test_read_after_close_is_refused(self, storage):
        self.save(storage, "a.txt")
        file = storage.open("a.txt")
        file.read(1)
        file.close()
        with pytest.raises(ValueError):
            file.read()

    @contract("C-042")
    def test_second_close_of_a_writer_commits_nothing(self, storage):
        first = storage.open("a.txt", "wb")
        first.write(b"first")
        first.close()
        with storage.open("a.txt", "wb") as second:
            second.write(b"second")
        first.close()
        assert content_of(storage, "a.txt") == b"second"

    @contract("C-042")
    def test_second_close_of_a_reader_is_harmless(self, storage):
        self.save(storage, "a.txt")
        file = storage.open("a.txt")
        file.close()
        file.close()
        assert file.closed

    @contract("C-043")
    @pytest.mark.parametrize("mode", ["rb", "r", "wb", "w"])
    def test_closed_tells_the_truth(self, storage, mode):
        self.save(storage, "a.txt")
        file = storage.open("a.txt", mode)
        assert not file.closed
        file.close()
        assert file.closed

    @contract("C-044")
    def test_reopened_file_starts_at_the_beginning(self, storage):
        self.save(storage, "a.txt", b"content")
        file = storage.open("a.txt")
        file.read(3)
        file.close()
        assert file.open() is file
        assert file.read() == b"content"
        file.close()

    @contract("C-045")
    def test_two_handles_are_independent(self, storage):
        self.save(storage, "a.txt", b"0123456789")
        with storage.open("a.txt") as one, storage.open("a.txt") as two:
            assert one.read(4) == b"0123"
            assert two.read(2) == b"01"
            assert one.read() == b"456789"
            assert two.read() == b"23456789"

    @contract("C-046")
    def test_read_of_nothing_is_empty(self, storage):
        self.save(storage, "a.txt", b"content")
        with storage.open("a.txt") as file:
            assert file.read(0) == b""
            assert file.read() == b"content"
            assert file.read() == b""
            assert file.read(1) == b""

    @contract("C-047")
    @pytest.mark.parametrize("mode", ["rb", "wb"])
    def test_handle_is_a_django_file_with_the_storage_name(self, storage, mode):
        self.save(storage, "dir/a.txt")
        with storage.open("dir/a.txt", mode) as file:
            assert isinstance(file, File)
            assert file.name == "dir/a.txt"

    @contract("C-048")
    def test_csv_reads_through_a_text_wrapper(self, storage):
        self.save(storage, "a.csv", 'name,city\r\n"Zoë, the first",Köln\r\n'.encode())
        with storage.open("a.csv") as file:
            rows = list(csv.reader(io.TextIOWrapper(file, encoding="utf-8", newline="")))
        assert rows == [["name", "city"], ["Zoë, the first", "Köln"]]

    @contract("C-048")
    def test_zip_is_written_and_read_through_handles(self, storage):
        with storage.open("a.zip", "wb") as file, zipfile.ZipFile(file, "w") as archive:
            archive.writestr("one.bin", pattern(100_000))
            archive.writestr("two.txt", b"two")
        with storage.open("a.zip") as file, zipfile.ZipFile(file) as archive:
            assert archive.testzip() is None
            assert archive.namelist() == ["one.bin", "two.txt"]
            assert archive.read("one.bin") == pattern(100_000)

    @contract("C-049")
    def test_open_handle_is_saved_whole_under_another_name(self, storage):
        self.save(storage, "a.bin", pattern(100_000))
        with storage.open("a.bin") as file:
            file.read(10)
            storage.save("b.bin", file)
        assert content_of(storage, "b.bin") == pattern(100_000)

    @contract("C-050")
    def test_writer_makes_its_directory(self, storage):
        with storage.open("new/deep/a.txt", "wb") as file:
            file.write(b"content")
        assert content_of(storage, "new/deep/a.txt") == b"content"

    @contract("C-051")
    @pytest.mark.parametrize("size", [1_000, 12 * MIB], ids=["small", "large"])
    def test_dropped_writer_commits_nothing(self, storage, size):
        self.save(storage, "a.bin", b"old")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # a dropped writer may warn; here it is dropped on purpose
            file = storage.open("a.bin", "wb")
            file.write(pattern(size))
            del file
            gc.collect()
        assert content_of(storage, "a.bin") == b"old"
        assert self.upload_ids() == []

    @contract("C-052")
    def test_one_byte_of_a_large_file_costs_one_block(self, storage):
        self.save(storage, "large.bin", pattern(24 * MIB))
        with self.count_requests(storage) as wire:
            with storage.open("large.bin") as file:
                assert file.read(1) == pattern(24 * MIB)[:1]
        assert wire.received <= 8 * MIB
