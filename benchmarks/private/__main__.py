"""Measure how private files are served: our deliveries and other packages in one run."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import environment, report
from benchmarks.responder import BLOCK
from tests.servers.process import Server, ServerError
from tests.servers.proxy import Proxy
from tests.servers.seaweedfs import SeaweedFS

from . import table
from .client import Client, ask_many
from .sides import KIB, MIB, Side, make_sides
from .stand import THREADS, Stand, standing

if TYPE_CHECKING:
    from typing_extensions import Self

SMALL = 16 * KIB
TAIL = KIB
SLOWER = 8  # so many requests less go to a cloud
TICKS = os.sysconf("SC_CLK_TCK")
FAILURES = (OSError, EOFError, ValueError, ServerError)


def main() -> int:
    """Measure the wanted sides; exit with 1 where ours misses a goal that is a count."""
    options = _parse_arguments()
    python = environment.peer_python()
    started = time.monotonic()
    wanted = [side for side in make_sides() if not options.only or any(part in side.id for part in options.only)]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory, contextlib.ExitStack() as stack:
        root = Path(directory, "files")
        _make_files(root, options.size)
        store = stack.enter_context(Store(root)) if any(side.cloud for side in wanted) else None
        results = _measure(wanted, options, python, root, store)
    lines = [table.make_line(side, results) for side in wanted]
    remarks = _remarks(options, time.monotonic() - started, store)
    print("\n" + report.format_text(lines, table.HEADINGS))
    print("\n" + "\n".join(remarks))
    if options.rst:
        report.write_rst(environment.PAGE, report.format_rst(lines, remarks, table.HEADINGS), "private table")
    return int(any(line.missed for line in lines))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.private", description=__doc__)
    parser.add_argument("--only", action="append", metavar="PART", help="sides with this in their id, such as ours:")
    parser.add_argument("--runs", type=int, default=3, help="of each side, in turns (default: %(default)s)")
    parser.add_argument("--size", type=int, default=1024, help="MiB of the big file (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=2000, help="for the small file (default: %(default)s)")
    parser.add_argument("--rst", action="store_true", help="write the table into the documentation")
    return parser.parse_args()


class Store:
    """The bucket with the same files; ``proxied`` is the way to it on which bytes are counted."""

    def __init__(self, root: Path):
        self._root, self._server = root, SeaweedFS()

    def __enter__(self) -> Self:
        self._stack = contextlib.ExitStack()
        server: Server = self._stack.enter_context(self._server)
        self.proxy = self._stack.enter_context(Proxy("127.0.0.1", server.port))
        self.version = f"{server.name} {server.version()}"
        bucket = server.make_bucket()
        for path in self._root.iterdir():
            server.client().upload_file(str(path), bucket, path.name)
        self.options = {
            "access_key": server.access_key,
            "secret_key": server.secret_key,
            "bucket_name": bucket,
            "region_name": server.region,
            "endpoint_url": server.endpoint_url,
        }
        self.proxied = {**self.options, "endpoint_url": self.proxy.url}
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()


def _make_files(root: Path, size: int) -> None:
    root.mkdir()
    root.parent.chmod(0o755)  # a web server that is started by root serves as somebody else
    (root / "small.bin").write_bytes(BLOCK[:SMALL])
    with (root / "big.bin").open("wb") as file:
        file.writelines(BLOCK[:MIB] for _ in range(size))
    (root / "big.bin").read_bytes()  # from here on, it is in the memory of the system


def _measure(sides: list[Side], options, python: str, root: Path, store: Store | None) -> dict[str, dict[str, Any]]:
    """Return the medians of each side by its id, measured in turns."""
    collected: dict[str, list[dict[str, float]]] = {side.id: [] for side in sides}
    failures: dict[str, str] = {}
    for run in range(options.runs):
        for side in sides:
            if side.id in failures:
                continue
            started = time.monotonic()
            try:
                collected[side.id].append(_measure_once(side, options, python, root, store))
            except FAILURES as error:
                failures[side.id] = str(error)
                print(f"{side.id} failed: {error}", file=sys.stderr)
            seconds = time.monotonic() - started
            print(f"run {run + 1}: {side.id} ({seconds:.0f} s)", file=sys.stderr, flush=True)
    medians = {side: _medians(results) for side, results in collected.items()}
    return {side: {**figures, "failure": failures.get(side)} for side, figures in medians.items()}


def _medians(results: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in results) for name in (results[0] if results else ())}


def _measure_once(side: Side, options, python: str, root: Path, store: Store | None) -> dict[str, float]:
    size = options.size * MIB
    with standing(python, side, root, store.options if side.cloud else {}) as stand:
        count = options.requests // SLOWER if side.cloud else options.requests
        figures = _small(stand, count) | _big(stand, size)
        if not side.cloud:
            return figures | _seek_on_disk(stand, size)
    with standing(python, side, root, store.proxied) as stand:
        return figures | _seek_in_cloud(stand, size, store.proxy)


def _small(stand: Stand, count: int) -> dict[str, float]:
    target = "/files/small.bin"
    ask_many(stand.url, target, THREADS * 4, THREADS, SMALL)  # what happens once in a process
    with _spending(stand) as spent:
        seconds = ask_many(stand.url, target, count, THREADS, SMALL)
    return {"rate": count / seconds, "small_cpu": spent["cpu"] / count}


def _big(stand: Stand, size: int) -> dict[str, float]:
    with contextlib.closing(Client(stand.url)) as client, _spending(stand) as spent:
        answer = client.get("/files/big.bin")
    if (answer.status, answer.size) != (200, size):
        raise ValueError(f"{answer.status} with {answer.size} bytes")
    figures = {"size": size, "seconds": answer.seconds, "first": answer.first}
    return {**figures, "big_cpu": spent["cpu"], "peak": spent["peak"]}


def _seek_on_disk(stand: Stand, size: int) -> dict[str, float]:
    before = stand.read_from_files()
    answer = _seek(stand, size)
    return {**answer, "read": stand.read_from_files() - before}


def _seek_in_cloud(stand: Stand, size: int, proxy: Proxy) -> dict[str, float]:
    ask_many(stand.url, "/files/small.bin", 10, 1, SMALL)
    with proxy.counting() as seen:
        answer = _seek(stand, size)
    return {**answer, "read": seen.downloaded}


def _seek(stand: Stand, size: int) -> dict[str, float]:
    """Want the last KiB; who does not know ranges sends all that is before it, too."""
    with contextlib.closing(Client(stand.url)) as client:
        answer = client.get("/files/big.bin", (f"Range: bytes={size - TAIL}-",), keep=TAIL)
    if answer.tail != BLOCK[MIB - TAIL : MIB] or answer.status not in (200, 206):
        raise ValueError(f"{answer.status}, and not the last bytes")
    return {"seek": answer.seconds, "sent": answer.size}


@contextlib.contextmanager
def _spending(stand: Stand) -> Iterator[dict[str, float]]:
    """Tell the CPU seconds and the growth of the memory of the process that serves."""
    process = Path(f"/proc/{stand.application.pid}")
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


def _remarks(options, seconds: float, store: Store | None) -> list[str]:
    wanted = ("Django", "gunicorn", "uvicorn", *environment.PEERS)
    versions = ", ".join(f"{name} {version}" for name, version in environment.versions().items() if name in wanted)
    servers = [f"{name} {version}" for name, version in table.front_versions().items()]
    servers += [store.version] if store else []
    load = f"{options.size} MiB, {options.requests} requests of {SMALL // KIB} KiB over {THREADS} connections"
    return [
        f"Python {platform.python_version()}, {versions}, {', '.join(servers)}.",
        f"{os.cpu_count()} cores, {platform.system()}; {seconds / 60:.1f} minutes; {load}; median of {options.runs}.",
    ]


if __name__ == "__main__":
    sys.exit(main())
