"""Measure uploads of one big file to S3: by the protocol past the site, through it, and in an ordinary form."""

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
from typing import Any

from benchmarks import environment, turns
from benchmarks.responder import BLOCK
from benchmarks.rows import MIB
from tests.servers.process import ServerError
from tests.servers.seaweedfs import SeaweedFS

from . import table
from .browser import Browser
from .stand import SIDES, Side, Site

PART = 16 * MIB  # of UPLOADS_PART_SIZE by default


def main() -> int:
    """Measure the wanted sides; exit with 1 where ours misses a goal that is a count."""
    options = turns.parser("benchmarks.uploads", __doc__).parse_args()
    started = time.monotonic()
    wanted = turns.chosen(SIDES, options)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory, contextlib.ExitStack() as stack:
        path = Path(directory, "big.bin")
        turns.make_file(path, options.size)
        browser = Browser()
        browser.start()
        stack.callback(browser.stop)
        once = functools.partial(_measure_once, path=path, browser=browser)
        results = turns.measure(wanted, options.runs, once, (OSError, ValueError, ServerError, browser.failure))
        remarks = _remarks(options, time.monotonic() - started, browser)
    lines = [table.make_line(side, results[side.id]) for side in wanted]
    return turns.publish(lines, remarks, table.HEADINGS, "uploads table" if options.rst else None)


def _measure_once(side: Side, *, path: Path, browser: Browser) -> dict[str, float]:
    """Upload to a server of its own: what is deleted in SeaweedFS stays on the disk for a while."""
    size = path.stat().st_size
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-site-")))
        store = stack.enter_context(SeaweedFS())
        bucket = store.make_bucket()
        site = stack.enter_context(Site(sys.executable, side, directory, _options(store, bucket)))
        _let_in(store, bucket, site)
        # What happens once in a process is no part of it.
        small = directory / "small.bin"
        small.write_bytes(BLOCK[:MIB])
        browser.form(site.endpoint_url, small)
        before = site.counted()
        with turns.spending(site.pid) as spent:
            started = time.perf_counter()
            if side.kinds is None:
                arrived = browser.form(site.endpoint_url, path)
            else:
                arrived = browser.direct(site.endpoint_url, path, side.kinds)
            seconds = time.perf_counter() - started
        counted = {name: count - before[name] for name, count in site.counted().items()}
    if arrived != size:
        raise ValueError(f"{arrived} bytes arrived, not {size}")
    return {"size": size, "parts": -(-size // PART), "seconds": seconds, **spent, **counted}


def _let_in(store: SeaweedFS, bucket: str, site: Site) -> None:
    rule = {"AllowedOrigins": [site.endpoint_url], "AllowedMethods": ["PUT"], "AllowedHeaders": ["*"]}
    store.client().put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})


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


def _remarks(options: argparse.Namespace, seconds: float, browser: Browser) -> list[str]:
    wanted = ("Django", "boto3", "gunicorn", "uvicorn")
    versions = ", ".join(f"{name} {version}" for name, version in environment.versions().items() if name in wanted)
    load = f"{options.size} MiB; median of {options.runs}; the browser runs on the same cores."
    around = f"{SeaweedFS.name} {SeaweedFS.version()}, {browser.name} {browser.version()}"
    return [
        f"Python {platform.python_version()}, {versions}, {around}.",
        f"{os.cpu_count()} cores, {platform.system()}; {seconds / 60:.1f} minutes; {load}",
    ]


if __name__ == "__main__":
    sys.exit(main())
