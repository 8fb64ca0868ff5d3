"""Web servers in front of the application, as fixtures: what they share."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from typing import ClassVar

from .process import HOST, READY_TIMEOUT, Server, ServerError, find_program


class Front(Server):
    """A web server that hands every request on to the application on ``application`` (a port)."""

    program: ClassVar[str]
    package: ClassVar[str]

    def __init__(self, application: int, config: str = "", directory: str | os.PathLike[str] | None = None):
        super().__init__(directory)
        self.application = application
        self.config = config

    @classmethod
    def unavailable(cls) -> str | None:
        return None if find_program(cls.program) else f"no program {cls.program!r}; apt-get install {cls.package}"

    @classmethod
    def version(cls) -> str:
        done = subprocess.run([str(find_program(cls.program)), "-v"], check=False, capture_output=True, text=True)
        found = re.search(r"/(\d+\.\d+[\d.]*)", done.stdout + done.stderr)
        return found[1] if found else "unknown version"

    @property
    def url(self) -> str:
        return self.endpoint_url

    @property
    def log(self) -> str:
        """All that the server has written of requests and errors."""
        return "\n".join(path.read_text("utf-8", "replace") for path in sorted(self.directory.glob("*.log")))

    def _prepare_directory(self) -> None:
        super()._prepare_directory()
        self.directory.chmod(0o755)  # who starts as root serves as somebody else

    @staticmethod
    def as_root() -> bool:
        return os.geteuid() == 0

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        while True:
            for process in self._processes:
                if process.poll() is not None:
                    raise ServerError(f"{self.name} exited with {process.returncode}\n{self.log_tail()}")
            with socket.socket() as probe:
                if not probe.connect_ex((HOST, self.port)):
                    return
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name} is not ready\n{self.log_tail()}")
            time.sleep(0.02)
