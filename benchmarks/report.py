"""The figures as a table: on the terminal, and in the documentation."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from .rows import format_figure

HEADINGS = ("#", "What", "django-storages", "raw boto3", "ours", "Goal", "")
VERDICTS = {True: "met", False: "**missed**", None: "–"}
NAMES = {
    "sent": "bytes moved",
    "seconds": "time",
    "peak": "memory",
    "rate": "rate",
    "cpu": "CPU each",
    "continues": "100-continues",
    "second_thread": "in a second thread",
    "slowest": "slowest verb",
    "hanging": "verbs hanging",
    "warnings": "pool warnings",
    "descriptors": "descriptors left open",
    "threads": "threads left over",
    "workers": "shared workers",
    "files": "temporary files left",
}


class Line(NamedTuple):
    """One line of the table."""

    cells: tuple[str, ...]
    missed: bool  # a hard goal, or we have no figure at all


def make_lines(row, results, others):
    """Return one line per goal of a row; ``others`` are our figures by the title of their row."""
    lines = []
    for goal in row.goals:
        figures = {side: result.get(goal.figure) for side, result in results.items()}
        reference = figures.get(goal.of) if goal.of in ("peer", "raw") else others.get(goal.of, {}).get(goal.figure)
        met = goal.met(figures.get("ours"), reference)
        ours = format_figure(goal.figure, figures.get("ours"))
        if goal.of in ("peer", "raw") and figures.get("ours") and reference:
            ours += f" ({figures['ours'] / reference:.2g}×)"
        what = f"{row.title}: {NAMES.get(goal.figure, goal.figure)}"
        sides = (format_figure(goal.figure, figures.get(side)) for side in ("peer", "raw"))
        failed = "ours" in results and goal.figure not in results["ours"]
        verdict = "**failed**" if failed else VERDICTS[met]
        lines.append(
            Line((goal.id or row.id, what, *sides, ours, goal.text, verdict), failed or (goal.hard and met is False))
        )
    return lines


def format_text(lines, headings=HEADINGS):
    """Return the lines as text, in columns."""
    table = [headings, *(line.cells for line in lines)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    padded = ([cell.ljust(width) for cell, width in zip(cells, widths, strict=True)] for cells in table)
    return "\n".join("  ".join(cells).rstrip() for cells in padded)


def format_rst(lines, remarks, headings=HEADINGS):
    """Return the lines as a reStructuredText table, with what there is to say about the run."""
    rows = [".. list-table::", "   :header-rows: 1", "   :class: benchmark", ""]
    for first, *rest in [headings, *(line.cells for line in lines)]:
        rows += [f"   * - {first}", *(f"     - {cell}".rstrip() for cell in rest)]
    return "\n".join([*(f"* {remark}" for remark in remarks), "", *rows])


def write_rst(path, text, table="benchmark table"):
    """Replace what stands between the markers of a documentation page; raises ValueError without them."""
    begin, end = f".. {table} begins", f".. {table} ends"
    page = Path(path).read_text("utf-8")
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    if not rest or begin not in page or end not in page:
        raise ValueError(f"{path} lacks the lines {begin!r} and {end!r}")
    Path(path).write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", "utf-8")
