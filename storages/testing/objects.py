"""Groups K (delete) and L (object behaviour) of the contract."""

from __future__ import annotations

import copy
import os
import pickle
import socket
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage.handler import StorageHandler
from django.db.migrations.writer import MigrationWriter
from django.test import override_settings
from django.utils.module_loading import import_string

from storages.contract import DeleteError
from storages.testing.cases import contract
from storages.testing.harness import constructor_options, content_of, impossible, outcome, pattern
from storages.testing.names import at_once
from storages.testing.reading import REFUSABLE, fill

CHILD_LIMIT = 60  # seconds; a child that inherited a locked client would wait for ever


class ObjectCases:
    @contract("C-145")
    def test_delete_spares_names_that_start_the_same(self, storage):
        for name in ("a", "ab", "a.txt", "dir/a"):
            self.save(storage, name)
        storage.delete("a")
        assert not storage.exists("a")
        assert [storage.exists(name) for name in ("ab", "a.txt", "dir/a")] == [True, True, True]

    @contract("C-145")
    def test_delete_spares_what_lies_below(self, storage):
        self.save(storage, "a", b"object")
        self.save(storage, "a/b", b"below")
        storage.delete("a")
        assert content_of(storage, "a/b") == b"below"
        assert [entry.name for entry in storage.walk()] == ["a/b"]

    @contract("C-146")
    @pytest.mark.parametrize("name", ["dir", "dir/"])
    def test_delete_of_a_directory_is_never_recursive(self, storage, name):
        self.save(storage, "dir/a.txt")
        self.save(storage, "dir/sub/b.txt")
        outcome(storage.delete, name)  # silence and an error are both fine
        assert sorted(entry.name for entry in storage.walk()) == ["dir/a.txt", "dir/sub/b.txt"]

    @contract("C-147")
    @pytest.mark.parametrize("name", ["*", "a*.txt", "[ab].txt", "?.txt", "{a,b}.txt", "**/a.txt"])
    def test_glob_characters_delete_exactly_that_name(self, storage, name):
        for neighbour in ("a.txt", "ab.txt", "b.txt"):
            self.save(storage, neighbour)
        self.save(storage, name)
        storage.delete(name)
        assert storage.listdir("")[1] == ["a.txt", "ab.txt", "b.txt"]

    @contract("C-148")
    def test_many_deletes_go_in_batches(self, storage):
        names = [f"many/{number:04}.txt" for number in range(2_500)]
        fill(storage, [*names, "kept.txt"])
        with self.count_requests(storage) as wire:
            storage.delete_many(names)
        assert storage.listdir("")[1] == ["kept.txt"]
        assert not storage.exists("many")
        assert len(wire.requests) <= -(-len(names) // self.most_deletes) or not storage.capabilities.delete_many

    @contract("C-148")
    def test_many_deletes_pass_over_missing_names(self, storage):
        self.save(storage, "a.txt")
        storage.delete_many(["missing.txt", "a.txt", "a.txt"])
        storage.delete_many([])
        assert not storage.exists("a.txt")

    @contract("C-149")
    def test_refused_delete_is_an_error(self, storage):
        forbidden = self.make_forbidden()
        self.save(storage, "a.txt")
        with pytest.raises(PermissionError):
            forbidden.delete("a.txt")
        with pytest.raises((PermissionError, DeleteError)):
            forbidden.delete_many(["a.txt", "b.txt"])
        assert content_of(storage, "a.txt") == b"content"

    @contract("C-150")
    def test_construction_touches_no_network(self, monkeypatch):
        monkeypatch.setattr(socket, "socket", _refuse)
        monkeypatch.setattr(socket, "getaddrinfo", _refuse)
        assert self.make_storage()

    @contract("C-151")
    def test_pickle_after_use_works(self, storage):
        self.save(storage, "a.txt", b"before")
        self.assert_works(pickle.loads(pickle.dumps(storage)))
        self.assert_works(storage)

    @contract("C-152")
    def test_deepcopy_after_use_works(self, storage):
        self.save(storage, "a.txt", b"before")
        self.assert_works(copy.deepcopy(storage))
        self.assert_works(storage)

    @contract("C-153")
    def test_deconstruct_rebuilds(self, storage):
        self.save(storage, "a.txt", b"before")
        path, arguments, options = storage.deconstruct()
        with override_settings(**self.secret_settings):
            self.assert_works(import_string(path)(*arguments, **options))

    @contract("C-153")
    def test_migration_writer_serializes(self, storage):
        self.save(storage, "a.txt", b"before")
        expression, imports = MigrationWriter.serialize(storage)
        assert not [secret for secret in self.secrets if secret in expression]
        namespace: dict = {}
        exec("\n".join(imports), namespace)
        with override_settings(**self.secret_settings):
            self.assert_works(eval(expression, namespace))

    @contract("C-154")
    def test_unknown_option_is_named(self):
        with pytest.raises((ImproperlyConfigured, TypeError), match="no_such_option"):
            self.make_storage(no_such_option=1)

    @contract("C-155")
    def test_threads_share_one_instance(self, storage):
        def work(thread: int) -> list[bytes]:
            names = [f"shared/{thread}-{number}.bin" for number in range(4)]
            for number, name in enumerate(names):
                self.save(storage, name, pattern(50_000, seed=thread * 4 + number))
            return [content_of(storage, name) for name in names]

        contents = at_once([lambda thread=thread: work(thread) for thread in range(16)])
        assert contents == [[pattern(50_000, seed=thread * 4 + number) for number in range(4)] for thread in range(16)]
        assert len(storage.listdir("shared")[1]) == 64

    @contract("C-156")
    def test_fork_after_use_leaves_both_working(self, storage):
        if not hasattr(os, "fork"):
            impossible("the system has no fork")
        self.save(storage, "a.txt", b"before")
        with ThreadPoolExecutor(1) as pool:
            pool.submit(content_of, storage, "a.txt").result()
        child = _forked(lambda: self.assert_works(storage, "child.txt"))
        self.assert_works(storage, "parent.txt")
        assert _exit_code(child) == 0
        assert storage.exists("child.txt") is not self.own_process_only

    @contract("C-157")
    def test_storage_handler_makes_it(self, storage):
        self.save(storage, "a.txt", b"before")
        handler = StorageHandler(
            {"mine": {"BACKEND": storage.deconstruct()[0], "OPTIONS": constructor_options(storage)}}
        )
        self.assert_works(handler["mine"])
        assert handler["mine"] is handler["mine"]

    @contract("C-158")
    def test_no_repr_shows_a_secret(self, storage):
        if not self.secrets:
            impossible("the harness has no secrets")
        self.save(storage, "a.txt")
        with storage.open("a.txt") as file:
            texts = [repr(storage), str(storage), repr(file), str(file), repr(storage.capabilities)]
        assert not [text for text in texts for secret in self.secrets if secret in text]

    @contract("C-159")
    @pytest.mark.parametrize("verb", REFUSABLE)
    def test_unreachable_server_is_an_error(self, verb):
        error = outcome(REFUSABLE[verb], self.make_unreachable())
        assert error is not None
        assert not isinstance(error, (FileNotFoundError, PermissionError))
        assert not [secret for secret in self.secrets if secret in f"{error!s} {error!r}"]

    @contract("C-173")
    def test_save_after_a_failed_read_lands_where_it_says(self, storage):
        self.save(storage, "elsewhere/a.txt")
        for missing in ("elsewhere/missing.txt", "missing/deep/a.txt"):
            with pytest.raises(FileNotFoundError):
                storage.open(missing)
        name = self.save(storage, "here/b.txt", b"landed")
        assert name == "here/b.txt"
        assert content_of(self.make_storage(), "here/b.txt") == b"landed"

    @contract("C-174")
    @pytest.mark.parametrize("turn", range(5))
    def test_savers_make_one_directory_at_once(self, turn):
        savers = [self.make_storage() for _ in range(8)]
        names = at_once(
            [
                lambda saver=saver, number=number: self.save(saver, f"new/{turn}/{number}.txt", b"%d" % number)
                for number, saver in enumerate(savers)
            ]
        )
        assert names == [f"new/{turn}/{number}.txt" for number in range(8)]
        assert [content_of(savers[0], name) for name in names] == [b"%d" % number for number in range(8)]

    def assert_works(self, storage, name: str = "b.txt") -> None:
        """Read what ``a.txt`` holds from before, then write and read ``name``."""
        assert content_of(storage, "a.txt") == b"before"
        written = self.save(storage, name, b"written")
        assert content_of(storage, written) == b"written"


def _refuse(*arguments, **options):
    raise AssertionError("this must not touch the network")


def _forked(work) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is the case here
        child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException:
        os._exit(1)
    os._exit(0)


def _exit_code(child: int) -> int:
    for _ in range(CHILD_LIMIT * 20):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(child, 9)
    os.waitpid(child, 0)
    pytest.fail(f"the child did not end within {CHILD_LIMIT} s")
