"""What RFC 9110 says of conditions and ranges, without a file."""

from __future__ import annotations

import datetime
import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storages.private import http
from storages.private.http import Asked, Range, Spec, State

UTC = datetime.timezone.utc
MOMENT = datetime.datetime(1994, 11, 6, 8, 49, 37, 500_000, tzinfo=UTC)
SECONDS = 784_111_777
STATE = State(1000, '"one"', MOMENT, settled=True)


@pytest.mark.parametrize(
    ("header", "specs"),
    [
        ("bytes=0-0", [(0, 0)]),
        ("bytes=5-", [(5, None)]),
        ("bytes=-5", [(None, 5)]),
        ("bytes=-0", [(None, 0)]),
        ("BYTES=1-2", [(1, 2)]),
        ("bytes=1-2, 4-5 ,\t-1", [(1, 2), (4, 5), (None, 1)]),
        ("bytes=,1-2,,", [(1, 2)]),
        ("bytes=007-0010", [(7, 10)]),
        ("bytes=0-" + "9" * 500, [(0, int("9" * 500))]),
        (f"bytes={','.join(['0-0'] * http.MOST_RANGES)}", [(0, 0)] * http.MOST_RANGES),
    ],
)
def test_ranges_are_understood(header, specs):
    assert list(http.parse_ranges(header)) == specs


@pytest.mark.parametrize(
    "header",
    [
        *("", "bytes", "bytes=", "bytes=,", "bytes=-", "bytes=a-b", "bytes=2-1", "bytes=1-2,2-1", "bytes=1 - 2"),
        *("bytes=1-2-3", "bytes=--1", "bytes=+1-2", "bytes=1-2;3-4", "items=0-1", "bytes:0-1", "bytes=0x1-2"),
        *("bytes=٣-٤", "bytes=1-2,bytes=3-4", "bytes=1-2\n", "0-1", "bytes=1_0-20", "bytes=0-" + "9" * 5000),
        f"bytes={','.join(['0-0'] * (http.MOST_RANGES + 1))}",
    ],
)
def test_other_ranges_are_not_asked_for(header):
    assert http.parse_ranges(header) == ()


@pytest.mark.threat("T-11")
def test_ten_thousand_ranges_cost_nothing():
    header = "bytes=" + ",".join(f"{start}-{start}" for start in range(0, 1_000_000, 100))
    seconds = []
    for _ in range(20):  # the least of them is ours, the rest the machine's
        started = time.perf_counter()
        asked = Asked.of("GET", {"Range": header})
        assert asked.answer(State(1_000_000)).status == 200
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.005


@pytest.mark.threat("T-11")
def test_largest_answer_is_no_longer_than_the_file():
    specs = [Spec(start, None) for start in range(16)]
    verdict = Asked("GET", tuple(specs)).answer(State(1000))
    assert verdict == (206, [Range(0, 1000)])


@pytest.mark.parametrize(
    ("ranges", "merged"),
    [
        ([(0, 10), (90, 100)], [(0, 100)]),
        ([(0, 10), (91, 100)], [(0, 10), (91, 100)]),
        ([(500, 600), (0, 10)], [(500, 600), (0, 10)]),
        ([(500, 600), (0, 10), (550, 700)], [(500, 700), (0, 10)]),
        ([(0, 10), (500, 600), (5, 450)], [(0, 600)]),
        ([(0, 900), (100, 200)], [(0, 900)]),
        ([(300, 310), (300, 310)], [(300, 310)]),
    ],
)
def test_ranges_that_nearly_touch_go_as_one(ranges, merged):
    assert http.coalesced([Range(*one) for one in ranges]) == merged


SPECS = st.one_of(
    st.tuples(st.integers(0, 40), st.none()),
    st.tuples(st.integers(0, 40), st.integers(0, 60)),
    st.tuples(st.none(), st.integers(0, 60)),
)


def positions_of(specs, size):
    """Return the positions that ranges mean, found one by one; None for bad syntax."""
    if any(first is not None and last is not None and last < first for first, last in specs):
        return None
    wanted = set()
    for first, last in specs:
        for position in range(size):
            if first is None:
                inside = size - position <= last
            else:
                inside = first <= position and (last is None or position <= last)
            wanted |= {position} if inside else set()
    return wanted


@given(st.lists(SPECS, min_size=1, max_size=http.MOST_RANGES), st.integers(0, 45))
def test_ranges_mean_what_a_naive_model_says(specs, size):
    header = "bytes=" + ", ".join(f"{'' if a is None else a}-{'' if b is None else b}" for a, b in specs)
    expected = positions_of(specs, size)
    verdict = Asked.of("GET", {"Range": header}).answer(State(size))
    if expected is None:
        assert verdict == (200, ())
    elif not expected:
        assert verdict == (416, ())
    else:
        got = [position for one in verdict.ranges for position in range(*one)]
        assert verdict.status == 206
        assert len(got) == len(set(got))
        assert expected <= set(got) <= set(range(size))
        # Nothing but what was asked for, and gaps that are shorter than what a part costs.
        assert len(set(got) - expected) <= http.NEAR * len(specs)
        assert len(verdict.ranges) > 1 or (got[0], got[-1]) == (min(expected), max(expected))


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 500)), min_size=1, max_size=16))
def test_merged_ranges_lie_apart_and_cover_the_same(pairs):
    ranges = [Range(start, start + length) for start, length in pairs]
    merged = http.coalesced(ranges)
    in_order = sorted(merged)
    assert all(b.start - a.end > http.NEAR for a, b in itertools.pairwise(in_order))
    assert all(any(m.start <= r.start and r.end <= m.end for m in merged) for r in ranges)
    assert {m.start for m in merged} <= {r.start for r in ranges}
    assert {m.end for m in merged} <= {r.end for r in ranges}


@given(st.text(max_size=60))
def test_no_header_is_an_error(text):
    asked = Asked.of(
        "GET",
        {"Range": f"bytes={text}", "If-Range": text, "If-Match": text, "If-Modified-Since": text},
    )
    assert asked.answer(STATE).status in (200, 206, 412, 416)
    http.accepts(text, "gzip")


@pytest.mark.parametrize(
    "text",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
)
def test_three_forms_of_a_date_are_understood(text):
    assert http.parse_date(text) == SECONDS


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "784111777", "Sun, 06 Nov 1994 08:49:37 +0100", "Sun, 31 Feb 1994 08:49:37 GMT"),
        *("Sun, 06 Nov 1994 25:49:37 GMT", "Sun, 06 Abc 1994 08:49:37 GMT", "Sun, 06 Nov 0000 08:49:37 GMT"),
        "1994-11-06T08:49:37Z",
    ],
)
def test_other_dates_are_none(text):
    assert http.parse_date(text) is None


def test_dates_are_told_in_whole_seconds():
    assert STATE.headers() == {"ETag": '"one"', "Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT"}


@pytest.mark.parametrize(
    ("text", "etag"),
    [
        ("abc", '"abc"'),
        ('"abc"', '"abc"'),
        ('W/"abc"', 'W/"abc"'),
        ("W/abc", '"W/abc"'),
        ("0x8D-1", '"0x8D-1"'),
    ],
)
def test_etag_is_quoted(text, etag):
    assert http.etag_of(text) == etag


@given(st.text())
def test_any_etag_is_one_of_http(text):
    assert http.etags_in(http.etag_of(text)) == [http.etag_of(text)]
    assert http.etag_of(text).isascii()


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("*", True),
        ("", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("gzip;q=0.001", True),
    ],
)
def test_coding_is_taken_where_it_is_asked_for(header, accepted):
    assert http.accepts(header, "gzip") is accepted


def test_young_date_is_not_strong():
    now = MOMENT + datetime.timedelta(seconds=http.SETTLED)
    assert http.is_settled(MOMENT, now)
    assert not http.is_settled(MOMENT, now - datetime.timedelta(microseconds=1))
    assert not http.is_settled(MOMENT + datetime.timedelta(days=1), now)
    young = State(1000, '"one"', MOMENT, settled=False)
    asked = Asked.of("GET", {"Range": "bytes=0-1", "If-Range": "Sun, 06 Nov 1994 08:49:37 GMT"})
    assert (asked.answer(STATE).status, asked.answer(young).status) == (206, 200)


@pytest.mark.parametrize(
    ("etag", "header", "status"),
    [
        ('W/"one"', '"one"', 412),
        ('W/"one"', 'W/"one"', 412),
        ('W/"one"', "*", 200),
        (None, '"one"', 412),
        (None, "*", 200),
    ],
)
def test_weak_or_missing_etag_matches_no_condition_on_change(etag, header, status):
    assert Asked.of("GET", {"If-Match": header}).answer(State(1000, etag)).status == status


@pytest.mark.parametrize(("etag", "status"), [('W/"one"', 200), (None, 200), ('"one"', 206)])
@pytest.mark.parametrize("header", ['"one"', 'W/"one"'])
def test_only_a_strong_etag_continues_a_download(etag, status, header):
    asked = Asked.of("GET", {"Range": "bytes=0-1", "If-Range": header})
    assert asked.answer(State(1000, etag)).status == (200 if header.startswith("W/") else status)


def test_framing_is_as_long_as_it_says():
    pieces = list(http.byteranges("xyz", "text/plain", 100, [Range(0, 2), Range(90, 100)]))
    assert pieces == [
        b"--xyz\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/100\r\n\r\n",
        Range(0, 2),
        b"\r\n--xyz\r\nContent-Type: text/plain\r\nContent-Range: bytes 90-99/100\r\n\r\n",
        Range(90, 100),
        b"\r\n--xyz--\r\n",
    ]
    assert http.length_of(pieces) == sum(len(p) for p in pieces if isinstance(p, bytes)) + 12
