"""The servers of one side: the application and what stands in front of it, started anew for each run."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from tests.servers.apache import Apache
from tests.servers.lighttpd import Lighttpd
from tests.servers.nginx import Nginx
from tests.servers.process import HOST, READY_TIMEOUT, Server, ServerError, free_ports

from .sides import DJANGO, INTERNAL, OURS, PRIVATE, SENDFILE, Side

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
SITE = "serving_site"
THREADS = 4
COMMANDS = {
    "gunicorn": (
        *("-m", "gunicorn", f"{SITE}:wsgi", "--worker-class", "gthread", "--threads", str(THREADS)),
        *("--keep-alive", "30", "--log-level", "warning", "--no-control-socket", "--bind", "{host}:{port}"),
    ),
    "uvicorn": (
        *("-m", "uvicorn", f"{SITE}:asgi", "--no-access-log", "--log-level", "warning", "--timeout-keep-alive", "30"),
        *("--lifespan", "off", "--host", "{host}", "--port", "{port}"),
    ),
}
PEERS_LOCATION = "location %s { internal; alias %s/; }"


class Application(Server):
    """The site of a side on its WSGI or ASGI server; ``pid`` is of the process that serves."""

    name = "application"

    def __init__(self, python: str, side: Side, task: dict[str, Any]):
        super().__init__()
        self.python, self.side, self.task = python, side, task
        self.pid = 0

    @classmethod
    def unavailable(cls) -> str | None:
        return None

    def environment(self) -> dict[str, str]:
        """Return the environment: our tree for ours alone, since django-storages is imported by the same name."""
        paths = [str(HERE), *([str(REPOSITORY)] if self.side.package == OURS else [])]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
        more = {"PYTHONPATH": os.pathsep.join(paths), "BENCHMARK_SITE": json.dumps(self.task)}
        return {**kept, **more, "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull}

    def _launch(self) -> None:
        (self.port,) = free_ports(1)
        command = [part.format(host=HOST, port=self.port) for part in COMMANDS[self.side.server]]
        values = [f"{name}={value}" for name, value in self.environment().items()]
        self._spawn("/usr/bin/env", "-i", *values, self.python, *command, log="application.log")

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        while not self.pid:
            if self._processes[-1].poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"{self.side.id} does not serve\n{self.log_tail()}")
            time.sleep(0.05)
            with contextlib.suppress(OSError, HTTPException):
                self.pid = int(self._ask("/process"))

    def _ask(self, target: str) -> bytes:
        with contextlib.closing(HTTPConnection(HOST, self.port, timeout=5)) as connection:
            connection.request("GET", target)
            return connection.getresponse().read()

    def locations(self) -> str:
        """Return what nginx is told of our files, as a user gets it."""
        command = [self.python, str(HERE / f"{SITE}.py")]
        environment = self.environment()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServerError(done.stderr[-2000:])
        return done.stdout


class Stand:
    """All processes of a side; ``url`` is where the client asks."""

    def __init__(self, application: Application, front: Server | None):
        self.application = application
        self.url = (front or application).endpoint_url
        self._servers = [server for server in (application, front) if server]

    def processes(self) -> Iterator[int]:
        """Yield the id of each process."""
        groups = {process.pid for server in self._servers for process in server._processes}
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.getpgid(int(path.name)) in groups:
                    yield int(path.name)

    def read_from_files(self) -> int:
        """Return how many bytes all processes have read from files so far, sendfile() included."""
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
                total += int(fields["rchar"])
        return total


@contextlib.contextmanager
def standing(python: str, side: Side, root: Path, cloud: dict[str, str]) -> Iterator[Stand]:
    """Start the servers of a side over the files in ``root``, or over those of a bucket. Raises ServerError."""
    task = {"view": side.view, "root": str(root), "apps": side.apps, "settings": _settings(side, root, cloud)}
    with contextlib.ExitStack() as stack:
        application = stack.enter_context(Application(python, side, task))
        front = _front(side, application, root)
        yield Stand(application, stack.enter_context(front) if front else None)


def _front(side: Side, application: Application, root: Path) -> Server | None:
    if side.front == "nginx":
        ours = side.package == OURS
        return Nginx(application.port, application.locations() if ours else PEERS_LOCATION % (INTERNAL, root))
    if side.front == "apache":
        return Apache(application.port, f"XSendFile On\nXSendFilePath {root}")
    return Lighttpd(application.port, f'"{root}"') if side.front else None


def _settings(side: Side, root: Path, cloud: dict[str, str]) -> dict[str, Any]:
    settings = dict(side.settings)
    if side.package == SENDFILE:
        settings["SENDFILE_ROOT"] = str(root)
    if not side.cloud:
        return settings
    if side.package == PRIVATE:
        settings["PRIVATE_STORAGE_CLASS"] = "private_storage.storage.s3boto3.PrivateS3BotoStorage"
        names = {
            "access_key": "S3_ACCESS_KEY_ID",
            "secret_key": "S3_SECRET_ACCESS_KEY",
            "endpoint_url": "S3_ENDPOINT_URL",
            "region_name": "S3_REGION_NAME",
            "bucket_name": "STORAGE_BUCKET_NAME",
        }
        return {**settings, **{f"AWS_PRIVATE_{name}": cloud[option] for option, name in names.items()}}
    alias, backend = {
        OURS: ("private", "storages.private.storage.PrivateS3Storage"),
        DJANGO: ("default", "storages.backends.s3.S3Storage"),
    }[side.package]
    return {**settings, "STORAGES": {alias: {"BACKEND": backend, "OPTIONS": cloud}}}
