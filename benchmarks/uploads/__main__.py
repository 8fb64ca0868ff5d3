"""Measure uploads of one big file to S3: by the protocol past the site, through it, and in an ordinary form."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import environment, report
from benchmarks.private.__main__ import FAILURES, _medians, _spending
from benchmarks.private.sides import MIB
from benchmarks.responder import BLOCK
from tests.servers.seaweedfs import SeaweedFS

from . import table
from .client import Client
from .stand import SIDES, Side, Site

PART = 16 * MIB  # of UPLOADS_PART_SIZE by default


def main() -> int:
    """Measure the wanted sides; exit with 1 where ours misses a goal that is a count."""
    options = _parse_arguments()
    started = time.monotonic()
    wanted = [side for side in SIDES if not options.only or any(part in side.id for part in options.only)]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        path = Path(directory, "big.bin")
        _make_file(path, options.size)
        results = _measure(wanted, options, path)
    lines = [table.make_line(side, results[side.id]) for side in wanted]
    remarks = _remarks(options, time.monotonic() - started)
    print("\n" + report.format_text(lines, table.HEADINGS))
    print("\n" + "\n".join(remarks))
    if options.rst:
        report.write_rst(environment.PAGE, report.format_rst(lines, remarks, table.HEADINGS), "uploads table")
    return int(any(line.missed for line in lines))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.uploads", description=__doc__)
    parser.add_argument("--only", action="append", metavar="PART", help="sides with this in their id, such as ours:")
    parser.add_argument("--runs", type=int, default=3, help="of each side, in turns (default: %(default)s)")
    parser.add_argument("--size", type=int, default=1024, help="MiB of the file (default: %(default)s)")
    parser.add_argument("--rst", action="store_true", help="write the table into the documentation")
    return parser.parse_args()


def _make_file(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.writelines(BLOCK[:MIB] for _ in range(size))
    path.read_bytes()  # from here on, it is in the memory of the system


def _measure(sides: list[Side], options: argparse.Namespace, path: Path) -> dict[str, dict[str, Any]]:
    """Return the medians of each side by its id, measured in turns."""
    collected: dict[str, list[dict[str, float]]] = {side.id: [] for side in sides}
    failures: dict[str, str] = {}
    for run in range(options.runs):
        for side in sides:
            if side.id in failures:
                continue
            started = time.monotonic()
            try:
                collected[side.id].append(_measure_once(side, path))
            except FAILURES as error:
                failures[side.id] = str(error) or type(error).__name__
                print(f"{side.id} failed: {error}", file=sys.stderr)
            print(f"run {run + 1}: {side.id} ({time.monotonic() - started:.0f} s)", file=sys.stderr, flush=True)
    medians = {side: _medians(results) for side, results in collected.items()}
    return {side: {**figures, "failure": failures.get(side)} for side, figures in medians.items()}


def _measure_once(side: Side, path: Path) -> dict[str, float]:
    """Upload to a server of its own: what is deleted in SeaweedFS stays on the disk for a while."""
    size = path.stat().st_size
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-site-")))
        store = stack.enter_context(SeaweedFS())
        site = stack.enter_context(Site(sys.executable, side, directory, _options(store, store.make_bucket())))
        # What happens once in a process is no part of it.
        small = directory / "small.bin"
        small.write_bytes(BLOCK[:MIB])
        Client(site.endpoint_url).form(small)
        client = Client(site.endpoint_url)
        with _spending(site) as spent:
            started = time.perf_counter()
            arrived = client.form(path) if side.kinds is None else client.direct(path, side.kinds)
            seconds = time.perf_counter() - started
    if arrived != size:
        raise ValueError(f"{arrived} bytes arrived, not {size}")
    figures = {"size": size, "parts": -(-size // PART), "seconds": seconds, "cpu": spent["cpu"], "peak": spent["peak"]}
    return {**figures, "requests": client.requests, "sent": client.sent}


def _options(store: SeaweedFS, bucket: str) -> dict[str, Any]:
    return {
        "access_key": store.access_key,
        "secret_key": store.secret_key,
        "bucket_name": bucket,
        "region_name": store.region,
        "endpoint_url": store.endpoint_url,
        "addressing_style": "path",
        "create_only": True,
        "unsigned_headers": "refused",
    }


def _remarks(options: argparse.Namespace, seconds: float) -> list[str]:
    wanted = ("Django", "boto3", "gunicorn", "uvicorn")
    versions = ", ".join(f"{name} {version}" for name, version in environment.versions().items() if name in wanted)
    load = f"{options.size} MiB; median of {options.runs}; the client runs on the same cores."
    return [
        f"Python {platform.python_version()}, {versions}, {SeaweedFS.name} {SeaweedFS.version()}.",
        f"{os.cpu_count()} cores, {platform.system()}; {seconds / 60:.1f} minutes; {load}",
    ]


if __name__ == "__main__":
    sys.exit(main())
