"""Measure our backends and django-storages in one run, and print the figures beside the goals."""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import report, servers
from .environment import PAGE, ROOT, peer_python
from .responder import BLOCK
from .rows import FULL, MIB, QUICK, make_rows
from .scenarios import PEER_VERSION

HERE = Path(__file__).parent
TIMEOUT = 300  # seconds for one measured process


def main():
    """Run the wanted rows; exit with 1 where a hard goal is missed."""
    options = _parse_arguments()
    sizes = QUICK if options.quick else FULL
    python = peer_python()  # for all sides: botocore loads what it finds, pyOpenSSL among it
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        files = _make_files(Path(directory), sizes)
        park = servers.Servers(sizes, files)
        try:
            rows = [row for row in make_rows(sizes, files) if _wanted(row, options.only)]
            lines = _measure_rows(rows, park, python, min(sizes.runs, options.runs or sizes.runs), options)
            floor = servers.measure_floor(park.get("local")[1], sizes.big)
        finally:
            park.close()
    remarks = _remarks(floor, time.monotonic() - started, options.quick)
    print("\n" + report.format_text(lines))
    print("\n" + "\n".join(remarks))
    if options.rst:
        report.write_rst(PAGE, report.format_rst(lines, remarks))
    return int(any(line.missed for line in lines))


def _parse_arguments():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", metavar="ROW", help="rows by id (a, c, L-07) or part of the title")
    parser.add_argument("--quick", action="store_true", help="small sizes, one run each: under two minutes")
    parser.add_argument("--runs", type=int, help="at most so many runs of each row")
    parser.add_argument("--sides", default="ours,peer,raw", help="what to measure (default: %(default)s)")
    parser.add_argument("--log", action="store_true", help="print the requests of our runs")
    parser.add_argument("--rst", action="store_true", help=f"write the table into {PAGE.relative_to(ROOT)}")
    return parser.parse_args()


def _wanted(row, only):
    return not only or any(wanted == row.id or (len(wanted) > 2 and wanted in row.title) for wanted in only)


def _measure_rows(rows, park, python, runs, options):
    lines, figures = [], {}
    for row in rows:
        started = time.monotonic()
        results = _measure(row, park, python, runs, options.sides.split(","))
        figures[row.title] = results.get("ours", {})
        made = report.make_lines(row, results, figures)
        lines += made
        print(f"{row.id}: {row.title} ({time.monotonic() - started:.0f} s)", file=sys.stderr, flush=True)
        if options.log:
            print(*results.get("ours", {}).get("log", ()), sep="\n", file=sys.stderr)
    return lines


def _measure(row, park, python, runs, wanted):
    """Return the median of each figure of each side, measured in turns."""
    tasks = {side: task for side, task in _tasks(row, park).items() if side in wanted}
    collected = {side: [] for side in tasks}

    def run(side):
        collected[side].append(_run_child(python, side, tasks[side], park))

    if row.at_once:
        with ThreadPoolExecutor(len(tasks)) as pool:
            list(pool.map(run, tasks))
    else:
        for _, side in itertools.product(range(min(runs, row.runs)), tasks):
            run(side)
    return {side: _medians(results) for side, results in collected.items()}


def _tasks(row, park):
    options, control = park.get(row.profile)
    backend = servers.BACKENDS.get(row.profile, servers.S3)
    common = {"options": {**options, **row.options}, "control": control, "backend": backend}
    tasks = {"ours": {**common, "scenario": row.scenario, "params": row.params}}
    if backend == servers.S3:
        # The responder stands for AWS, where both packages send the SDK's default checksums.
        tasks["ours"]["options"] = {**common["options"], "checksums": "when_supported"}
    if row.peer:
        scenario = row.scenario if row.peer == "same" else row.peer
        tasks["peer"] = {**common, "scenario": scenario, "params": row.peer_params or row.params}
    if row.raw:
        tasks["raw"] = {**common, "scenario": row.raw, "params": row.raw_params or row.params}
    return tasks


def _run_child(python, side, task, park):
    if task["control"]:
        park.ask(task["control"], "reset")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    environment.update(AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE=os.devnull, NO_PROXY="127.0.0.1")
    if side != "peer":
        environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [python, str(HERE / "child.py")],
        input=json.dumps({"package": side, **task}),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env=environment,
        cwd=tempfile.gettempdir(),
        check=False,
    )
    if done.returncode or not done.stdout:
        print(f"{side}: {task['scenario']} failed: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return {}
    return json.loads(done.stdout.splitlines()[-1])


def _medians(results):
    figures = {figure for result in results for figure in result}
    values = {figure: [result[figure] for result in results if figure in result] for figure in figures}
    # What is not a number (the log of requests) is told of the last run.
    return {
        figure: statistics.median(each) if isinstance(each[-1], int | float) else each[-1]
        for figure, each in values.items()
    }


def _make_files(directory, sizes):
    """Make what is uploaded and seeded; return the paths and facts."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from PIL import Image

    paths = {name: str(directory / name) for name in ("medium", "big", "huge", "photo", "archive", "certificate")}
    for name, size in (("medium", 64 * MIB), ("big", sizes.big), ("huge", sizes.huge)):
        with open(paths[name], "wb") as file:
            file.writelines(BLOCK[:MIB] for _ in range(size // MIB))
    image = Image.effect_noise((2520, 2520), 100)
    image.save(paths["photo"], "JPEG", quality=95)
    with zipfile.ZipFile(paths["archive"], "w") as archive:
        for number in range(sizes.zip_members):
            archive.writestr(f"member-{number:05}.bin", bytes(BLOCK[: sizes.zip_member]))
    servers.make_certificate(paths["certificate"])
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return {**paths, "dimensions": list(image.size), "rsa_key": key.decode()}


def _remarks(floor, seconds, quick):
    names = ("Django", "boto3", "urllib3")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    mode = " with --quick, while the ratios are those for the full sizes" if quick else ""
    rates = ", ".join(f"{name} {rate}" for name, rate in floor.items())
    return [
        f"Python {platform.python_version()}, {versions}, django-storages {PEER_VERSION}.",
        f"{os.cpu_count()} cores, {platform.system()}; {seconds / 60:.1f} minutes{mode}.",
        f"What the responder itself can do, asked over a bare socket: {rates}.",
    ]


if __name__ == "__main__":
    sys.exit(main())
