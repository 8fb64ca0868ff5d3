"""A server made of child processes that never outlive their owner."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from typing_extensions import Self

HOST = "127.0.0.1"
READY_TIMEOUT = 120  # seconds; a start takes under 20, and has taken 80 on two cores with a load of 7
ATTEMPTS = 3  # a free port may be taken by somebody else before the server binds it

# Runs beside each server and reads a pipe that only we hold open: however we end, SIGKILL included, the pipe closes,
# and the whole process group goes with it.
GUARD = """
exec 3<&0 </dev/null
( trap '' TERM INT HUP; read -r _ <&3; kill -TERM 0; sleep 2; kill -KILL 0 ) &
exec 3<&-
exec "$@"
"""


class ServerError(RuntimeError):
    """A server did not start; the text ends with the last lines of its log."""


class Keys(NamedTuple):
    """What one user of a server signs with."""

    access_key: str
    secret_key: str


def free_ports(count: int) -> list[int]:
    """Return ``count`` ports of 127.0.0.1 that nobody listens on, below those that outgoing connections take."""
    ports: list[int] = []
    # Not the generator that pytest-randomly seeds: every worker of pytest-xdist would get the same ports.
    for port in random.SystemRandom().sample(range(20000, 32000), 2000):
        if len(ports) == count:
            return ports
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                ports.append(port)
    raise ServerError("no free ports between 20000 and 32000")


@contextlib.contextmanager
def installing(home: Path) -> Iterator[None]:
    """Hold the lock on a directory that several test processes may want to fill at once."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_name(f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def npm_install(home: Path, program: Path, *arguments: str, timeout: float) -> None:
    """Install npm's packages into ``home``, whole or not at all, unless ``program`` is there; raises ServerError."""
    with installing(home), tempfile.TemporaryDirectory(dir=home.parent) as directory:
        if program.exists():
            return
        npm = ["npm", "install", "--prefix", directory, "--no-audit", "--no-fund", *arguments]
        try:
            done = subprocess.run(npm, check=False, capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise ServerError(f"npm did not install {home.name} in {timeout:.0f} s") from error
        if done.returncode:
            raise ServerError(f"npm could not install {home.name}: {done.stderr[-2000:]}")
        shutil.rmtree(home, ignore_errors=True)
        Path(directory).rename(home)
        Path(directory).mkdir()


def first_number(*argv: str) -> str:
    """Return the first dotted number that a program prints about itself."""
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=30)
    found = re.search(r"\b\d+\.\d+[\d.]*", done.stdout)
    return found[0] if found else "unknown version"


def find_program(name: str) -> str | None:
    """Return the path of a program beside this Python, else on PATH, else in the administrator's directories."""
    beside = str(Path(sys.executable).parent)
    return shutil.which(name, path=os.pathsep.join([beside, os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))


class Server:
    """One S3 server: ``with Server() as server`` starts and stops it.

    Its data and logs go into ``directory``, new and empty, where they stay; by default into one that goes with it.
    """

    name: ClassVar[str]
    region: ClassVar[str] = "us-east-1"

    admin = Keys("AKIDTEST", "SECRETTEST")
    restricted = Keys("AKIDRESTRICTED", "SECRETRESTRICTED")  # may get, put and delete objects, but not list them
    stranger = Keys("AKIDSTRANGER", "SECRETSTRANGER")  # is known and may do nothing

    def __init__(self, directory: str | os.PathLike[str] | None = None):
        self._given = Path(directory).absolute() if directory else None
        self._processes: list[subprocess.Popen[bytes]] = []
        self._client: Any = None
        self._session: Any = None
        self.directory = self._given or Path()
        self.port = 0

    @classmethod
    def unavailable(cls) -> str | None:
        """Return why this server cannot start on this machine, or None."""
        raise NotImplementedError

    @classmethod
    def version(cls) -> str:
        """Return the version of the server's program, as it says itself."""
        raise NotImplementedError

    def _launch(self) -> None:
        """Start every process, with the S3 port at ``self.port``."""
        raise NotImplementedError

    @property
    def endpoint_url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def access_key(self) -> str:
        return self.admin.access_key

    @property
    def secret_key(self) -> str:
        return self.admin.secret_key

    def start(self) -> None:
        """Start the server and wait until it stores an object; raises ServerError."""
        if reason := self.unavailable():
            raise ServerError(f"{self.name} cannot start: {reason}")
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._prepare_directory()
                self._launch()
                self._await_ready()
                return
            except ServerError:
                self.stop()
                if attempt == ATTEMPTS:
                    raise
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """Stop every process for certain, last started first; remove the data unless its directory was given."""
        if self._client is not None:
            self._client.close()
            self._client = None
        while self._processes:
            _end_group(self._processes.pop())
        if self._given is None and self.directory != Path():
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def client(self, keys: Keys | None = None, endpoint_url: str | None = None, **config: Any) -> Any:
        """Return a new boto3 client, path style, that signs as ``keys`` (default: the administrator)."""
        import boto3
        from botocore.config import Config

        keys = keys or self.admin
        # Its loader keeps what it reads: the second client takes a tenth of the time and of the memory.
        self._session = self._session or boto3.session.Session()
        defaults: dict[str, Any] = {
            "signature_version": "s3v4",
            "s3": {"addressing_style": "path"},
            "connect_timeout": 5,
            "read_timeout": 30,
            "retries": {"mode": "standard", "max_attempts": 3},
            "proxies": {},  # a proxy in the environment is not for 127.0.0.1
        }
        return self._session.client(
            "s3",
            endpoint_url=endpoint_url or self.endpoint_url,
            region_name=self.region,
            aws_access_key_id=keys.access_key,
            aws_secret_access_key=keys.secret_key,
            config=Config(**{**defaults, **config}),
        )

    def make_bucket(self) -> str:
        """Create a bucket with a fresh name and return the name."""
        if self._client is None:
            self._client = self.client()
        bucket = f"test-{uuid.uuid4().hex[:16]}"
        self._client.create_bucket(Bucket=bucket)
        return bucket

    def _prepare_directory(self) -> None:
        self.directory = self._given or Path(tempfile.mkdtemp(prefix=f"{self.name.lower().replace(' ', '-')}-"))
        self.directory.mkdir(parents=True, exist_ok=True)

    def _spawn(self, *argv: str, log: str) -> subprocess.Popen[bytes]:
        """Start one process in a group of its own, guarded, with its output in ``log``."""
        with (self.directory / log).open("ab") as output:
            process = subprocess.Popen(
                ["/bin/sh", "-c", GUARD, "guard", *argv],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=self.directory,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def _run(self, *argv: str, timeout: float = 30) -> str:
        """Run a command to its end and return its output; raises ServerError."""
        try:
            done = subprocess.run(
                argv, check=False, cwd=self.directory, capture_output=True, text=True, timeout=timeout
            )
        except subprocess.TimeoutExpired as error:
            raise ServerError(f"{self.name}: {Path(argv[0]).name} did not end in {timeout:.0f} s") from error
        if done.returncode:
            raise ServerError(f"{self.name}: {Path(argv[0]).name} exited with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    def _await_ready(self) -> None:
        """Wait until a bucket can be made and an object be put into it; an open port is not enough."""
        from botocore.exceptions import BotoCoreError, ClientError

        deadline = time.monotonic() + READY_TIMEOUT
        with contextlib.closing(self.client(retries={"total_max_attempts": 1}, read_timeout=15)) as client:
            while True:
                for process in self._processes:
                    if process.poll() is not None:
                        raise ServerError(f"{self.name} exited with {process.returncode}\n{self.log_tail()}")
                try:
                    self._probe(client)
                    return
                except (BotoCoreError, ClientError) as error:
                    if time.monotonic() > deadline:
                        raise ServerError(f"{self.name} is not ready: {error}\n{self.log_tail()}") from error
                    time.sleep(0.1)

    def _probe(self, client: Any) -> None:
        bucket = "ready-probe"
        with contextlib.suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=bucket)
        client.put_object(Bucket=bucket, Key="ready", Body=b"an empty body would not need a volume")
        client.delete_object(Bucket=bucket, Key="ready")
        client.delete_bucket(Bucket=bucket)

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of every log, each with its file's name."""
        tails = []
        for path in sorted(self.directory.glob("*.log")):
            text = path.read_text("utf-8", "replace").splitlines()[-lines:]
            tails += [f"{path.name}: {line}" for line in text]
        return "\n".join(tails)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a guarded process and all that it started, at once: nobody reads its data again."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin:
        process.stdin.close()


def serve(cls: type[Server]) -> int:
    """Run one server by hand until Ctrl-C; ``python -m tests.servers.<module>``."""
    if reason := cls.unavailable():
        print(f"{cls.name}: {reason}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt), cls() as server:
        print(f"{server.name} at {server.endpoint_url}")
        print(f"access key {server.access_key}, secret key {server.secret_key}, region {server.region}")
        print(f"data in {server.directory}; Ctrl-C stops it", flush=True)
        signal.pause()
    return 0
