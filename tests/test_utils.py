"""The helpers that code written for django-storages imports."""

from __future__ import annotations

import gzip
import io
import pathlib
from types import SimpleNamespace

import pytest
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files.base import ContentFile

from storages import compress, utils


@pytest.mark.parametrize(
    ("content", "expected"), [("é", "é".encode()), (b"x", b"x"), (bytearray(b"x"), bytearray(b"x"))]
)
def test_to_bytes(content, expected):
    converted = utils.to_bytes(content)
    assert (converted, type(converted)) == (expected, type(expected))


def test_setting_is_djangos_or_the_default(settings):
    settings.AWS_LOCATION = "media"
    assert utils.setting("AWS_LOCATION", "other") == "media"
    assert utils.setting("AWS_NO_SUCH_SETTING", "other") == "other"
    assert utils.setting("AWS_NO_SUCH_SETTING") is None


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("a/b", "a/b"),
        ("a/./b//c", "a/b/c"),
        ("a\\b", "a/b"),
        ("a/b/", "a/b/"),
        (".", ""),
        ("", ""),
        (pathlib.PurePosixPath("a/b"), "a/b"),
        (pathlib.PureWindowsPath("a\\b"), "a/b"),
    ],
)
def test_clean_name(name, clean):
    assert utils.clean_name(name) == clean


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        (("media", "a"), "media/a"),
        (("media/", "a/"), "media/a/"),
        (("/media", "a", "b.txt"), "media/a/b.txt"),
        (("media",), "media/"),
        (("media", ""), "media/"),
        (("media", "a", ".."), "media/"),
        (("media", "a", "../b"), "media/b"),
        (("media", "./"), "media/"),
        (("", "a"), "a"),
        (("", "/a"), "a"),
        (("",), ""),
        ((pathlib.PurePosixPath("media"), pathlib.PurePosixPath("a")), "media/a"),
    ],
)
def test_safe_join(parts, joined):
    assert utils.safe_join(*parts) == joined


@pytest.mark.parametrize("path", ["..", "../x", "a/../../x", "/x", "/mediax", "../media2/x"])
def test_safe_join_stays_inside(path):
    with pytest.raises(ValueError, match="leaves 'media'"):
        utils.safe_join("media", path)


def test_check_location_refuses_a_leading_slash():
    utils.check_location(SimpleNamespace(location="media/"))
    with pytest.raises(ImproperlyConfigured, match="write 'media'"):
        utils.check_location(SimpleNamespace(location="/media"))


def test_lookup_env_takes_the_first_that_is_not_empty(monkeypatch):
    monkeypatch.setenv("STORAGES_FIRST", "")
    monkeypatch.setenv("STORAGES_SECOND", "found")
    assert utils.lookup_env(["STORAGES_ABSENT", "STORAGES_FIRST", "STORAGES_SECOND"]) == "found"
    assert utils.lookup_env(["STORAGES_ABSENT"]) is None


@pytest.mark.parametrize(
    ("name", "max_length", "available"),
    [
        ("a/name.txt", None, "a/name.txt"),
        ("a/name.txt", 10, "a/name.txt"),
        ("a/name.txt", 9, "a/nam.txt"),
        ("a/name.txt", 7, "a/n.txt"),
    ],
)
def test_available_overwrite_name_is_cut_at_its_root(name, max_length, available):
    assert utils.get_available_overwrite_name(name, max_length) == available


@pytest.mark.parametrize(
    ("name", "max_length"), [("a/name.txt", 6), ("../name.txt", None), ("a/../name.txt", 3), ("", 9)]
)
def test_available_overwrite_name_refuses_bad_names(name, max_length):
    with pytest.raises(SuspiciousFileOperation):
        utils.get_available_overwrite_name(name, max_length)


@pytest.mark.parametrize(
    ("file", "seekable"),
    [(io.BytesIO(), True), (io.RawIOBase(), False), (object(), True)],
)
def test_is_seekable(file, seekable):
    assert utils.is_seekable(file) is seekable


@pytest.mark.parametrize(
    ("file", "encoding", "expected"),
    [
        (io.StringIO("é\né"), None, "é\né".encode()),
        (io.StringIO("é\né"), "latin-1", "é\né".encode("latin-1")),
        (io.TextIOWrapper(io.BytesIO("é\né".encode("latin-1")), "latin-1"), None, "é\né".encode("latin-1")),
        (io.BytesIO(b"a\nb"), None, b"a\nb"),
    ],
)
def test_text_is_read_as_bytes(file, encoding, expected):
    wrapper = utils.ReadBytesWrapper(file, encoding)
    assert wrapper.read() == expected
    wrapper.seek(0)
    assert wrapper.readline() + wrapper.readline() == expected
    wrapper.seek(0)
    assert b"".join(wrapper) == expected
    wrapper.seek(0)
    assert wrapper.readlines() == expected.splitlines(keepends=True)
    wrapper.close()
    assert file.closed


# compress


@pytest.mark.parametrize(
    ("raw", "content"),
    [
        (io.BytesIO(), b""),
        (io.BytesIO(b"text" * 100_000), b"text" * 100_000),
        pytest.param(io.StringIO("é" * 1000), "é".encode() * 1000, marks=pytest.mark.timeout(10)),
    ],
    ids=["empty", "bytes", "text"],
)
def test_gzip_wrapper_reads_as_a_gzip_file(raw, content):
    packed = compress.GzipCompressionWrapper(raw)
    assert packed.readable()
    head = packed.read(3)
    assert gzip.decompress(head + packed.read()) == content
    assert not raw.closed


def test_higher_level_of_gzip_wrapper_packs_tighter():
    text = "".join(f"{number * number} " for number in range(5000)).encode()
    fast, small = (compress.GzipCompressionWrapper(io.BytesIO(text), level).read() for level in (1, 9))
    assert len(small) < len(fast)


@pytest.mark.parametrize("content", [ContentFile(b"text"), ContentFile("text"), io.BytesIO(b"text")])
def test_compress_content_takes_files_of_django_and_of_python(content):
    assert gzip.decompress(compress.CompressStorageMixin()._compress_content(content).read()) == b"text"


def test_decompress_file_gives_a_seekable_file():
    text = b"text" * (compress.SPOOL_LIMIT // 4 + 1)
    file = compress.CompressedFileMixin()._decompress_file("rb", io.BytesIO(gzip.compress(text)))
    with file:
        assert file.read() == text
        assert file.seek(4) == 4
        assert file.read(4) == b"text"
