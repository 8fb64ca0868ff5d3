"""What the measured processes talk to: one responder per profile, SeaweedFS and OpenSSH."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from .responder import PROFILES

RESPONDER = Path(__file__).with_name("responder.py")
BUCKET = "bench"

S3 = "s3.S3Storage"
BACKENDS = {"sftp": "sftpstorage.SFTPStorage"}  # of the profiles that are not S3's


class Servers:
    """Start each server at its first use; ``close()`` stops them all."""

    def __init__(self, sizes, files):
        self.sizes, self.files = sizes, files
        self._stack = contextlib.ExitStack()
        self._started = {}

    def get(self, profile):
        """Return the options of a storage on the profile's server, with where to ask for counts (None: nowhere)."""
        if profile not in self._started:
            others = {"seaweedfs": self._seaweedfs, "sftp": self._openssh, "refused": self._refused}
            start = others.get(profile, self._responder)
            self._started[profile] = start(profile)
        return self._started[profile]

    def close(self):
        """Stop what was started."""
        self._stack.close()

    def _options(self, endpoint, **more):
        return {
            "bucket_name": BUCKET,
            "access_key": "AKIDTEST",
            "secret_key": "SECRETTEST",
            "region_name": "us-east-1",
            "endpoint_url": endpoint,
            **more,
        }

    def _responder(self, profile):
        certificate = self.files["certificate"] if PROFILES[profile].tls else None
        command = [sys.executable, str(RESPONDER), profile, *(["--certificate", certificate] if certificate else [])]
        process = self._stack.enter_context(_child(command))
        port = int(process.stdout.readline())
        endpoint = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
        self._seed(endpoint, profile)
        return self._options(endpoint, **({"verify": certificate} if certificate else {})), endpoint

    def _seed(self, endpoint, profile):
        seeds = [
            {"key": "big.bin", "size": self.sizes.big},
            {"key": "huge.bin", "size": self.sizes.huge},
            {"key": "photo.jpg", "file": self.files["photo"]},
            {"key": "archive.zip", "file": self.files["archive"]},
        ]
        if profile == "local":
            seeds += [
                {"bucket": "list-5000", "pattern": "f{:06}.txt", "count": 5000, "size": 1000},
                {"bucket": "short-list", "pattern": "f{:06}.txt", "count": self.sizes.short_list, "size": 1000},
                {"bucket": "long-list", "pattern": "f{:06}.txt", "count": self.sizes.long_list, "size": 1000},
                {"bucket": "directories", "pattern": "d{:05}/f.txt", "count": self.sizes.directories, "size": 1000},
            ]
        for seed in seeds:
            self.ask(endpoint, "seed", {"bucket": BUCKET, **seed})

    def ask(self, endpoint, verb, wanted=None):
        """Send one of the benchmark's own requests to a responder."""
        where = urlsplit(endpoint)
        if where.scheme == "https":
            context = ssl.create_default_context(cafile=self.files["certificate"])
            connection = http.client.HTTPSConnection(where.hostname, where.port, context=context)
        else:
            connection = http.client.HTTPConnection(where.hostname, where.port)
        with contextlib.closing(connection):
            connection.request("POST", f"/_bench/{verb}", json.dumps(wanted or {}))
            return json.loads(connection.getresponse().read())

    def _seaweedfs(self, _):
        from tests.servers.seaweedfs import SeaweedFS

        server = self._stack.enter_context(SeaweedFS())
        bucket = server.make_bucket()
        server.client().upload_file(self.files["big"], bucket, "big.bin")
        keys = {"access_key": server.access_key, "secret_key": server.secret_key, "bucket_name": bucket}
        return self._options(server.endpoint_url, **keys), None

    def _openssh(self, _):
        from tests.servers.openssh import OpenSSH

        server = self._stack.enter_context(OpenSSH())
        shutil.copy(self.files["medium"], server.files / "medium.bin")
        known_hosts = server.write_known_hosts(server.directory / "known_hosts", server.host_key())
        params = {
            "port": server.port,
            "username": server.user,
            "key_filename": server.key,
            "allow_agent": False,
            "look_for_keys": False,
        }
        # Without a root, the peer looks for the parents of "" without an end.
        root = str(server.files)
        return {"host": "127.0.0.1", "root_path": root, "params": params, "known_host_file": str(known_hosts)}, None

    def _refused(self, _):
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            return self._options(f"http://127.0.0.1:{nobody.getsockname()[1]}"), None


@contextlib.contextmanager
def _child(command):
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def make_certificate(path):
    """Write a key and a certificate for 127.0.0.1 into one PEM file."""
    from tests.servers.certificates import write_certificate

    certificate, key = Path(path), Path(f"{path}.key")
    write_certificate(certificate, key)
    certificate.write_bytes(key.read_bytes() + certificate.read_bytes())


def measure_floor(endpoint, size):
    """Return what the responder itself can do, asked over a bare socket: requests and bytes per second."""
    where = urlsplit(endpoint)
    body = bytes(10 * 1024)
    get = b"GET /bench/big.bin HTTP/1.1\r\nRange: bytes=0-1023\r\n\r\n"
    put = b"PUT /bench/floor HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    floor = {}
    with socket.create_connection((where.hostname, where.port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for name, request, answer in (("GET of 1 KiB", get, 1024), ("PUT of 10 KiB", put, 0)):
            floor[name] = f"{2000 / _timed(2000, _ask, sock, request, answer):,.0f}/s"
        whole = b"GET /bench/big.bin HTTP/1.1\r\n\r\n"
        floor["GET stream"] = f"{size / _timed(1, _ask, sock, whole, size) / 1e6:,.0f} MB/s"
    return floor


def _timed(count, function, *arguments):
    start = time.perf_counter()
    for _ in range(count):
        function(*arguments)
    return time.perf_counter() - start


def _ask(sock, request, size):
    """Send one request and read its answer, whose body has ``size`` bytes."""
    sock.sendall(request)
    start = sock.recv(65536)
    remaining = size - (len(start) - start.index(b"\r\n\r\n") - 4)
    buffer = bytearray(min(remaining, 1024**2)) if remaining > 0 else b""
    while remaining > 0:
        remaining -= sock.recv_into(buffer)
