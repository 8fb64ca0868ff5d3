"""tus through real servers: what is held in memory, what a broken connection leaves, who wins of two."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import time

import pytest

from tests.conftest import running
from tests.servers.gunicorn import Gunicorn
from tests.servers.process import HOST
from tests.servers.uvicorn import Uvicorn

MIB = 1024**2
PIECE = os.urandom(MIB)


class Cases:
    """The cases; a class for each server."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, pytestconfig, tmp_path_factory):
        cls.files = tmp_path_factory.mktemp("site")
        yield from running(cls.make_server(TUS_SITE_FILES=str(cls.files)), pytestconfig)

    @pytest.fixture
    def begin(self, site):
        """Return a function that begins an upload of so many bytes: it gives its path, and the headers it needs."""
        answer = self.ask(site, "GET", "/enter")
        cookie = "; ".join(one.partition(";")[0] for one in answer.headers.get_all("Set-Cookie"))
        slot = json.loads(answer.body)["slot"]

        def begin(size):
            told = {"slot": slot, "filename": "a.bin", "filetype": "application/octet-stream"}
            pairs = [f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in told.items()]
            headers = {"Cookie": cookie, "Tus-Resumable": "1.0.0"}
            asked = {**headers, "Upload-Length": str(size), "Upload-Metadata": ",".join(pairs)}
            begun = self.ask(site, "POST", "/uploads/tus/", asked)
            assert begun.status == 201, begun.body
            path = begun.headers["Location"].partition(str(site.port))[2]
            return path, {**headers, "Upload-Token": begun.headers["Upload-Token"]}

        return begin

    def ask(self, site, method, path, headers=None, body=None):
        connection = http.client.HTTPConnection(HOST, site.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            answer.body = answer.read()
            return answer
        finally:
            connection.close()

    def head(self, offset, length, headers, path):
        """Return how a PATCH begins."""
        told = {**headers, "Host": HOST, "Content-Type": "application/offset+octet-stream"}
        told |= {"Upload-Offset": str(offset), "Content-Length": str(length)}
        lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        return f"PATCH {path} HTTP/1.1\r\n{lines}\r\n".encode()

    def offset(self, site, path, headers):
        return int(self.ask(site, "HEAD", path, headers).headers["Upload-Offset"])

    @pytest.mark.threat("T-38")
    def test_long_body_takes_no_memory(self, site, begin):
        path, headers = begin(96 * MIB)
        before = json.loads(self.ask(site, "GET", "/seen").body)["peak"]
        sent = {**headers, "Upload-Offset": "0", "Content-Length": str(96 * MIB)}
        sent["Content-Type"] = "application/offset+octet-stream"
        answer = self.ask(site, "PATCH", path, sent, (PIECE for _ in range(96)))
        assert (answer.status, answer.headers["Upload-Offset"]) == (204, str(96 * MIB))
        assert self.ask(site, "GET", "/finish", headers).status == 200
        assert json.loads(self.ask(site, "GET", "/seen").body)["peak"] - before < 24 * MIB
        (stored,) = (self.files / "files/notes").iterdir()
        with stored.open("rb") as file:
            assert all(file.read(MIB) == PIECE for _ in range(96))
        assert not list((self.files / "spool").iterdir())
        stored.unlink()

    def test_broken_connection_is_resumed(self, site, begin):
        path, headers = begin(8 * MIB)
        with socket.create_connection((HOST, site.port), timeout=30) as client:
            client.sendall(self.head(0, 8 * MIB, headers, path) + PIECE * 3)
        deadline = time.monotonic() + 10
        while (offset := self.offset(site, path, headers)) != self.kept and time.monotonic() < deadline:
            time.sleep(0.1)
        assert offset == self.kept
        rest = (PIECE * 8)[offset:]
        sent = {**headers, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        assert self.ask(site, "PATCH", path, sent, rest).status == 204
        assert self.ask(site, "GET", "/finish", headers).status == 200
        (stored,) = (self.files / "files/notes").iterdir()
        assert stored.read_bytes() == PIECE * 8
        stored.unlink()

    @pytest.mark.threat("T-38")
    def test_two_at_once_are_one_and_a_conflict(self, site, begin):
        path, headers = begin(2 * MIB)
        other = bytes(2 * MIB)
        with socket.create_connection((HOST, site.port), timeout=30) as client:
            client.sendall(self.head(0, 2 * MIB, headers, path) + PIECE)
            time.sleep(1)  # it is under way, as far as this server lets it
            sent = {**headers, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
            second = self.ask(site, "PATCH", path, sent, other).status
            client.sendall(PIECE)
            first = int(client.makefile("rb").readline().split()[1])
        assert (first, second) == self.winners
        (spooled,) = (self.files / "spool").iterdir()
        assert spooled.read_bytes() == (PIECE * 2 if first == 204 else other)
        assert self.ask(site, "DELETE", path, headers).status == 204


class TestWSGI(Cases):
    kept = 3 * MIB
    winners = (204, 409)  # the one that began

    @staticmethod
    def make_server(**environ):
        return Gunicorn("tests.uploads.tus_site:wsgi", **environ)


class TestASGI(Cases):
    """Django takes a request whole before a view sees it: what breaks off is gone, and who is whole first wins."""

    kept = 0
    winners = (409, 204)

    @staticmethod
    def make_server(**environ):
        return Uvicorn("tests.uploads.tus_site:asgi", **environ)
