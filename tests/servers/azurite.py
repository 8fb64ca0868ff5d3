"""Azurite, Microsoft's emulator of Azure Blob Storage: from npm, no root, one second."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from .process import HOST, Server, ServerError, free_ports, npm_install, serve

HOME = Path(__file__).resolve().parents[2] / ".servers" / "azurite"
PACKAGE = HOME / "node_modules" / "azurite"
PROGRAM = HOME / "node_modules" / ".bin" / "azurite-blob"
INSTALL_TIMEOUT = 600  # seconds; 374 packages


class Azurite(Server):
    """Azurite with real shared keys, SAS and conditions. It does not know delegation keys over plain HTTP."""

    name = "Azurite"
    account = "account1"
    account_key = base64.b64encode(b"the key of a test account, 64 bytes long as those of Azure are.").decode()

    @classmethod
    def unavailable(cls) -> str | None:
        if not shutil.which("node"):
            return "no program 'node'; apt-get install nodejs npm"
        return None if PROGRAM.exists() or shutil.which("npm") else "no program 'npm'; apt-get install npm"

    @classmethod
    def version(cls) -> str:
        return json.loads((PACKAGE / "package.json").read_text())["version"]

    @property
    def endpoint_url(self) -> str:
        return f"http://{HOST}:{self.port}/{self.account}"

    @property
    def access_key(self) -> str:
        return self.account

    @property
    def secret_key(self) -> str:
        return self.account_key

    def connection_string(self, endpoint_url: str | None = None, account_key: str | None = None) -> str:
        """Return the connection string of the account, over a proxy's address or with another key if given."""
        key = account_key or self.account_key
        return f"AccountName={self.account};AccountKey={key};BlobEndpoint={endpoint_url or self.endpoint_url}"

    def client(self, *arguments: Any, **options: Any) -> Any:
        """Return a new BlobServiceClient of the SDK."""
        from azure.storage.blob import BlobServiceClient

        return BlobServiceClient.from_connection_string(self.connection_string(), retry_total=0, **options)

    def make_bucket(self) -> str:
        """Create a container with a fresh name and return the name."""
        if self._client is None:
            self._client = self.client()
        container = f"test-{uuid.uuid4().hex[:16]}"
        self._client.create_container(container)
        return container

    def _launch(self) -> None:
        npm_install(HOME, PROGRAM, "azurite", timeout=INSTALL_TIMEOUT)
        (self.port,) = free_ports(1)
        # Without skipApiVersionCheck it refuses every SDK newer than itself; telemetry looks for a host outside.
        self._spawn(
            *("env", f"AZURITE_ACCOUNTS={self.account}:{self.account_key}"),
            *(str(PROGRAM), "--silent", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence"),
            *("--blobHost", HOST, "--blobPort", str(self.port)),
            log="azurite.log",
        )

    def _await_ready(self) -> None:
        from azure.core.exceptions import AzureError

        deadline = time.monotonic() + 60
        with contextlib.closing(self.client(connection_timeout=5, read_timeout=15)) as client:
            while True:
                for process in self._processes:
                    if process.poll() is not None:
                        raise ServerError(f"{self.name} exited with {process.returncode}\n{self.log_tail()}")
                try:
                    client.create_container("ready-probe").delete_container()
                    return
                except AzureError as error:
                    if time.monotonic() > deadline:
                        raise ServerError(f"{self.name} is not ready: {error}\n{self.log_tail()}") from error
                    time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(serve(Azurite))
