"""The figures of uploads as a table, with our goals."""

from __future__ import annotations

from typing import Any

from benchmarks.private.table import Bound, format_bytes
from benchmarks.report import Line
from benchmarks.rows import KIB, MIB, format_figure

from .stand import Side

HEADINGS = ("The file goes by", "Server", "Time", "Rate", "CPU of the site", "Memory", "Requests to the site")
HEADINGS += ("Bytes to the site", "Goals")

# The most that an upload past the site may be; the others have all bytes in the site.
BOUNDS = (
    Bound("peak", 32 * MIB, "memory", False),
    Bound("sent", 64 * KIB, "bytes to the site", True),
)
CALLS = 5  # the page, its script, begin, finish, save
BATCH = 16  # parts that are signed by one request


def make_line(side: Side, figures: dict[str, Any]) -> Line:
    """Return the line of a side."""
    if "seconds" not in figures:
        last = figures["failure"].strip().splitlines()[-1]
        return Line((side.what, side.server, *["–"] * (len(HEADINGS) - 3), f"failed: {last}"), side.kinds is not None)
    cells = (
        side.what,
        side.server,
        format_figure("seconds", figures["seconds"]),
        f"{figures['size'] / figures['seconds'] / 1e6:,.0f} MB/s",
        format_figure("cpu", figures["cpu"]),
        format_figure("peak", figures["peak"]),
        f"{figures['requests']:.0f}",
        format_bytes(figures["sent"]),
    )
    if side.kinds != ("multipart",):
        return Line((*cells, "–"), False)
    missed = [bound for bound in BOUNDS if figures[bound.figure] > bound.most]
    most = CALLS + -(-figures["parts"] // BATCH)
    if figures["requests"] > most:
        missed.append(Bound("requests", most, "requests to the site", True))
    verdict = f"missed: {'; '.join(bound.name for bound in missed)}" if missed else "met"
    return Line((*cells, verdict), any(bound.hard for bound in missed))
