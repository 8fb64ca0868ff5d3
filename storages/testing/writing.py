"""Groups A (write and read back) and B (modes) of the contract."""

from __future__ import annotations

import gc
import hashlib
import io
from pathlib import Path

import pytest
from django.core.files import File
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import InMemoryUploadedFile, TemporaryUploadedFile

from storages.testing.cases import contract
from storages.testing.harness import MIB, content_of, impossible, pattern
from storages.testing.sources import BrokenPipe, OnlyChunks, Pipe, SourceError

DESCRIPTORS = Path("/dev/fd")
EVERY_BYTE = bytes(range(256)) * 4 + b"\r\n\n\r\x00\x1a" * 100
# About S3's least part and boto3's threshold.
SIZES = [size + step for size in (5 * MIB, 8 * MIB) for step in (-1, 0, 1)]
UNKNOWN_MODES = ["", "q", "rw", "wa", "rbt", "b", "r+w", "rr"]


class WriteCases:
    @contract("C-001")
    def test_saved_bytes_are_read_back_under_the_returned_name(self, storage):
        name = storage.save("letters/a.txt", ContentFile(b"hello"))
        assert name == "letters/a.txt"
        assert content_of(storage, name) == b"hello"

    @contract("C-002")
    def test_saved_text_is_stored_as_utf8(self, storage):
        storage.save("a.txt", ContentFile("naïve café €"))
        assert content_of(storage, "a.txt") == "naïve café €".encode()

    @contract("C-003")
    def test_empty_file_exists(self, storage):
        storage.save("empty.txt", ContentFile(b""))
        assert storage.exists("empty.txt")
        assert storage.size("empty.txt") == 0
        assert content_of(storage, "empty.txt") == b""

    @contract("C-004")
    def test_every_byte_value_survives(self, storage):
        storage.save("bytes.txt", ContentFile(EVERY_BYTE))
        assert content_of(storage, "bytes.txt") == EVERY_BYTE

    @contract("C-005")
    def test_large_file_is_exact(self, storage):
        content = pattern(17 * MIB + 1)
        storage.save("large.bin", ContentFile(content))
        assert storage.size("large.bin") == 17 * MIB + 1
        assert hashlib.sha256(content_of(storage, "large.bin")).digest() == hashlib.sha256(content).digest()

    @contract("C-006")
    @pytest.mark.parametrize("size", SIZES)
    def test_file_at_a_part_boundary_is_exact(self, storage, size):
        content = pattern(size)
        storage.save("boundary.bin", ContentFile(content))
        assert storage.size("boundary.bin") == size
        assert content_of(storage, "boundary.bin") == content

    @contract("C-007")
    def test_disk_file_is_stored_whole(self, storage, tmp_path):
        source = tmp_path / "source.bin"
        source.write_bytes(pattern(200_000))
        with source.open("rb") as file:
            storage.save("copy.bin", File(file))
        assert content_of(storage, "copy.bin") == pattern(200_000)

    @contract("C-008")
    def test_upload_in_memory_is_stored_with_its_type(self, storage):
        upload = InMemoryUploadedFile(io.BytesIO(b"<p>"), "file", "page.bin", "text/x-own", 3, None)
        storage.save("page.bin", upload)
        with storage.open("page.bin") as file:
            assert file.read() == b"<p>"
            assert not storage.capabilities.content_type or file.stat.content_type == "text/x-own"

    @contract("C-009")
    def test_upload_on_disk_is_stored_whole_and_stays_with_its_owner(self, storage):
        with TemporaryUploadedFile("photo.bin", "application/x-own", 100_000, None) as upload:
            upload.write(pattern(100_000))
            storage.save("photo.bin", upload)
            assert content_of(storage, "photo.bin") == pattern(100_000)
            assert Path(upload.temporary_file_path()).stat().st_size == 100_000

    @contract("C-010")
    def test_source_read_half_way_is_stored_whole(self, storage):
        source = ContentFile(pattern(100_000))
        source.read(50_000)
        storage.save("whole.bin", source)
        assert content_of(storage, "whole.bin") == pattern(100_000)

    @contract("C-011")
    def test_source_that_cannot_seek_is_stored_whole(self, storage):
        storage.save("pipe.bin", File(Pipe(pattern(12 * MIB))))
        assert content_of(storage, "pipe.bin") == pattern(12 * MIB)

    @contract("C-012")
    @pytest.mark.parametrize("size", [10, 9 * MIB])
    def test_source_stays_open(self, storage, size):
        source = io.BytesIO(pattern(size))
        storage.save("a.bin", File(source))
        source.seek(0)
        assert source.read() == pattern(size)

    @contract("C-013")
    def test_closed_source_stores_nothing(self, storage):
        source = io.BytesIO(b"content")
        source.close()
        with pytest.raises(ValueError):
            storage.save("a.txt", File(source))
        assert not storage.exists("a.txt")

    @contract("C-014")
    def test_source_that_breaks_leaves_nothing(self, storage):
        with pytest.raises(SourceError):
            storage.save("broken.bin", File(BrokenPipe(pattern(6 * MIB))))
        assert not storage.exists("broken.bin")
        assert storage.listdir("") == ([], [])
        assert self.upload_ids() == []

    @contract("C-014")
    def test_source_that_breaks_leaves_the_old_object(self, overwriting):
        overwriting.save("broken.bin", ContentFile(b"old"))
        with pytest.raises(SourceError):
            overwriting.save("broken.bin", File(BrokenPipe(pattern(6 * MIB))))
        assert content_of(overwriting, "broken.bin") == b"old"
        assert self.upload_ids() == []

    @contract("C-015")
    def test_bare_bytesio_is_accepted(self, storage):
        storage.save("bare.bin", io.BytesIO(b"bare"))
        assert content_of(storage, "bare.bin") == b"bare"

    @contract("C-016")
    def test_name_of_the_content_is_used_when_none_is_given(self, storage):
        name = storage.save(None, ContentFile(b"content", name="own/name.txt"))
        assert name == "own/name.txt"
        assert content_of(storage, "own/name.txt") == b"content"

    @contract("C-017")
    def test_content_is_taken_from_chunks(self, storage):
        storage.save("chunks.bin", OnlyChunks([b"one", b"two", pattern(70_000)]))
        assert content_of(storage, "chunks.bin") == b"onetwo" + pattern(70_000)

    @contract("C-018")
    def test_rounds_of_save_and_read_leak_no_descriptors(self, overwriting):
        if not DESCRIPTORS.is_dir():
            impossible("the system does not list the open descriptors")
        content = pattern(6 * MIB)
        self._round(overwriting, content)
        before = _descriptors()
        for _ in range(10):
            self._round(overwriting, content)
        assert _descriptors() <= before + 2

    def _round(self, storage, content):
        storage.save("round.bin", ContentFile(content))
        assert content_of(storage, "round.bin") == content

    @contract("C-019")
    def test_short_reads_are_not_the_end(self, storage):
        storage.save("short.bin", File(Pipe(pattern(9 * MIB), most=120_000)))
        assert content_of(storage, "short.bin") == pattern(9 * MIB)

    @contract("C-020")
    def test_size_of_saved_text_is_in_bytes(self, storage):
        storage.save("text.txt", ContentFile("é" * 5_000 + "€" * 100 + " " * 100))
        assert storage.size("text.txt") == 10_400

    @contract("C-021")
    def test_text_writer_stores_utf8(self, storage):
        with storage.open("a.txt", "w") as file:
            file.write("naïve €\nsecond line\n")
        assert content_of(storage, "a.txt") == "naïve €\nsecond line\n".encode()

    @contract("C-022")
    def test_text_reader_gives_str(self, storage):
        self.save(storage, "a.txt", "naïve €".encode())
        with storage.open("a.txt", "r") as file:
            assert file.read() == "naïve €"

    @contract("C-023")
    def test_binary_reader_gives_bytes(self, storage):
        self.save(storage, "a.txt", "naïve €".encode())
        with storage.open("a.txt", "rb") as file:
            assert file.read() == "naïve €".encode()

    @contract("C-024")
    def test_writes_add_up(self, storage):
        with storage.open("a.txt", "wb") as file:
            for piece in (b"one ", b"two ", b"three ", b"four ", b"five"):
                assert file.write(piece) == len(piece)
        assert content_of(storage, "a.txt") == b"one two three four five"

    @contract("C-025")
    def test_long_write_in_small_pieces_is_exact(self, storage):
        content = pattern(12 * MIB)
        with storage.open("long.bin", "wb") as file:
            for start in range(0, len(content), 65_536):
                file.write(content[start : start + 65_536])
        assert content_of(storage, "long.bin") == content
        assert self.upload_ids() == []

    @contract("C-026")
    def test_writer_closed_without_a_write_makes_an_empty_file(self, storage):
        storage.open("empty.txt", "wb").close()
        assert storage.exists("empty.txt")
        assert storage.size("empty.txt") == 0

    @contract("C-027")
    @pytest.mark.parametrize("mode", ["wb", "w+b"])
    def test_writer_replaces_the_old_content(self, storage, mode):
        self.save(storage, "a.txt", b"something long")
        with storage.open("a.txt", mode) as file:
            file.write(b"short")
        assert content_of(storage, "a.txt") == b"short"
        assert storage.listdir("") == ([], ["a.txt"])

    @contract("C-028")
    @pytest.mark.parametrize("mode", ["wb", "w+b"])
    def test_writer_closed_without_a_write_empties_the_old_file(self, storage, mode):
        self.save(storage, "a.txt", b"something")
        storage.open("a.txt", mode).close()
        assert content_of(storage, "a.txt") == b""

    @contract("C-029")
    def test_append_keeps_the_old_bytes(self, storage):
        self.save(storage, "log.txt", b"old,")
        if storage.capabilities.content_addressed:
            with pytest.raises(NotImplementedError):
                storage.open("log.txt", "ab")
            assert content_of(storage, "log.txt") == b"old,"
            return
        with storage.open("log.txt", "ab") as file:
            file.write(b"new")
        assert content_of(storage, "log.txt") == b"old,new"

    @contract("C-030")
    def test_update_in_place_changes_only_what_it_writes(self, storage):
        self.save(storage, "a.txt", b"0123456789")
        if storage.capabilities.content_addressed:
            with pytest.raises(NotImplementedError):
                storage.open("a.txt", "r+b")
            assert content_of(storage, "a.txt") == b"0123456789"
            return
        with storage.open("a.txt", "r+b") as file:
            assert file.read(2) == b"01"
            file.seek(4)
            file.write(b"XY")
        assert content_of(storage, "a.txt") == b"0123XY6789"

    @contract("C-031")
    def test_reader_refuses_to_write(self, storage):
        self.save(storage, "a.txt", b"content")
        with storage.open("a.txt", "rb") as file, pytest.raises(io.UnsupportedOperation):
            file.write(b"x")
        assert content_of(storage, "a.txt") == b"content"

    @contract("C-032")
    def test_writer_refuses_to_read(self, storage):
        with storage.open("a.txt", "wb") as file, pytest.raises(io.UnsupportedOperation):
            file.read()

    @contract("C-033")
    @pytest.mark.parametrize("mode", ["wb", "ab", "r+b", "w+b"])
    @pytest.mark.parametrize("size", [1_000, 12 * MIB], ids=["small", "large"])
    def test_exception_inside_with_keeps_the_old_object(self, storage, mode, size):
        if storage.capabilities.content_addressed and mode != "wb":
            impossible("nothing can be replaced")
        self.save(storage, "a.bin", b"old")
        with pytest.raises(SourceError), storage.open("a.bin", mode) as file:
            file.write(pattern(size))
            raise SourceError
        assert content_of(storage, "a.bin") == b"old"
        assert self.upload_ids() == []

    @contract("C-033")
    @pytest.mark.parametrize("mode", ["wb", "w", "ab", "xb", "w+b"])
    def test_exception_inside_with_publishes_nothing(self, storage, mode):
        with pytest.raises(SourceError), storage.open("a.txt", mode) as file:
            file.write("half" if mode == "w" else b"half")
            raise SourceError
        assert not storage.exists("a.txt")

    @contract("C-034")
    @pytest.mark.parametrize("mode", UNKNOWN_MODES)
    def test_unknown_mode_is_refused(self, storage, mode):
        self.save(storage, "a.txt", b"content")
        with pytest.raises(ValueError):
            storage.open("a.txt", mode)
        assert content_of(storage, "a.txt") == b"content"


def _descriptors() -> int:
    gc.collect()
    return sum(1 for _ in DESCRIPTORS.iterdir())
