"""A database server, which listens on a socket in its own directory and is gone with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

from .process import READY_TIMEOUT, Server, ServerError

MEMORY = Path("/dev/shm")  # where a database is made in a second that takes five on a disk
ROOM = 512 * 1024**2  # bytes; a container may have very few


class DatabaseServer(Server):
    """A server of one database; ``settings`` are what DATABASES has for it."""

    user: ClassVar[str]  # of the system: these servers refuse to run as root

    @property
    def settings(self) -> dict[str, Any]:
        """Return ENGINE, NAME and how to connect."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether the server answers by now."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop the server by its own means first: killed, it would leave shared memory behind."""
        for process in self._processes:
            process.send_signal(signal.SIGQUIT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
        super().stop()

    def _prepare_directory(self) -> None:
        if self._given is None and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
            self.directory = Path(tempfile.mkdtemp(prefix=f"{self.name.lower()}-", dir=MEMORY))
        else:
            super()._prepare_directory()
        if os.geteuid() == 0:
            shutil.chown(self.directory, self.user)

    def _as_user(self, *argv: str) -> list[str]:
        """Return the command that runs ``argv`` as somebody who is not root."""
        if os.geteuid() != 0:
            return list(argv)
        return ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups", *argv]

    def _answers(self, *argv: str) -> bool:
        return subprocess.run(argv, check=False, capture_output=True, timeout=30).returncode == 0

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        while not self.is_ready():
            if any(process.poll() is not None for process in self._processes):
                raise ServerError(f"{self.name} exited\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name} is not ready\n{self.log_tail()}")
            time.sleep(0.05)


def newest(pattern: str) -> str | None:
    """Return the last of the programs that ``pattern`` matches, by the numbers in their paths."""
    found = Path("/").glob(pattern.lstrip("/"))
    return max(
        map(str, found), key=lambda path: [int(part) for part in path.split("/") if part.isdigit()], default=None
    )
