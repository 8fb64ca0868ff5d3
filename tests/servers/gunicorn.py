"""gunicorn, with an application of a test in one process."""

from __future__ import annotations

import http.client
import importlib.metadata
import importlib.util
import os
import sys
import time
from pathlib import Path

from .process import HOST, READY_TIMEOUT, Server, ServerError, free_ports

ROOT = Path(__file__).resolve().parents[2]


class AppServer(Server):
    """A server of ``module:application``; ``environ`` is added to its environment."""

    package: str

    def __init__(self, application: str, **environ: str):
        super().__init__()
        self._application = application
        self._environ = environ

    @classmethod
    def unavailable(cls) -> str | None:
        return None if importlib.util.find_spec(cls.package) else f"{cls.package} is not installed: pip install it"

    @classmethod
    def version(cls) -> str:
        return importlib.metadata.version(cls.package)

    def _launch(self) -> None:
        (self.port,) = free_ports(1)
        python = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        given = [f"{name}={value}" for name, value in {**self._environ, "PYTHONPATH": python}.items()]
        # What pytest turns on would be measured as ours.
        clean = ["env", "-u", "PYTHONDEVMODE", "-u", "PYTHONWARNINGS", *given]
        self._spawn(*clean, sys.executable, "-m", *self._arguments(), log=f"{self.package}.log")

    def _arguments(self) -> list[str]:
        """Return what follows ``python -m``."""
        raise NotImplementedError

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        while True:
            if any(process.poll() is not None for process in self._processes):
                raise ServerError(f"{self.name} exited\n{self.log_tail()}")
            connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
            try:
                connection.request("GET", "/")
                connection.getresponse().read()
                return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise ServerError(f"{self.name} is not ready: {error}\n{self.log_tail()}") from error
                time.sleep(0.1)
            finally:
                connection.close()


class Gunicorn(AppServer):
    """gunicorn with one worker of eight threads."""

    name = "gunicorn"
    package = "gunicorn"

    def _arguments(self) -> list[str]:
        bind = f"{HOST}:{self.port}"
        threads = ["--workers", "1", "--worker-class", "gthread", "--threads", "8"]
        return ["gunicorn", "--bind", bind, *threads, "--no-control-socket", self._application]
