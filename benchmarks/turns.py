"""Measuring sides that are servers: one after the other, again and again, and what their processes spend."""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import environment, report
from .responder import BLOCK
from .rows import KIB, MIB

TICKS = os.sysconf("SC_CLK_TCK")

Figures = dict[str, Any]


def parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """Return the parser of what all these measurements are told."""
    made = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    made.add_argument("--only", action="append", metavar="PART", help="sides with this in their id, such as ours:")
    made.add_argument("--runs", type=int, default=3, help="of each side, in turns (default: %(default)s)")
    made.add_argument("--size", type=int, default=1024, help="MiB of the big file (default: %(default)s)")
    made.add_argument("--rst", action="store_true", help="write the table into the documentation")
    return made


def chosen(sides: list[Any], options: argparse.Namespace) -> list[Any]:
    """Return the sides that are wanted."""
    return [side for side in sides if not options.only or any(part in side.id for part in options.only)]


def measure(sides: list[Any], runs: int, once: Callable[[Any], Figures], failures: Any) -> dict[str, Figures]:
    """Return the medians of each side by its id; of one that has failed, with an exception of ``failures``, why."""
    collected: dict[str, list[Figures]] = {side.id: [] for side in sides}
    failed: dict[str, str] = {}
    for run in range(runs):
        for side in sides:
            if side.id in failed:
                continue
            started = time.monotonic()
            try:
                collected[side.id].append(once(side))
            except failures as error:
                failed[side.id] = str(error) or type(error).__name__
                print(f"{side.id} failed: {error}", file=sys.stderr)
            seconds = time.monotonic() - started
            print(f"run {run + 1}: {side.id} ({seconds:.0f} s)", file=sys.stderr, flush=True)
    return {side: {**_medians(results), "failure": failed.get(side)} for side, results in collected.items()}


def _medians(results: list[Figures]) -> Figures:
    return {name: statistics.median(each[name] for each in results) for name in (results[0] if results else ())}


@contextlib.contextmanager
def spending(pid: int) -> Iterator[dict[str, float]]:
    """Tell the CPU seconds and the growth of the memory of the process that serves."""
    process = Path(f"/proc/{pid}")
    (process / "clear_refs").write_text("5")  # begin a new peak
    cpu, resident = _cpu(process), _status(process, "VmRSS")
    spent: dict[str, float] = {}
    yield spent
    spent.update(cpu=_cpu(process) - cpu, peak=max(0, _status(process, "VmHWM") - resident))


def _cpu(process: Path) -> float:
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _status(process: Path, field: str) -> int:
    lines = (process / "status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * KIB


def make_file(path: Path, size: int) -> None:
    """Write a file of ``size`` MiB."""
    with path.open("wb") as file:
        file.writelines(BLOCK[:MIB] for _ in range(size))
    path.read_bytes()  # from here on, it is in the memory of the system


def publish(lines: list[report.Line], remarks: list[str], headings: tuple[str, ...], page: str | None) -> int:
    """Print the table, and write it into the documentation where ``page`` names its place; return the exit status."""
    print("\n" + report.format_text(lines, headings))
    print("\n" + "\n".join(remarks))
    if page:
        report.write_rst(environment.PAGE, report.format_rst(lines, remarks, headings), page)
    return int(any(line.missed for line in lines))
