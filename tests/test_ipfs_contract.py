"""IPFSStorage on a real node and on a fake, held against the contract as far as a file has the name that it wants."""

from __future__ import annotations

import contextlib
from operator import attrgetter
from typing import ClassVar
from unittest import mock

import pytest

from storages.backends.ipfs import IPFSStorage
from storages.testing import StorageContract
from tests.conftest import running
from tests.servers.ipfs import FakeIPFS, JsIPFS, cid_of
from tests.servers.process import HOST
from tests.servers.proxy import Proxy
from tests.wires import counted

NOWHERE = cid_of(b"what nobody has saved")
TOKEN = "token-of-the-test"

# Cases that ask for what cannot be where a name follows from the content, and the tests that prove the rest of them.
IMPOSSIBLE = {
    "no name can be chosen, so no file can be written through a handle": (
        *("test_closed_tells_the_truth", "test_dropped_writer_commits_nothing", "test_text_writer_stores_utf8"),
        *("test_exception_inside_with_keeps_the_old_object", "test_exception_inside_with_publishes_nothing"),
        *("test_exclusive_creation_of_a_taken_name_is_refused", "test_long_write_in_small_pieces_is_exact"),
        *("test_handle_is_a_django_file_with_the_storage_name", "test_second_close_of_a_writer_commits_nothing"),
        *("test_old_size_stays_until_the_writer_closes", "test_writer_closed_without_a_write_empties_the_old_file"),
        *("test_writer_closed_without_a_write_makes_an_empty_file", "test_writer_makes_its_directory"),
        *("test_writer_refuses_to_read", "test_writer_replaces_the_old_content", "test_writer_types_by_the_name_too"),
        *("test_writes_add_up", "test_zip_is_written_and_read_through_handles"),
        # As long as they open for reading too, tests/test_ipfs.py proves them.
        *("test_missing_file_cannot_be_read", "test_open_of_a_missing_file_raises_by_itself"),
    ),
    "a name is the content's, so there are no free names to find, nothing is replaced and max_length cuts nothing": (
        *("test_taken_name_gets_an_alternative", "test_default_of_overwriting_is_as_documented"),
        *("test_long_name_is_cut_at_its_root", "test_long_name_is_cut_when_overwriting_too"),
        *("test_max_length_without_room_for_a_root_is_refused", "test_backslash_is_returned_as_a_slash"),
        "test_overwriting_replaces_the_whole_object",
    ),
    "there are no directories; what is listed are the CIDs": (
        *("test_deep_path_is_made", "test_delete_of_a_directory_is_never_recursive", "test_root_is_listed"),
        *("test_deleted_file_leaves_the_listing_at_once", "test_directory_does_not_list_a_longer_sibling"),
        *("test_directory_exists_when_something_lies_below", "test_listing_of_several_pages_has_each_file_once"),
        *("test_listing_parts_directories_from_files", "test_odd_names_are_listed_exactly"),
        *("test_threads_share_one_instance", "test_trailing_slash_lists_the_same"),
        *("test_delete_of_no_name_removes_nothing", "test_control_character_is_refused_by_every_verb"),
    ),
    "equal files are one file with one pin": (
        *("test_delete_spares_names_that_start_the_same", "test_delete_spares_what_lies_below"),
        *("test_glob_characters_delete_exactly_that_name", "test_many_deletes_go_in_batches"),
    ),
    "IPFS keeps no times": (
        *("test_modified_time_is_aware", "test_modified_time_is_naive_local_time_without_time_zones"),
        *("test_rewriting_moves_the_modified_time_forward", "test_stat_costs_one_request_without_the_content"),
    ),
    "a URL ends in the CID, not in a name": (
        *("test_custom_domain_quotes_as_the_origin", "test_name_is_appended_to_the_base_url"),
    ),
}


class NamedStorage(IPFSStorage):
    """A storage with a table of names, as the rows of a project's models are one: name of the test, CID."""

    names: ClassVar[dict[str, str]] = {}

    def _normalize_name(self, name):
        return name and self.names.get(name, name if name.startswith("Qm") else NOWHERE)

    def _save(self, name, content):
        self.names[name] = super()._save(name, content)
        return name

    def copy(self, source, target):
        self._key(target)
        self.size(source)
        self.names[target] = self.names[source]


@pytest.fixture(scope="class")
def node(request):
    """Give the class a node behind a proxy."""
    cls = request.cls
    for node in running(cls.make_node(), request.config):
        cls.node = node
        with Proxy(HOST, node.port) as cls.proxy:
            yield


@pytest.mark.usefixtures("node")
class IPFSContract(StorageContract):
    backend = "IPFS"
    public_urls = True
    own_process_only = True  # what the table of names is
    server_cannot: ClassVar[dict] = {test: reason for reason, tests in IMPOSSIBLE.items() for test in tests}

    def make_storage(self, file_overwrite=None, **options):
        given = {"api_url": self.node.api_url, "gateway_url": self.node.gateway_url, "lookup_timeout": 1}
        return NamedStorage(**{**given, **self.login, **options})

    login: ClassVar[dict] = {}

    def make_unreachable(self):
        return self.make_storage(api_url=f"http://{HOST}:1/api/v0/", max_attempts=1)

    def make_with_base(self, base):
        return self.make_storage(gateway_url=f"https://{base}")

    @contextlib.contextmanager
    def count_requests(self, storage):
        with mock.patch.object(storage, "api_url", f"{self.proxy.url}/api/v0/"):
            with counted(self.proxy, attrgetter("path")) as wire:
                yield wire


class TestFakeIPFS(IPFSContract):
    server = "fake"
    login: ClassVar[dict] = {"auth": TOKEN}
    secrets = (TOKEN,)
    secret_settings: ClassVar[dict] = {"IPFS_STORAGE_AUTH": TOKEN}

    @staticmethod
    def make_node():
        return FakeIPFS(authorization=f"Bearer {TOKEN}")

    def make_forbidden(self):
        return self.make_storage(auth="another token")


@pytest.mark.js_ipfs
class TestJsIPFS(IPFSContract):
    server = "js-ipfs"
    make_node = JsIPFS
