"""Conditions and ranges of RFC 9110, as functions of a request's headers and of what is known of a file."""

from __future__ import annotations

import calendar
import datetime
import email.utils
import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

# A request for more is an attack or a mistake, and gets the whole file (RFC 9110, 14.2).
MOST_RANGES = 16
LONGEST_RANGE_HEADER = 1024  # characters; 16 ranges of a file of 10 EiB take 660
# Ranges nearer than this go as one: what stands before each part of a multipart answer costs as much (15.3.7.2).
NEAR = 80  # bytes
# A file written twice within one tick of a clock of whole seconds looks the same; the second second is for clocks that
# do not agree.
SETTLED = 2  # seconds

_RANGE = re.compile(r"([0-9]+)-([0-9]*)|-([0-9]+)", re.ASCII)
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\U0010ffff]*"')
_ETAG_CHARACTERS = re.compile(r"[\x21\x23-\x7e]*")

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
# The form that everybody sends, and the two older ones that have to be understood (5.6.7).
_DATES = [
    re.compile(rf"[A-Z][a-z]{{2}}, (?P<day>\d\d) (?P<month>\w{{3}}) (?P<year>\d{{4}}) {_CLOCK} GMT", re.ASCII),
    re.compile(rf"[A-Z][a-z]+day, (?P<day>\d\d)-(?P<month>\w{{3}})-(?P<year>\d\d) {_CLOCK} GMT", re.ASCII),
    re.compile(rf"[A-Z][a-z]{{2}} (?P<month>\w{{3}}) (?P<day>[ \d]\d) {_CLOCK} (?P<year>\d{{4}})", re.ASCII),
]


class Range(NamedTuple):
    """The bytes of a file from ``start`` to before ``end``."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


class Spec(NamedTuple):
    """A range as it was asked for: ``last`` is None for all the rest, ``first`` for as many bytes of the end."""

    first: int | None
    last: int | None


class State(NamedTuple):
    """What an answer says of a file."""

    size: int  # bytes
    etag: str | None = None  # as in the header: quoted, with W/ if weak
    modified: datetime.datetime | None = None  # aware
    settled: bool = False  # no other file can have, or get, the same time
    ranges: bool = True  # False: there is only the whole

    @property
    def seconds(self) -> int | None:
        """The time of the last change as Last-Modified tells it, in seconds since 1970."""
        return None if self.modified is None else math.floor(self.modified.timestamp())

    def headers(self) -> dict[str, str]:
        """Return the headers that tell the state, for answers with and without the file."""
        seconds = self.seconds
        told = {"ETag": self.etag, "Last-Modified": None if seconds is None else http_date(seconds)}
        return {name: value for name, value in told.items() if value}


class Verdict(NamedTuple):
    """How a request is to be answered: 200, 304, 412, 416, or 206 with ``ranges``."""

    status: int
    ranges: Sequence[Range] = ()


class Asked(NamedTuple):
    """What a GET or HEAD asks for, besides the file."""

    method: str = "GET"
    specs: tuple[Spec, ...] = ()  # of the ranges; none: the whole
    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_unmodified_since: str | None = None
    if_range: str | None = None

    @classmethod
    def of(cls, method: str, headers: Mapping[str, str]) -> Asked:
        """Read the headers of a request; ranges that cannot be understood are not asked for."""
        return cls(
            method,
            parse_ranges(headers.get("Range", "")) if method == "GET" else (),
            headers.get("If-Match"),
            headers.get("If-None-Match"),
            headers.get("If-Modified-Since"),
            headers.get("If-Unmodified-Since"),
            headers.get("If-Range"),
        )

    def whole(self) -> Asked:
        """Return the same without ranges."""
        return self._replace(specs=())

    @property
    def conditional(self) -> bool:
        """Whether the answer may be one without the file."""
        conditions = (self.if_match, self.if_none_match, self.if_modified_since, self.if_unmodified_since)
        return any(condition is not None for condition in conditions)

    def answer(self, state: State) -> Verdict:
        """Weigh the conditions in the order of the standard (13.2.2)."""
        if self._fails(state):
            return Verdict(412)
        if self._is_fresh(state):
            return Verdict(304)
        if self.method != "GET" or not self.specs or not state.ranges or not self._may_range(state):
            return Verdict(200)
        if ranges := coalesced(satisfiable(self.specs, state.size)):
            return Verdict(206, ranges)
        return Verdict(416)

    def _fails(self, state: State) -> bool:
        if self.if_match is not None:
            strong = state.etag if state.etag and not state.etag.startswith("W/") else None
            return self.if_match.strip() != "*" and strong not in etags_in(self.if_match)
        since = parse_date(self.if_unmodified_since)
        return since is not None and state.seconds is not None and state.seconds > since

    def _is_fresh(self, state: State) -> bool:
        if self.if_none_match is not None:
            known = {_opaque(etag) for etag in etags_in(self.if_none_match)}
            return self.if_none_match.strip() == "*" or (state.etag is not None and _opaque(state.etag) in known)
        since = parse_date(self.if_modified_since)
        return since is not None and state.seconds is not None and state.seconds <= since

    def _may_range(self, state: State) -> bool:
        """Whether the client has a part of just this file, or none at all."""
        if self.if_range is None:
            return True
        validator = self.if_range.strip()
        if _ETAG.fullmatch(validator):
            return validator == state.etag and not validator.startswith("W/")
        date = parse_date(validator)
        return state.settled and date is not None and date == state.seconds


# Ranges


def parse_ranges(header: str) -> tuple[Spec, ...]:
    """Return the ranges of a Range header; none where it is to be ignored: another unit, bad syntax, too much."""
    unit, equals, text = header.partition("=")
    if not equals or unit.strip().lower() != "bytes" or len(header) > LONGEST_RANGE_HEADER:
        return ()
    items = [item for item in (item.strip(" \t") for item in text.split(",")) if item]
    if len(items) > MOST_RANGES:
        return ()
    specs = [_spec(item) for item in items]
    return tuple(spec for spec in specs if spec) if all(specs) else ()


def _spec(item: str) -> Spec | None:
    found = _RANGE.fullmatch(item)
    if not found:
        return None
    first, last, suffix = (int(digits) if digits else None for digits in found.groups())
    if first is None:
        return Spec(None, suffix)
    return None if last is not None and last < first else Spec(first, last)


def satisfiable(specs: Sequence[Spec], size: int) -> list[Range]:
    """Return those of the ranges that a file of ``size`` bytes has, in their order."""
    ranges = []
    for first, last in specs:
        if first is None:
            found = Range(max(size - (last or 0), 0), size)
        else:
            found = Range(first, size if last is None else min(last + 1, size))
        if found.length > 0:
            ranges.append(found)
    return ranges


def coalesced(ranges: Sequence[Range]) -> list[Range]:
    """Return the ranges with those that overlap or nearly touch made one, each at the place of its first."""
    merged: list[tuple[int, Range]] = []  # (place, range), by start
    for place, current in sorted(enumerate(ranges), key=lambda item: item[1]):
        if merged and current.start - merged[-1][1].end <= NEAR:
            before, last = merged[-1]
            merged[-1] = min(before, place), Range(last.start, max(last.end, current.end))
        else:
            merged.append((place, current))
    return [one for _, one in sorted(merged)]


def content_range(one: Range | None, size: int) -> str:
    """Return the value of Content-Range; without a range, that of an answer which has none to give."""
    return f"bytes {one.start}-{one.end - 1}/{size}" if one else f"bytes */{size}"


def byteranges(boundary: str, content_type: str, size: int, ranges: Sequence[Range]) -> Iterator[bytes | Range]:
    """Yield the body of a multipart answer: what is between the parts as bytes, the parts as ranges of the file."""
    for number, one in enumerate(ranges):
        start = "\r\n" if number else ""
        yield (
            f"{start}--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {content_range(one, size)}\r\n\r\n"
        ).encode()
        yield one
    yield f"\r\n--{boundary}--\r\n".encode()


def length_of(pieces: Sequence[bytes | Range]) -> int:
    """Return how many bytes the pieces of a body are."""
    return sum(piece.length if isinstance(piece, Range) else len(piece) for piece in pieces)


# Validators


def etags_in(header: str) -> list[str]:
    """Return the entity tags of a list, each as it is written; what is none is passed over."""
    return _ETAG.findall(header)


def _opaque(etag: str) -> str:
    return etag.removeprefix("W/")


def etag_of(text: str, *, weak: bool = False) -> str:
    """Return an opaque text, quoted or not, as an entity tag."""
    weak = weak or text.startswith('W/"')
    opaque = _opaque(text) if text.startswith('W/"') else text
    if len(opaque) > 1 and opaque[0] == opaque[-1] == '"':
        opaque = opaque[1:-1]
    if not _ETAG_CHARACTERS.fullmatch(opaque):
        opaque = hashlib.sha256(opaque.encode()).hexdigest()
    return f'{"W/" if weak else ""}"{opaque}"'


def is_settled(modified: datetime.datetime | None, now: datetime.datetime) -> bool:
    """Whether a time of the last change, both aware, is old enough that no later write can have the same."""
    return modified is not None and now - modified >= datetime.timedelta(seconds=SETTLED)


def http_date(seconds: int) -> str:
    """Return seconds since 1970 as HTTP writes a date."""
    return email.utils.formatdate(seconds, usegmt=True)


def parse_date(text: str | None) -> int | None:
    """Return a date of HTTP in seconds since 1970; None for what is none."""
    if not text:
        return None
    found = next(filter(None, (form.fullmatch(text.strip()) for form in _DATES)), None)
    if not found or found["month"] not in _MONTHS:
        return None
    year = int(found["year"])
    if len(found["year"]) == 2:  # in the century that puts it nearest to now, or before
        this_year = datetime.datetime.now(datetime.timezone.utc).year
        year += this_year - this_year % 100
        year -= 100 if year > this_year + 50 else 0
    clock = int(found["hour"]), int(found["minute"]), min(int(found["second"]), 59)  # 60 is a leap second
    try:
        moment = datetime.datetime(
            year, _MONTHS.index(found["month"]) + 1, int(found["day"]), *clock, tzinfo=datetime.timezone.utc
        )
    except ValueError:
        return None
    return calendar.timegm(moment.timetuple())


# Codings


def accepts(header: str, coding: str) -> bool:
    """Whether an Accept-Encoding header asks for ``coding``; a client that sends none may not know it."""
    weights: dict[str, bool] = {}
    for item in header.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        weights[name] = not any(re.fullmatch(r"q=0(\.0*)?", parameter) for parameter in parameters)
    return weights.get(coding, weights.get("*", False))
