"""Groups F (missing files), G (listing) and H (stat) of the contract."""

from __future__ import annotations

import datetime
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.files.base import ContentFile
from django.test import override_settings
from django.utils import timezone

from storages.testing.cases import contract
from storages.testing.harness import MIB, content_of, pattern
from storages.testing.names import ODD_NAMES

FIVE_MINUTES = datetime.timedelta(minutes=5)

# Both are 02:30 on a clock in Berlin, an hour apart.
FOLD = [datetime.datetime(2025, 10, 26, hour, 30, tzinfo=datetime.timezone.utc) for hour in (0, 1)]

REFUSABLE = {
    "exists": lambda storage: storage.exists("a.txt"),
    "open": lambda storage: storage.open("a.txt").close(),
    "open_range": lambda storage: storage.open_range("a.txt", 0, 1).close(),
    "size": lambda storage: storage.size("a.txt"),
    "stat": lambda storage: storage.stat("a.txt"),
    "get_modified_time": lambda storage: storage.get_modified_time("a.txt"),
    "listdir": lambda storage: storage.listdir(""),
    "walk": lambda storage: list(storage.walk()),
    "save": lambda storage: storage.save("b.txt", ContentFile(b"x")),
    "copy": lambda storage: storage.copy("a.txt", "b.txt"),
    "delete": lambda storage: storage.delete("a.txt"),
}


class ReadCases:
    @contract("C-095")
    @pytest.mark.parametrize("mode", ["rb", "r", "r+b"])
    def test_missing_file_cannot_be_read(self, storage, mode):
        with pytest.raises(FileNotFoundError), storage.open("missing/a.txt", mode) as file:
            file.read()

    @contract("C-096")
    @pytest.mark.parametrize("mode", ["rb", "r", "r+b"])
    def test_open_of_a_missing_file_raises_by_itself(self, storage, mode):
        with pytest.raises(FileNotFoundError):
            storage.open("missing.txt", mode)

    @contract("C-097")
    def test_missing_file_has_no_size(self, storage):
        with pytest.raises(FileNotFoundError):
            storage.size("missing.txt")

    @contract("C-098")
    def test_missing_file_has_no_modified_time(self, storage):
        with pytest.raises(FileNotFoundError):
            storage.get_modified_time("missing.txt")

    @contract("C-099")
    @pytest.mark.parametrize("name", ["missing.txt", "missing/a.txt", "a.txt/b"])
    def test_missing_file_does_not_exist(self, storage, name):
        self.save(storage, "a.txt")
        assert storage.exists(name) is False

    @contract("C-100")
    def test_delete_of_a_missing_file_is_silent(self, storage):
        self.save(storage, "a.txt")
        storage.delete("a.txt")
        storage.delete("a.txt")
        storage.delete("missing/b.txt")
        assert storage.listdir("") == ([], [])

    @contract("C-101")
    @pytest.mark.parametrize("name", ["", None])
    def test_delete_of_no_name_removes_nothing(self, storage, name):
        self.save(storage, "a.txt")
        with pytest.raises(ValueError):
            storage.delete(name)
        assert storage.listdir("") == ([], ["a.txt"])

    @contract("C-102")
    def test_missing_directory_lists_nothing(self, storage):
        assert storage.listdir("missing") == ([], [])

    @contract("C-103")
    def test_directory_cannot_be_opened(self, storage):
        self.save(storage, "dir/a.txt")
        with pytest.raises((IsADirectoryError, FileNotFoundError)):
            storage.open("dir")

    @contract("C-104")
    @pytest.mark.parametrize("verb", REFUSABLE)
    def test_refused_credentials_are_a_permission_error(self, storage, verb):
        forbidden = self.make_forbidden()
        self.save(storage, "a.txt")
        with pytest.raises(PermissionError) as error:
            REFUSABLE[verb](forbidden)
        assert not any(secret in str(error.value) for secret in self.secrets)

    @contract("C-105")
    def test_listing_parts_directories_from_files(self, storage):
        for name in ("root.txt", "dir/a.txt", "dir/b.txt", "dir/sub/c.txt", "dir/sub/d.txt", "dir/other/e.txt"):
            self.save(storage, name)
        directories, files = storage.listdir("dir")
        assert (sorted(directories), sorted(files)) == (["other", "sub"], ["a.txt", "b.txt"])

    @contract("C-106")
    def test_trailing_slash_lists_the_same(self, storage):
        self.save(storage, "dir/a.txt")
        self.save(storage, "dir/sub/b.txt")
        assert storage.listdir("dir/") == storage.listdir("dir") == (["sub"], ["a.txt"])

    @contract("C-107")
    @pytest.mark.parametrize("path", ["", "."])
    def test_root_is_listed(self, storage, path):
        self.save(storage, "a.txt")
        self.save(storage, "dir/b.txt")
        assert storage.listdir(path) == (["dir"], ["a.txt"])

    @contract("C-108")
    def test_listing_of_several_pages_has_each_file_once(self, storage):
        names = [f"{number:04}.txt" for number in range(1_205)]
        fill(storage, [f"many/{name}" for name in names])
        directories, files = storage.listdir("many")
        assert (directories, sorted(files)) == ([], names)
        assert sorted(entry.name for entry in storage.walk("many")) == [f"many/{name}" for name in names]

    @contract("C-109")
    def test_deleted_file_leaves_the_listing_at_once(self, storage):
        self.save(storage, "dir/a.txt")
        self.save(storage, "dir/b.txt")
        storage.delete("dir/a.txt")
        assert storage.listdir("dir") == ([], ["b.txt"])

    @contract("C-110")
    def test_listed_names_open(self, storage):
        for name in ODD_NAMES.values():
            self.save(storage, f"dir/{name}", name.encode())
        assert all(content_of(storage, f"dir/{name}") == name.encode() for name in storage.listdir("dir")[1])
        assert all(content_of(storage, entry.name).decode() == entry.name[4:] for entry in storage.walk("dir"))

    @contract("C-111")
    def test_odd_names_are_listed_exactly(self, storage):
        for name in ODD_NAMES.values():
            self.save(storage, f"{name}/{name}")
        directories, files = storage.listdir("")
        assert (sorted(directories), files) == (sorted(ODD_NAMES.values()), [])
        assert all(storage.listdir(name) == ([], [name]) for name in directories)

    @contract("C-112")
    @pytest.mark.parametrize("size", [0, 1, 1_000_003])
    def test_size_is_exact(self, storage, size):
        self.save(storage, "a.bin", pattern(size))
        assert storage.size("a.bin") == size

    @contract("C-113")
    @override_settings(USE_TZ=True)
    def test_modified_time_is_aware(self, storage):
        self.save(storage, "a.txt")
        modified = storage.get_modified_time("a.txt")
        assert timezone.is_aware(modified)
        assert abs(timezone.now() - modified) < FIVE_MINUTES

    @contract("C-114")
    @override_settings(USE_TZ=False, TIME_ZONE="Asia/Kolkata")
    def test_modified_time_is_naive_local_time_without_time_zones(self, storage):
        self.save(storage, "a.txt")
        modified = storage.get_modified_time("a.txt")
        assert timezone.is_naive(modified)
        assert abs(timezone.make_naive(datetime.datetime.now(datetime.timezone.utc)) - modified) < FIVE_MINUTES

    @contract("C-115")
    def test_rewriting_moves_the_modified_time_forward(self, overwriting):
        self.save(overwriting, "a.txt", b"first")
        before = overwriting.get_modified_time("a.txt")
        time.sleep(1.1)  # services keep whole seconds
        self.save(overwriting, "a.txt", b"second")
        assert overwriting.get_modified_time("a.txt") > before

    @contract("C-116")
    def test_object_has_no_path(self, storage):
        self.save(storage, "a.txt")
        with pytest.raises(NotImplementedError):
            storage.path("a.txt")

    @contract("C-117")
    @override_settings(USE_TZ=True)
    @pytest.mark.parametrize("moment", ["created", "accessed"])
    def test_time_is_right_where_declared_and_refused_elsewhere(self, storage, moment):
        self.save(storage, "a.txt")
        read = getattr(storage, f"get_{moment}_time")
        if not getattr(storage.capabilities, f"{moment}_time"):
            with pytest.raises(NotImplementedError):
                read("a.txt")
            return
        assert abs(timezone.now() - read("a.txt")) < FIVE_MINUTES

    @contract("C-118")
    @pytest.mark.parametrize("verb", ["size", "get_modified_time", "exists"])
    def test_stat_costs_one_request_without_the_content(self, storage, verb):
        self.save(storage, "a.bin", pattern(MIB))
        with self.count_requests(storage) as wire:
            assert getattr(storage, verb)("a.bin")
        assert len(wire.requests) == 1
        assert wire.received < 16 * 1024

    @contract("C-119")
    @override_settings(TIME_ZONE="Europe/Berlin")
    @pytest.mark.parametrize("use_tz", [True, False])
    @pytest.mark.parametrize("instant", FOLD)
    def test_fold_keeps_the_instant(self, storage, use_tz, instant):
        self.save(storage, "a.txt")
        self.set_modified_time(storage, "a.txt", instant)
        with override_settings(USE_TZ=use_tz):
            modified = storage.get_modified_time("a.txt")
        assert timezone.is_aware(modified) is use_tz
        assert modified.timestamp() == instant.timestamp()

    @contract("C-120")
    def test_old_size_stays_until_the_writer_closes(self, storage):
        self.save(storage, "a.bin", b"old")
        with storage.open("a.bin", "wb") as file:
            file.write(pattern(9 * MIB))
            assert storage.size("a.bin") == 3
            assert content_of(storage, "a.bin") == b"old"
        assert storage.size("a.bin") == 9 * MIB

    @contract("C-121")
    def test_second_instance_sees_the_change(self, overwriting):
        other = self.make_storage(**{self.overwrite_option: True})
        self.save(overwriting, "a.txt", b"old")
        assert other.size("a.txt") == 3
        self.save(overwriting, "a.txt", b"newer")
        assert other.size("a.txt") == 5
        overwriting.delete("a.txt")
        assert not other.exists("a.txt")


def fill(storage, names: list[str]) -> None:
    """Save a small object under each of ``names``."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: storage.save(name, ContentFile(b"x")), names))
