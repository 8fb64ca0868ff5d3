"""OpenSSH's sshd, for SFTP only, with a key of its own and one account: whoever runs the tests."""

from __future__ import annotations

import contextlib
import getpass
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .process import HOST, READY_TIMEOUT, Server, ServerError, find_program, free_ports

CONFIG = """
Port {port}
ListenAddress {host}
HostKey {directory}/host_ed25519
HostKey {directory}/host_rsa
PidFile none
AuthorizedKeysFile {directory}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
Subsystem sftp internal-sftp
ForceCommand internal-sftp -d {directory}/files
"""
RUN_DIRECTORY = Path("/run/sshd")  # sshd wants it when it is started as root


class OpenSSH(Server):
    """An SFTP server whose sessions begin in ``files``."""

    name = "OpenSSH"

    @classmethod
    def unavailable(cls) -> str | None:
        missing = next((name for name in ("sshd", "ssh-keygen") if not find_program(name)), None)
        return f"no program {missing!r}; apt-get install openssh-server" if missing else None

    @classmethod
    def version(cls) -> str:
        done = subprocess.run([str(find_program("sshd")), "-V"], check=False, capture_output=True, text=True)
        return (done.stderr or done.stdout).partition(",")[0].removeprefix("OpenSSH_").strip()

    @property
    def files(self) -> Path:
        return self.directory / "files"

    @property
    def user(self) -> str:
        return getpass.getuser()

    @property
    def weak_user(self) -> str:
        """An account that may not write where another one has forbidden it: not root."""
        return "nobody" if self.user == "root" else self.user

    @property
    def key(self) -> str:
        """The private key that opens the accounts."""
        return str(self.directory / "user")

    @property
    def strange_key(self) -> str:
        """A private key that does not."""
        return str(self.directory / "stranger")

    def host_key(self, kind: str = "ed25519") -> str:
        """Return a public key of the server, without the comment."""
        return " ".join((self.directory / f"host_{kind}.pub").read_text().split()[:2])

    def write_known_hosts(self, path: Path, key: str, port: int | None = None) -> Path:
        """Write a file in which ``key`` is the server's."""
        path.write_text(f"[{HOST}]:{port or self.port} {key}\n")
        return path

    def clean(self) -> None:
        """Remove all files and directories, but for the one in which open sessions stand."""
        for path in self.files.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def _launch(self) -> None:
        if not RUN_DIRECTORY.is_dir() and self.user == "root":
            RUN_DIRECTORY.mkdir()
        for name, kind in {"host_ed25519": "ed25519", "host_rsa": "rsa", "user": "ed25519", "stranger": "rsa"}.items():
            path = self.directory / name
            if not path.exists():
                self._run(str(find_program("ssh-keygen")), "-q", "-t", kind, "-N", "", "-f", str(path))
        (self.directory / "authorized_keys").write_bytes((self.directory / "user.pub").read_bytes())
        self.directory.chmod(0o755)
        self.files.mkdir(exist_ok=True)
        self.port = free_ports(1)[0]
        config = self.directory / "sshd_config"
        config.write_text(CONFIG.format(host=HOST, port=self.port, directory=self.directory))
        self._spawn(str(find_program("sshd")), "-D", "-e", "-f", str(config), log="sshd.log")

    def _await_ready(self) -> None:
        await_banner(self, b"SSH-")


def await_banner(server: Any, beginning: bytes, secure: Callable[[Any], Any] | None = None) -> None:
    """Wait until a server greets a client, whose socket ``secure`` may wrap; raises ServerError."""
    deadline = time.monotonic() + READY_TIMEOUT
    while True:
        for process in server._processes:
            if process.poll() is not None:
                raise ServerError(f"{server.name} exited with {process.returncode}\n{server.log_tail()}")
        try:
            with socket.create_connection((HOST, server.port), 5) as client, contextlib.ExitStack() as stack:
                greeted = stack.enter_context(secure(client)) if secure else client
                if greeted.recv(256).startswith(beginning):
                    return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise ServerError(f"{server.name} is not ready\n{server.log_tail()}")
        time.sleep(0.05)


def serve() -> int:
    """Run the server by hand until Ctrl-C."""
    import signal

    with OpenSSH() as server:
        print(f"sftp -P {server.port} -i {server.key} {server.user}@{HOST}; files in {server.files}", flush=True)
        signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(serve())
