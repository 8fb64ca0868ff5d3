"""Measure how private files are served: our deliveries and other packages in one run."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import environment, turns
from benchmarks.responder import BLOCK
from benchmarks.rows import KIB, MIB
from tests.servers.process import Server, ServerError
from tests.servers.proxy import Proxy
from tests.servers.seaweedfs import SeaweedFS

from . import table
from .client import Client, ask_many
from .sides import Side, make_sides
from .stand import THREADS, Stand, standing

if TYPE_CHECKING:
    from typing_extensions import Self

SMALL = 16 * KIB
TAIL = KIB
SLOWER = 8  # so many requests less go to a cloud
FAILURES = (OSError, EOFError, ValueError, ServerError)


def main() -> int:
    """Measure the wanted sides; exit with 1 where ours misses a goal that is a count."""
    options = _parse_arguments()
    python = environment.peer_python()
    started = time.monotonic()
    wanted = turns.chosen(make_sides(), options)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory, contextlib.ExitStack() as stack:
        root = Path(directory, "files")
        _make_files(root, options.size)
        store = stack.enter_context(Store(root)) if any(side.cloud for side in wanted) else None
        once = functools.partial(_measure_once, options=options, python=python, root=root, store=store)
        results = turns.measure(wanted, options.runs, once, FAILURES)
    lines = [table.make_line(side, results) for side in wanted]
    remarks = _remarks(options, time.monotonic() - started, store)
    return turns.publish(lines, remarks, table.HEADINGS, "private table" if options.rst else None)


def _parse_arguments() -> argparse.Namespace:
    parser = turns.parser("benchmarks.private", __doc__)
    parser.add_argument("--requests", type=int, default=2000, help="for the small file (default: %(default)s)")
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
    turns.make_file(root / "big.bin", size)


def _measure_once(side: Side, *, options, python: str, root: Path, store: Store | None) -> dict[str, float]:
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
    with turns.spending(stand.application.pid) as spent:
        seconds = ask_many(stand.url, target, count, THREADS, SMALL)
    return {"rate": count / seconds, "small_cpu": spent["cpu"] / count}


def _big(stand: Stand, size: int) -> dict[str, float]:
    with contextlib.closing(Client(stand.url)) as client, turns.spending(stand.application.pid) as spent:
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
