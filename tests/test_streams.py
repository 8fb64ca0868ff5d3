"""Bodies, and what answers and requests say of ranges."""

from __future__ import annotations

import hashlib
import io
from types import SimpleNamespace

import pytest

from storages.base import batches
from storages.contract import Stat
from storages.streams import AnswerBody, EmptyBody, range_header, size_of_whole

SENT = b"0123456789"


class Raw(io.BytesIO):
    """What requests has below an answer."""

    def read(self, size=None, decode_content=True):
        assert not decode_content
        return super().read(size)


def body_of(sent: bytes, expected: bytes | None) -> AnswerBody:
    raw = Raw(sent)
    return AnswerBody(SimpleNamespace(raw=raw, close=raw.close), Stat(len(SENT)), hashlib.sha256(), expected)


def read_whole(body):
    return body.read()


def read_pieces(body):
    return b"".join(iter(lambda: body.read(3), b""))


@pytest.mark.parametrize("read", [read_whole, read_pieces])
def test_body_is_compared_with_its_digest_however_it_is_read(read):
    expected = hashlib.sha256(SENT).digest()
    assert read(body_of(SENT, expected)) == SENT
    with pytest.raises(ConnectionError, match="checksum"):
        read(body_of(b"012345678X", expected))
    assert read(body_of(b"012345678X", None)) == b"012345678X"


def test_body_that_is_left_before_its_end_is_not_compared():
    body = body_of(SENT, b"of something else")
    assert body.read(3) == SENT[:3]
    assert body.read(0) == b""
    body.close()


def test_empty_body_has_a_stat():
    body = EmptyBody(Stat(5))
    assert (body.read(), body.stat) == (b"", Stat(5))


@pytest.mark.parametrize(
    ("start", "end", "header"),
    [
        (0, None, {}),
        (0, 1, {"Range": "bytes=0-0"}),
        (7, None, {"Range": "bytes=7-"}),
        (7, 9, {"Range": "bytes=7-8"}),
    ],
)
def test_range_header_names_the_last_byte(start, end, header):
    assert range_header(start, end) == header


@pytest.mark.parametrize(
    ("content_range", "length", "size"),
    [("bytes 0-4/10", "5", 10), ("bytes */10", "0", 10), ("bytes 0-4/*", "5", 5), ("", "5", 5), ("", 0, 0)],
)
def test_size_is_that_of_the_whole(content_range, length, size):
    assert size_of_whole(content_range, length) == size


def test_batches_leave_nothing_out():
    assert list(batches(iter("abcde"), 2)) == [["a", "b"], ["c", "d"], ["e"]]
    assert list(batches([], 2)) == []
