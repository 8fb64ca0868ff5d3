"""The figures of private files as a table, with our goals."""

from __future__ import annotations

from typing import Any, NamedTuple

from benchmarks.report import Line
from benchmarks.rows import KIB, MIB, format_figure
from tests.servers.apache import Apache
from tests.servers.lighttpd import Lighttpd
from tests.servers.nginx import Nginx

from .sides import OURS, Side

HEADINGS = (
    *("File", "Served by", "Through", "Big file", "CPU of it", "First byte", "Memory", "Small file", "CPU of one"),
    *("Last KiB", "Read for it", "Goals"),
)
# Figure, whether more is better, the name of the goal.
AGAINST = (("seconds", False, "big file"), ("rate", True, "small file"))
NOISE = 1.05  # two runs of the same differ by as much


class Bound(NamedTuple):
    """The most that a figure of ours may be."""

    figure: str
    most: int
    name: str
    hard: bool  # a count: missing it fails the run


BOUNDS = (Bound("peak", 32 * MIB, "memory", False), Bound("read", MIB, "read for the last KiB", True))


def make_line(side: Side, results: dict[str, dict[str, Any]]) -> Line:
    """Return the line of a side; ``results`` are the figures of all by id."""
    figures = results[side.id]
    start = ("S3" if side.cloud else "disk", f"{side.package}: {side.delivery}", side.through)
    if "seconds" not in figures:
        cells = (*start, *["–"] * (len(HEADINGS) - 4), f"failed: {_last_line(figures['failure'])}")
        return Line(cells, side.package == OURS)
    missed = [bound for bound in BOUNDS if figures[bound.figure] > bound.most]
    slower = [f"{name}, by {ratio:.2g}× {other}" for name, other, ratio in _compared(side, results) if ratio > NOISE]
    ours = side.package == OURS
    verdict = "; ".join([*(bound.name for bound in missed), *slower])
    cells = (*start, *_cells(figures), ("met" if not verdict else f"missed: {verdict}") if ours else "–")
    return Line(cells, ours and any(bound.hard for bound in missed))


def _cells(figures: dict[str, Any]) -> tuple[str, ...]:
    size = figures["size"]
    return (
        f"{size / figures['seconds'] / 1e6:,.0f} MB/s",
        format_figure("cpu", figures["big_cpu"]),
        format_figure("seconds", figures["first"]),
        format_figure("peak", figures["peak"]),
        format_figure("rate", figures["rate"]),
        format_figure("cpu", figures["small_cpu"]),
        format_figure("seconds", figures["seek"]),
        format_bytes(figures["read"]),
    )


def _compared(side: Side, results: dict[str, dict[str, Any]]):
    """Yield how many times slower we are than each side that we are not to be slower than."""
    for other in side.than:
        for figure, more, name in AGAINST:
            theirs = results.get(other, {}).get(figure)
            if theirs:
                mine = results[side.id][figure]
                yield name, other.partition(":")[0], theirs / mine if more else mine / theirs


def format_bytes(count: float) -> str:
    """Return bytes with a unit."""
    return f"{count / MIB:,.0f} MiB" if count >= MIB else f"{count / KIB:,.1f} KiB"


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def front_versions() -> dict[str, str]:
    """Return the versions of the web servers."""
    return {front.name: front.version() for front in (Nginx, Apache, Lighttpd) if not front.unavailable()}
