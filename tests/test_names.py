"""Names and keys, as tables and as properties that hold for any text."""

from __future__ import annotations

import pathlib
import posixpath

import pytest
from django.core.exceptions import SuspiciousFileOperation
from hypothesis import assume, example, given
from hypothesis import strategies as st

from storages.backends.memory import MemoryStorage
from storages.names import clean_name, location_prefix, shorten

# Mostly what can go wrong: separators, dots, controls, what has no UTF-8 form.
hostile_text = st.text(st.one_of(st.sampled_from("/\\.. \x00\n\r\t\x7f\ud800é"), st.characters()), max_size=40)
tidy_part = st.text(st.sampled_from("abé .-_~%+"), min_size=1, max_size=12).filter(lambda part: part not in (".", ".."))
tidy_name = st.lists(tidy_part, min_size=1, max_size=4).map("/".join)


def outcome(function, *arguments):
    """Return the answer, or None for a refusal."""
    try:
        return function(*arguments)
    except (SuspiciousFileOperation, ValueError):
        return None


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("a.txt", "a.txt"),
        ("a/b.txt", "a/b.txt"),
        ("a//b.txt", "a/b.txt"),
        ("./a/./b.txt", "a/b.txt"),
        ("a/../b.txt", "b.txt"),
        ("a\\b.txt", "a/b.txt"),
        ("a/b/", "a/b/"),
        ("a/./", "a/"),
        ("", ""),
        (".", ""),
        ("./", ""),
        ("a/..", ""),
        ("a/../", ""),
        ("...", "..."),
        ("..a/b..", "..a/b.."),
        (".env", ".env"),
        ("a b+c%20d?e#f", "a b+c%20d?e#f"),
        ("tschüß/日本.txt", "tschüß/日本.txt"),
        (pathlib.PurePosixPath("a/b"), "a/b"),
    ],
)
def test_clean_name(name, clean):
    assert clean_name(name) == clean


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("..", "leaves the storage's location"),
        ("../a", "leaves the storage's location"),
        ("a/../../b", "leaves the storage's location"),
        ("..\\a", "leaves the storage's location"),
        ("a\\..\\..\\b", "leaves the storage's location"),
        ("/a", "is absolute"),
        ("//a", "is absolute"),
        ("\\a", "is absolute"),
        ("/", "is absolute"),
        ("a\x00b", "control character"),
        ("a\nb", "control character"),
        ("a\rb", "control character"),
        ("a\tb", "control character"),
        ("a\x7fb", "control character"),
        ("a\ud800b", "control character"),
    ],
)
def test_hostile_name_is_refused_with_the_reason(name, reason):
    with pytest.raises(SuspiciousFileOperation, match=reason):
        clean_name(name)


@given(hostile_text)
@example("a/\\../\\..")
@example(".\\.")
def test_clean_name_is_tidy_or_refused(name):
    clean = outcome(clean_name, name)
    assume(clean is not None)
    parts = clean.removesuffix("/").split("/")
    assert clean == "" or not {"", ".", ".."} & set(parts)
    assert "\\" not in clean
    assert clean.encode().decode() == clean
    assert not any(ord(character) < 32 or ord(character) == 127 for character in clean)


@given(hostile_text)
def test_cleaning_twice_is_cleaning_once(name):
    clean = outcome(clean_name, name)
    assume(clean is not None)
    assert clean_name(clean) == clean


@given(tidy_name)
def test_tidy_name_stays_as_it_is(name):
    assert clean_name(name) == name


@given(tidy_name, tidy_name)
def test_separators_and_dots_make_no_other_name(directory, name):
    expected = f"{directory}/{name}"
    for spelling in (
        f"{directory}//{name}",
        f"{directory}\\{name}",
        f"./{directory}/./{name}",
        f"x/../{directory}/{name}",
    ):
        assert clean_name(spelling) == expected


@given(st.one_of(st.just(""), tidy_name), hostile_text)
def test_every_key_lies_in_the_location(location, name):
    key = outcome(MemoryStorage(location=location)._key, name)
    assume(key is not None)
    prefix = location_prefix(location)
    assert key.startswith(prefix)
    assert posixpath.normpath(key) == key.rstrip("/")
    assert len(key) > len(prefix)


@pytest.mark.parametrize(
    ("location", "prefix"),
    [("", ""), (None, ""), (".", ""), ("media", "media/"), ("media/", "media/"), ("a//b", "a/b/"), ("a\\b", "a/b/")],
)
def test_location_prefix(location, prefix):
    assert location_prefix(location) == prefix


@pytest.mark.parametrize("location", ["/", "/media", "..", "../media", "a\nb"])
def test_location_outside_is_refused(location):
    with pytest.raises(SuspiciousFileOperation):
        location_prefix(location)


@pytest.mark.parametrize(
    ("name", "max_length", "ending", "short"),
    [
        ("name.txt", None, "", "name.txt"),
        ("name.txt", 0, "", "name.txt"),
        ("name.txt", 8, "", "name.txt"),
        ("name.txt", 7, "", "nam.txt"),
        ("name.txt", 5, "", "n.txt"),
        ("name.txt", None, "_x1", "name_x1.txt"),
        ("name.txt", 8, "_x1", "n_x1.txt"),
        ("dir/name.txt", 11, "", "dir/nam.txt"),
        ("name.tar.gz", 10, "", "name.ta.gz"),
        (".bashrc", 6, "", ".bashr"),
        ("name", 3, "", "nam"),
        ("日本語.txt", 6, "", "日本.txt"),
    ],
)
def test_shorten(name, max_length, ending, short):
    assert shorten(name, max_length, ending) == short


@pytest.mark.parametrize(
    ("name", "max_length", "ending"), [("name.txt", 4, ""), ("name.txt", 7, "_x1"), ("directory/n.txt", 8, "")]
)
def test_name_of_which_nothing_would_be_left_is_refused(name, max_length, ending):
    with pytest.raises(SuspiciousFileOperation, match=f"within max_length={max_length}"):
        shorten(name, max_length, ending)


@given(tidy_name, st.integers(1, 40), st.sampled_from(["", "_1234567"]))
def test_short_name_fits_and_keeps_directory_and_extension(name, max_length, ending):
    short = outcome(shorten, name, max_length, ending)
    assume(short is not None)
    (directory, file_name), (short_directory, short_file_name) = posixpath.split(name), posixpath.split(short)
    root, extension = posixpath.splitext(file_name)
    assert len(short) <= max_length
    assert short_directory == directory
    assert short_file_name.endswith(ending + extension)
    assert root.startswith(short_file_name.removesuffix(ending + extension))
    assert short_file_name != ending + extension


@given(tidy_name, st.integers(1, 40))
def test_name_is_refused_only_where_one_character_would_not_fit(name, max_length):
    directory, file_name = posixpath.split(name)
    extension = posixpath.splitext(file_name)[1]
    shortest = len(posixpath.join(directory, "r" + extension))
    assert (outcome(shorten, name, max_length) is None) is (max_length < shortest)
