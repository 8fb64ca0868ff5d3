"""Groups D (name choice and overwriting) and E (names) of the contract."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile

from storages.contract import UploadTerms
from storages.terms import PART_KINDS, SINGLE_KINDS
from storages.testing.cases import contract
from storages.testing.harness import content_of, impossible, outcome

HOSTILE_NAMES = ["../a.txt", "..", "a/../../b.txt", "/etc/a.txt", "..\\a.txt", "a\\..\\..\\b.txt", "a/..", ""]

ODD_NAMES = {
    "C-067": "with space.txt",
    "C-068": "a+b.txt",
    "C-069": "100%25 %2F.txt",
    "C-070": "a#b.txt",
    "C-071": "what?.txt",
    "C-072": "a&b=c;d,e.txt",
    "C-073": 'it\'s "quoted".txt',
    "C-074": "caf\u00e9.txt",
    "C-076": "文件\U0001f600.txt",
    "C-077": "a[1]{2}(3).txt",
    "C-078": "a:b@c$d!e~f*g|h.txt",
    "C-079": ".hidden",
    "C-081": "a..b...c.txt",
    "C-082": "  lead  and   inner.txt",
    "C-083": "-dash.txt",
    "C-084": "x" * 196 + ".txt",
}

CONTROL_NAMES = [
    pytest.param("a\x00b.txt", marks=contract("C-086"), id="NUL"),
    pytest.param("a\nb.txt", marks=contract("C-087"), id="LF"),
    pytest.param("a.txt\r\nDELE neighbour.txt", marks=contract("C-088"), id="CRLF"),
]
PARENT_NAMES = ["..", "../outer.txt", "a/../../outer.txt", "./../outer.txt", "..\\outer.txt"]

TERMS = UploadTerms(size=1, content_type="text/plain", seconds=60)
TERMS_OF_PARTS = UploadTerms(size=1, content_type="text/plain", seconds=60, part_size=8 * 1024**2)

# Every public verb that takes a name, and the one private one that Django lets subclasses call.
VERBS = {
    "open": lambda storage, name: storage.open(name).close(),
    "open for writing": lambda storage, name: storage.open(name, "wb").close(),
    "open for appending": lambda storage, name: storage.open(name, "ab").close(),
    "open_range": lambda storage, name: storage.open_range(name, 0, 1).close(),
    "exists": lambda storage, name: storage.exists(name),
    "size": lambda storage, name: storage.size(name),
    "stat": lambda storage, name: storage.stat(name),
    "get_modified_time": lambda storage, name: storage.get_modified_time(name),
    "url": lambda storage, name: storage.url(name),
    "listdir": lambda storage, name: storage.listdir(name),
    "walk": lambda storage, name: list(storage.walk(name)),
    "save": lambda storage, name: storage.save(name, ContentFile(b"changed")),
    "_save": lambda storage, name: storage._save(name, ContentFile(b"changed")),
    "copy from": lambda storage, name: storage.copy(name, "target.txt"),
    "copy to": lambda storage, name: storage.copy("neighbour.txt", name),
    "move from": lambda storage, name: storage.move(name, "target.txt"),
    "move to": lambda storage, name: storage.move("neighbour.txt", name),
    "delete": lambda storage, name: storage.delete(name),
    "delete_many": lambda storage, name: storage.delete_many([name]),
    **{
        f"presign_upload {kind}": lambda storage, name, kind=kind: storage.presign_upload(name, kind, TERMS)
        for kind in sorted(SINGLE_KINDS)
    },
    **{
        f"open_upload {kind}": lambda storage, name, kind=kind: storage.open_upload(name, kind, TERMS_OF_PARTS)
        for kind in sorted(PART_KINDS)
    },
}


def answers(storage, name: str, refusals: tuple[type[Exception], ...]) -> dict[str, str]:
    """Return what each verb did with ``name`` that did not refuse it."""
    outcomes = {verb: outcome(call, storage, name) for verb, call in VERBS.items()}
    return {verb: repr(error) for verb, error in outcomes.items() if not isinstance(error, refusals)}


def at_once(calls: list) -> list:
    """Return the results of ``calls``, started together in a thread each."""
    start = Barrier(len(calls))

    def run(call):
        start.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


class NameCases:
    @contract("C-053")
    def test_taken_name_gets_an_alternative(self, storage):
        self.save(storage, "dir/a.txt", b"first")
        name = self.save(storage, "dir/a.txt", b"second")
        assert name != "dir/a.txt"
        assert re.fullmatch(r"dir/a.+\.txt", name)
        assert content_of(storage, "dir/a.txt") == b"first"
        assert content_of(storage, name) == b"second"

    @contract("C-054")
    def test_overwriting_replaces_the_whole_object(self, overwriting):
        self.save(overwriting, "a.txt", b"a longer content")
        assert self.save(overwriting, "a.txt", b"short") == "a.txt"
        assert content_of(overwriting, "a.txt") == b"short"
        assert overwriting.listdir("") == ([], ["a.txt"])

    @contract("C-055")
    def test_exists_is_truthful_when_overwriting(self, overwriting):
        assert not overwriting.exists("a.txt")
        self.save(overwriting, "a.txt")
        assert overwriting.exists("a.txt")

    @contract("C-056")
    def test_long_name_is_cut_at_its_root(self, storage):
        first = storage.save("docs/" + "x" * 60 + ".txt", ContentFile(b"first"), max_length=40)
        second = storage.save("docs/" + "x" * 60 + ".txt", ContentFile(b"second"), max_length=40)
        assert first != second
        assert all(len(name) <= 40 and name.startswith("docs/x") and name.endswith(".txt") for name in (first, second))
        assert (content_of(storage, first), content_of(storage, second)) == (b"first", b"second")

    @contract("C-056")
    def test_long_name_is_cut_when_overwriting_too(self, overwriting):
        name = overwriting.save("docs/" + "x" * 60 + ".txt", ContentFile(b"first"), max_length=40)
        assert re.fullmatch(r"docs/x{31}\.txt", name)
        assert content_of(overwriting, name) == b"first"

    @contract("C-057")
    def test_max_length_without_room_for_a_root_is_refused(self, storage):
        with pytest.raises(SuspiciousFileOperation):
            storage.save("directory/long-name.txt", ContentFile(b"x"), max_length=12)
        assert storage.listdir("") == ([], [])

    @contract("C-058")
    @pytest.mark.parametrize("turn", range(5))
    def test_savers_at_once_get_a_name_each(self, storage, turn):
        if not storage.capabilities.create_only:
            impossible("the service cannot create only what is missing")
        contents = [b"saver %d of turn %d" % (number, turn) for number in range(8)]
        names = at_once([lambda content=content: self.save(storage, "race/a.txt", content) for content in contents])
        assert len(set(names)) == 8
        assert [content_of(storage, name) for name in names] == contents

    @contract("C-058")
    def test_exclusive_creation_of_a_taken_name_is_refused(self, storage):
        with storage.open("a.txt", "xb") as file:
            file.write(b"first")
        with pytest.raises(FileExistsError), storage.open("a.txt", "xb") as file:
            file.write(b"second")
        assert content_of(storage, "a.txt") == b"first"

    @contract("C-059")
    def test_deep_path_is_made(self, storage):
        assert self.save(storage, "1/2/3/4/5/6/7/8/a.txt") == "1/2/3/4/5/6/7/8/a.txt"
        assert storage.listdir("1/2/3/4/5/6/7/8") == ([], ["a.txt"])

    @contract("C-060")
    def test_directory_does_not_list_a_longer_sibling(self, storage):
        self.save(storage, "a/x")
        self.save(storage, "ab/y")
        assert storage.listdir("a") == ([], ["x"])

    @contract("C-061")
    def test_name_without_a_directory_round_trips(self, storage):
        assert self.save(storage, "a") == "a"
        assert content_of(storage, "a") == b"content"

    @contract("C-062")
    def test_directory_exists_when_something_lies_below(self, storage):
        self.save(storage, "dir/sub/a.txt")
        assert [storage.exists(name) for name in ("", "dir", "dir/sub")] == [True, True, True]
        assert [storage.exists(name) for name in ("d", "dir/s", "sub")] == [False, False, False]

    @contract("C-063")
    def test_default_of_overwriting_is_as_documented(self):
        storage = self.make_storage()
        self.save(storage, "a.txt", b"first")
        second = self.save(storage, "a.txt", b"second")
        assert (second == "a.txt") is self.overwrites_by_default

    @contract("C-064")
    @pytest.mark.parametrize("name", HOSTILE_NAMES)
    def test_overridden_get_available_name_does_not_lose_validation(self, storage, name):
        storage.__class__ = type("Careless", (type(storage),), {"get_available_name": lambda *args, **kwargs: name})
        with pytest.raises(SuspiciousFileOperation):
            self.save(storage, "harmless.txt")
        assert storage.listdir("") == ([], [])

    @contract("C-065")
    @pytest.mark.parametrize("name", HOSTILE_NAMES)
    def test_overridden_generate_filename_does_not_lose_validation(self, storage, name):
        storage.__class__ = type("Careless", (type(storage),), {"generate_filename": lambda self, filename: filename})
        with pytest.raises(SuspiciousFileOperation):
            self.save(storage, storage.generate_filename(name))
        assert storage.listdir("") == ([], [])

    @contract("C-066")
    @pytest.mark.parametrize("overwrite", [False, True])
    def test_name_of_exactly_max_length_is_kept(self, overwrite):
        storage = self.make_storage(**{self.overwrite_option: overwrite})
        name = "docs/" + "x" * 31 + ".txt"
        assert storage.save(name, ContentFile(b"content"), max_length=40) == name

    @pytest.mark.parametrize("name", [pytest.param(name, marks=contract(case)) for case, name in ODD_NAMES.items()])
    def test_odd_name_works_in_every_verb(self, storage, name):
        assert self.save(storage, f"odd/{name}", b"odd content") == f"odd/{name}"
        assert storage.exists(f"odd/{name}")
        assert storage.size(f"odd/{name}") == 11
        assert content_of(storage, f"odd/{name}") == b"odd content"
        storage.copy(f"odd/{name}", f"odd/copy of {name[:180]}")
        assert content_of(storage, f"odd/copy of {name[:180]}") == b"odd content"
        storage.delete(f"odd/{name}")
        assert not storage.exists(f"odd/{name}")

    @contract("C-075")
    def test_two_normal_forms_are_two_names(self, storage):
        self.save(storage, "caf\u00e9.txt", b"composed")
        self.save(storage, "cafe\u0301.txt", b"decomposed")
        assert content_of(storage, "caf\u00e9.txt") == b"composed"
        assert content_of(storage, "cafe\u0301.txt") == b"decomposed"

    @contract("C-080")
    @pytest.mark.parametrize("name", ["trailing.", "dir./a.txt"])
    def test_trailing_dot_is_kept_or_refused(self, storage, name):
        error = outcome(self.save, storage, name)
        assert storage.exists(name) is (error is None)
        assert error is None or isinstance(error, SuspiciousFileOperation)

    @contract("C-085")
    def test_case_makes_two_names(self, storage):
        self.save(storage, "Case.txt", b"upper")
        assert self.save(storage, "case.txt", b"lower") == "case.txt"
        assert (content_of(storage, "Case.txt"), content_of(storage, "case.txt")) == (b"upper", b"lower")

    @pytest.mark.parametrize("name", CONTROL_NAMES)
    def test_control_character_is_refused_by_every_verb(self, storage, name):
        self.save(storage, "neighbour.txt", b"neighbour")
        assert answers(storage, name, (SuspiciousFileOperation, ValueError)) == {}
        assert storage.listdir("") == ([], ["neighbour.txt"])
        assert content_of(storage, "neighbour.txt") == b"neighbour"

    @pytest.mark.parametrize("name", [*CONTROL_NAMES, pytest.param("../a.txt", marks=contract("C-090"), id="parent")])
    def test_hostile_name_costs_no_request(self, storage, name):
        with self.count_requests(storage) as wire:
            assert answers(storage, name, (SuspiciousFileOperation, ValueError)) == {}
        assert wire.requests == []

    @contract("C-089")
    @pytest.mark.parametrize("name", ["..", "../a.txt", "a/../b.txt", "a/../../b.txt", "a/..", "..\\a.txt"])
    def test_save_refuses_parent_directories(self, storage, name):
        with pytest.raises(SuspiciousFileOperation):
            self.save(storage, name)
        assert storage.listdir("") == ([], [])

    @contract("C-090")
    @pytest.mark.parametrize("name", PARENT_NAMES)
    def test_no_verb_leaves_the_location(self, storage, outer, name):
        self.save(storage, "neighbour.txt")
        # Without URLs at all, url() has a ValueError for any name.
        assert answers(storage, name, (SuspiciousFileOperation, ValueError)) == {}
        assert outer is None or content_of(outer, "outer.txt") == b"outer"

    @contract("C-091")
    @pytest.mark.parametrize("name", ["/outer.txt", "//outer.txt", "\\outer.txt"])
    def test_leading_slash_stays_in_the_location(self, storage, outer, name):
        refusal = outcome(lambda: storage._save(name, ContentFile(b"inner")))
        assert refusal is None or isinstance(refusal, SuspiciousFileOperation)
        read = outcome(lambda: content_of(storage, name))
        assert isinstance(read, SuspiciousFileOperation) if refusal else content_of(storage, "outer.txt") == b"inner"
        assert outer is None or content_of(outer, "outer.txt") == b"outer"

    @contract("C-092")
    def test_backslash_is_returned_as_a_slash(self, storage):
        name = self.save(storage, "dir\\a.txt")
        assert name == "dir/a.txt"
        assert content_of(storage, name) == content_of(storage, "dir\\a.txt") == b"content"

    @contract("C-093")
    def test_longest_key_is_kept(self, storage):
        name = self._name_of(self._longest_key(storage))
        assert self.save(storage, name) == name
        assert content_of(storage, name) == b"content"

    @contract("C-093")
    def test_key_that_is_too_long_is_refused_by_every_verb(self, storage):
        name = self._name_of(self._longest_key(storage) + 1)
        self.save(storage, "neighbour.txt")
        assert answers(storage, name, (SuspiciousFileOperation, ValueError)) == {}

    def _longest_key(self, storage) -> int:
        return storage.longest_key or impossible("the service sets no limit to a key")

    def _name_of(self, key_bytes: int) -> str:
        directories, left = divmod(key_bytes - len(f"{self.location}/" if self.location else "") - 1, 100)
        return ("é" * 49 + "y/") * directories + "z" * (left + 1)

    @contract("C-094")
    @pytest.mark.parametrize("name", ["", "dir/", ".", "dir/.", "dir/.."])
    def test_name_without_a_file_is_refused(self, storage, name):
        with pytest.raises(SuspiciousFileOperation):
            self.save(storage, name)
        assert storage.listdir("") == ([], [])

    @pytest.fixture
    def outer(self):
        """A storage above the location that holds ``outer.txt``, or None."""
        outer = self.make_outer()
        if outer is None:
            yield None
            return
        outer.save("outer.txt", ContentFile(b"outer"))
        yield outer
        outer.delete("outer.txt")
