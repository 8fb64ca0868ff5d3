"""The site of one side on its WSGI or ASGI server, started anew for each run, and what its process spends."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.private.stand import COMMANDS, REPOSITORY, Application
from benchmarks.private.stand import SITE as SERVING_SITE
from tests.servers.process import HOST, ServerError, free_ports

HERE = Path(__file__).parent
SITE = "uploading_site"


class Side(NamedTuple):
    """One way of a file into the storage."""

    id: str  # on the command line
    what: str
    server: str
    kinds: tuple[str, ...] | None  # of the protocol; None: a form


SIDES = [
    Side(f"{name}:{server}", what, server, kinds)
    for server in ("gunicorn", "uvicorn")
    for name, what, kinds in (
        ("form", "FileField, a form post", None),
        ("ours:multipart", "DirectUploadField, signed parts", ("multipart",)),
        ("ours:tus", "DirectUploadField, through the site (tus)", ("tus",)),
    )
]


class Site(Application):
    """The site of a side, with a database of its own; ``pid`` is of the process that serves."""

    def __init__(self, python: str, side: Side, directory: Path, storage: dict[str, Any]):
        task = {"database": str(directory / "site.sqlite3"), "directory": str(directory), "storage": storage}
        super().__init__(python, side, task)  # type: ignore[arg-type]  # it reads what both kinds of side have

    def counted(self) -> dict[str, int]:
        """Return the requests so far, and the bytes of their bodies."""
        return json.loads(self._ask("/counted"))

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
        more = {"PYTHONPATH": os.pathsep.join([str(HERE), str(REPOSITORY)]), "BENCHMARK_SITE": json.dumps(self.task)}
        return {**kept, **more, "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull}

    def _launch(self) -> None:
        made = [self.python, str(HERE / f"{SITE}.py")]
        done = subprocess.run(made, env=self.environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServerError(done.stderr[-2000:])
        (self.port,) = free_ports(1)
        command = [
            part.format(host=HOST, port=self.port).replace(SERVING_SITE, SITE) for part in COMMANDS[self.side.server]
        ]
        if self.side.server == "gunicorn":
            command += ["--timeout", "600"]  # seconds that one request may take
        values = [f"{name}={value}" for name, value in self.environment().items()]
        self._spawn("/usr/bin/env", "-i", *values, self.python, *command, log="application.log")
