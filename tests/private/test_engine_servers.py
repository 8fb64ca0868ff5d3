"""Large files through real servers: what is held in memory, what happens when the client or the storage goes away."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import struct
import time

import django
import pytest

from storages.private.responses import CHUNK_SIZE
from tests.conftest import running
from tests.servers.gunicorn import Gunicorn
from tests.servers.process import HOST
from tests.servers.uvicorn import Uvicorn

KIB, MIB, GIB = 1024, 1024**2, 1024**3
SITE = "tests.private.engine_site"


class ServerCases:
    """The cases; a class for each server."""

    @pytest.fixture(scope="class")
    @classmethod
    def service(cls, pytestconfig, tmp_path_factory):
        directory = tmp_path_factory.mktemp("files")
        with (directory / "1.bin").open("wb") as file:
            os.truncate(file.fileno(), GIB)
        yield from running(cls.make_server(ENGINE_SITE_FILES=str(directory)), pytestconfig)

    @pytest.fixture
    def get(self, service):
        """Return a function that asks for a path and gives the answer, not yet read."""
        with contextlib.ExitStack() as stack:

            def get(path, **headers):
                connection = http.client.HTTPConnection(HOST, service.port, timeout=60)
                stack.callback(connection.close)
                headers = {name.replace("_", "-"): value for name, value in headers.items()}
                connection.request("GET", path, headers=headers)
                return connection.getresponse()

            yield get

    @pytest.fixture
    def seen(self, get):
        return lambda: json.load(get("/seen"))

    @pytest.mark.threat("T-11")
    @pytest.mark.parametrize(
        ("path", "headers", "status", "size"),
        [
            ("/files/pattern/1.bin", {}, 200, GIB),
            ("/files/disk/1.bin", {}, 200, GIB),
            ("/files/disk/1.bin", {"Range": "bytes=1-"}, 206, GIB - 1),
            ("/files/pattern/3.bin", {"Range": f"bytes=1000-{2 * GIB + 999}"}, 206, 2 * GIB),
        ],
    )
    def test_large_answer_takes_no_memory(self, get, seen, path, headers, status, size):
        get(path, Range="bytes=0-9999999").read()
        before = seen()["peak"]
        answer = get(path, **headers)
        buffer, received = memoryview(bytearray(MIB)), 0
        while count := answer.readinto(buffer):
            received += count
        assert (answer.status, received) == (status, size)
        assert seen()["peak"] - before < 32 * MIB

    @pytest.mark.threat("T-12")
    @pytest.mark.parametrize("value", ["", "bytes=5-", "bytes=0-900000000,900001000-"])
    @pytest.mark.parametrize("storage", ["pattern", "disk"])
    def test_client_that_leaves_takes_the_stream_along(self, service, seen, storage, value):
        before = seen()
        with socket.create_connection((HOST, service.port), timeout=30) as client:
            header = f"Range: {value}\r\n" if value else ""
            client.sendall(f"GET /files/{storage}/1.bin HTTP/1.1\r\nHost: a\r\n{header}\r\n".encode())
            received = 0
            while received < MIB:
                received += len(client.recv(64 * KIB))
            stalled = self.stalled(seen)
            # A slow client gets no more held for it than the system's buffers.
            assert stalled["read"] - before["read"] - received < 16 * MIB
            assert (stalled["bodies"], stalled["files"]) == ((1, 0) if storage == "pattern" else (0, 1))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        after = self.waited_for(seen, lambda now: (now["bodies"], now["files"]) == (0, 0))
        assert (after["bodies"], after["files"]) == (0, 0)
        time.sleep(0.2)
        assert seen()["read"] - stalled["read"] <= 2 * CHUNK_SIZE

    def stalled(self, seen):
        """Wait until nothing is read any more: all buffers on the way are full."""
        reads = []
        for _ in range(200):
            reads.append(seen())
            if len(reads) > 3 and reads[-1]["read"] == reads[-4]["read"]:
                return reads[-1]
            time.sleep(0.15)
        raise AssertionError("the server goes on reading for a client that takes nothing")

    def waited_for(self, seen, condition):
        deadline = time.monotonic() + 10
        while not condition(now := seen()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return now

    @pytest.mark.parametrize("path", ["/files/breaking/1.bin", "/files/packed/1.bin"])
    @pytest.mark.parametrize("value", ["bytes=0-", ""])
    def test_storage_that_breaks_off_breaks_the_connection(self, get, seen, path, value):
        answer = get(path, **({"Range": value} if value else {}))
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
        assert self.waited_for(seen, lambda now: not now["bodies"])["bodies"] == 0

    def test_head_and_conditions_are_answered_without_a_body(self, service, seen):
        before = seen()["read"]
        connection = http.client.HTTPConnection(HOST, service.port, timeout=30)
        with contextlib.closing(connection):
            for method, headers, status in [
                ("HEAD", {}, 200),
                ("GET", {"If-None-Match": '"v1"'}, 304),
                ("GET", {"If-Match": '"v0"'}, 412),
                ("GET", {"Range": f"bytes={GIB}-"}, 416),
                ("GET", {"Range": "bytes=-1024"}, 206),
                ("HEAD", {"If-None-Match": '"v1"'}, 304),
            ]:
                connection.request(method, "/files/pattern/1.bin", headers=headers)  # on one connection
                answer = connection.getresponse()
                assert (answer.status, len(answer.read())) == (status, 1024 if status == 206 else 0)
        assert seen()["read"] - before < MIB
        assert seen()["bodies"] == 0


class TestGunicorn(ServerCases):
    backend, server = "private", "gunicorn"

    @staticmethod
    def make_server(**environ):
        return Gunicorn(f"{SITE}:wsgi", **environ)


class TestUvicorn(ServerCases):
    backend, server = "private", "uvicorn"

    @pytest.fixture(autouse=True)
    def _hears_of_disconnects(self, request):
        if django.VERSION < (5,) and request.node.originalname == "test_client_that_leaves_takes_the_stream_along":
            pytest.skip("Django's ASGI handler hears of a disconnect since 5.0")

    @staticmethod
    def make_server(**environ):
        return Uvicorn(f"{SITE}:asgi", **environ)
