"""The proxy's counting and each of its faults, before anything is proved with it."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.servers.proxy import HOST, Proxy

SIZE = 1_000_000  # bytes of the answer to GET /large


class Answers(BaseHTTPRequestHandler):
    """An HTTP/1.1 server with one answer for each way to frame a body."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/chunked":
            self._answer(
                200, b"3\r\nabc\r\n4;extension=1\r\ndefg\r\n0\r\nTrailer: x\r\n\r\n", {"Transfer-Encoding": "chunked"}
            )
        elif self.path == "/until-close":
            self._answer(200, b"until close", {"Connection": "close"})
        elif self.path == "/nothing":
            self._answer(204, b"", {})
        else:
            self._answer(200, bytes(SIZE), {"Content-Length": str(SIZE)})

    def do_HEAD(self) -> None:
        self._answer(200, b"", {"Content-Length": "12345"})

    def do_PUT(self) -> None:
        body = self._read_body()
        self._answer(200, b"%d" % len(body), {"Content-Length": str(len(b"%d" % len(body)))})

    def _read_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers["Content-Length"]))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Broken connections are what these tests are about."""


@pytest.fixture(scope="module")
def target() -> Iterator[int]:
    with Quiet((HOST, 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(target: int) -> Iterator[Proxy]:
    with Proxy(HOST, target) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(HOST, proxy.port, timeout=5)
    yield connection
    connection.close()


def ask(client: http.client.HTTPConnection, method: str, path: str, **options: object) -> tuple[int, bytes]:
    client.request(method, path, **options)  # type: ignore[arg-type]
    with client.getresponse() as response:
        return response.status, response.read()


# Counting


@pytest.mark.parametrize(
    ("method", "path", "status", "received"),
    [
        ("GET", "/large", 200, SIZE),
        ("GET", "/chunked", 200, 7),
        ("GET", "/until-close", 200, 11),
        ("GET", "/nothing", 204, 0),
        ("HEAD", "/large", 200, 0),
    ],
)
def test_answer_is_counted_without_its_framing(proxy, client, method, path, status, received):
    answer = ask(client, method, path)
    (exchange,) = proxy.requests
    assert answer[0] == status
    assert len(answer[1]) == received
    assert (exchange.method, exchange.path, exchange.status) == (method, path, status)
    assert exchange.response_body_bytes == received


@pytest.mark.parametrize(
    "options",
    [{"body": bytes(70_000)}, {"body": iter([bytes(50_000), bytes(20_000)]), "encode_chunked": True}],
    ids=["length", "chunked"],
)
def test_request_is_counted_without_its_framing(proxy, client, options):
    chunked = {"Transfer-Encoding": "chunked"} if "encode_chunked" in options else {}
    assert ask(client, "PUT", "/k%20y?a=b", headers={"X-Test": "1", **chunked}, **options) == (200, b"70000")
    (exchange,) = proxy.requests
    assert exchange.request_body_bytes == 70_000
    assert exchange.path == "/k%20y?a=b"
    assert exchange.headers["x-test"] == "1"
    assert not exchange.interim_100


def test_requests_of_one_connection_are_told_apart(proxy, client):
    for path in ("/chunked", "/nothing", "/large", "/chunked"):
        ask(client, "GET", path)
    assert [exchange.response_body_bytes for exchange in proxy.requests] == [7, 0, SIZE, 7]
    assert proxy.connections == 1


def test_pipelined_requests_are_told_apart(proxy):
    with socket.create_connection((HOST, proxy.port), timeout=5) as sock:
        sock.sendall(b"PUT /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiGET /until-close HTTP/1.1\r\n\r\n")
        while sock.recv(65536):
            pass
    assert proxy.requests.methods == ["PUT", "GET"]
    assert [exchange.response_body_bytes for exchange in proxy.requests] == [1, 11]


def test_head_in_pieces_is_one_request(proxy):
    with socket.create_connection((HOST, proxy.port), timeout=5) as sock:
        for piece in (b"GET /noth", b"ing HTTP/1.1\r", b"\nHost: x\r\n\r", b"\n"):
            sock.sendall(piece)
        assert sock.recv(65536).startswith(b"HTTP/1.1 204")
    assert proxy.requests.methods == ["GET"]


def test_expect_continue_is_seen(proxy, client):
    ask(client, "PUT", "/x", body=b"abc", headers={"Expect": "100-continue"})
    (exchange,) = proxy.requests
    assert exchange.interim_100
    assert (exchange.status, exchange.response_body_bytes) == (200, 1)


def test_counting_holds_what_began_inside_the_block(proxy, client):
    ask(client, "GET", "/nothing")
    with proxy.counting() as outer:
        ask(client, "PUT", "/a", body=b"abcd")
        with proxy.counting() as inner:
            ask(client, "GET", "/chunked")
    ask(client, "GET", "/nothing")
    assert (outer.methods, outer.uploaded, outer.downloaded, outer.connections) == (["PUT", "GET"], 4, 8, 0)
    assert inner.methods == ["GET"]
    assert len(proxy.requests) == 4


# Faults


def test_reset_after_bytes_down(proxy, client):
    proxy.reset(down=300_000)
    client.request("GET", "/large")
    response = client.getresponse()
    with pytest.raises(ConnectionResetError):
        response.read()
    response.close()
    client.close()
    assert len(ask(client, "GET", "/large")[1]) == SIZE


def test_clean_close_after_bytes_down(proxy, client):
    proxy.hang_up(down=300_000)
    client.request("GET", "/large")
    with client.getresponse() as response, pytest.raises(http.client.IncompleteRead) as caught:
        response.read()
    head = 300_000 - len(caught.value.partial)
    assert 0 < head < 1000


def test_fault_that_lasts_hits_every_connection(proxy, client):
    proxy.hang_up(down=300_000, times=None)
    for _ in range(3):
        client.request("GET", "/large")
        with client.getresponse() as response, pytest.raises(http.client.IncompleteRead):
            response.read()
        client.close()


@pytest.mark.parametrize("fault", ["reset", "hang_up"])
def test_upload_is_cut_after_bytes_up(proxy, client, fault):
    getattr(proxy, fault)(up=300_000)
    with pytest.raises((ConnectionError, http.client.BadStatusLine)):
        ask(client, "PUT", "/a", body=bytes(5_000_000))
    assert proxy.requests[0].status is None
    client.close()
    assert ask(client, "PUT", "/a", body=b"abc") == (200, b"3")


@pytest.mark.parametrize("direction", ["up", "down"])
def test_stall_answers_nothing_until_healed(proxy, client, direction):
    proxy.stall(**{direction: 100_000})
    client.timeout = 0.3
    with pytest.raises(TimeoutError):
        ask(client, "PUT", "/a", body=bytes(SIZE))
        ask(client, "GET", "/large")
    client.close()
    proxy.heal()
    client.timeout = 5
    assert len(ask(client, "GET", "/large")[1]) == SIZE


def test_stall_down_lets_the_first_bytes_through(proxy):
    proxy.stall(down=20)
    with socket.create_connection((HOST, proxy.port), timeout=0.5) as sock:
        sock.sendall(b"GET /nothing HTTP/1.1\r\n\r\n")
        assert sock.recv(1000) == b"HTTP/1.1 204 No Cont"
        with pytest.raises(TimeoutError):
            sock.recv(1000)


def test_mute_accepts_and_never_answers(proxy, client):
    ask(client, "GET", "/nothing")
    proxy.mute()
    client.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        ask(client, "GET", "/nothing")
    client.close()
    client.timeout = 0.3
    with pytest.raises(TimeoutError):
        ask(client, "GET", "/nothing")
    client.close()
    proxy.heal()
    assert ask(client, "GET", "/nothing") == (204, b"")


def test_death_comes_after_the_bytes_of_all_connections_and_ends_them_all(proxy, client):
    proxy.die(up=SIZE)
    other = http.client.HTTPConnection(HOST, proxy.port, timeout=5)
    assert ask(client, "PUT", "/a", body=bytes(SIZE // 2)) == (200, b"%d" % (SIZE // 2))
    assert not proxy.dead
    with contextlib.closing(other), pytest.raises(ConnectionError):
        ask(other, "PUT", "/b", body=bytes(SIZE))
    client.close()
    assert proxy.dead
    with pytest.raises(ConnectionRefusedError):
        ask(client, "GET", "/nothing")
    client.close()
    proxy.heal()
    assert ask(client, "GET", "/nothing") == (204, b"")


def test_refuse_closes_the_port_until_healed(proxy, client):
    ask(client, "GET", "/nothing")
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        ask(client, "GET", "/nothing")
    client.close()
    with pytest.raises(ConnectionRefusedError):
        ask(client, "GET", "/nothing")
    proxy.heal()
    client.close()
    assert ask(client, "GET", "/nothing") == (204, b"")


def test_reset_at_accept_answers_no_connection(proxy, client):
    proxy.reset_at_accept()
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            ask(client, "GET", "/nothing")
        client.close()
    assert proxy.requests == []
    assert proxy.connections == 2


def test_slow_down_reads_the_body_and_answers_503(proxy, client):
    proxy.slow_down(2)
    status, body = ask(client, "PUT", "/a", body=bytes(SIZE))
    assert status == 503
    assert b"<Code>SlowDown</Code>" in body
    assert ask(client, "HEAD", "/a") == (503, b"")
    assert ask(client, "PUT", "/a", body=b"abc") == (200, b"3")
    assert [exchange.status for exchange in proxy.requests] == [503, 503, 200]
    assert proxy.requests[0].request_body_bytes == SIZE
    assert proxy.connections == 1


def test_slow_down_for_ever_ends_with_heal(proxy, client):
    proxy.slow_down(None)
    assert [ask(client, "GET", "/nothing")[0] for _ in range(5)] == [503] * 5
    proxy.heal()
    assert ask(client, "GET", "/nothing")[0] == 204


def test_drop_idle_closes_what_waits_for_nothing(proxy, client):
    ask(client, "GET", "/nothing")
    assert proxy.drop_idle() == 1
    assert client.sock.recv(1) == b""
    client.close()
    assert ask(client, "GET", "/nothing")[0] == 204


def test_latency_delays_each_request(proxy, client):
    proxy.latency = 0.5
    client.timeout = 0.1
    with pytest.raises(TimeoutError):
        ask(client, "GET", "/nothing")
    client.close()
    client.timeout = 5
    assert ask(client, "GET", "/nothing")[0] == 204


def test_server_that_is_gone_ends_the_connection():
    with socket.socket() as deaf:  # bound, so that nobody else gets the port, but it does not listen
        deaf.bind((HOST, 0))
        with Proxy(HOST, deaf.getsockname()[1]) as proxy, pytest.raises(ConnectionResetError):
            with socket.create_connection((HOST, proxy.port), timeout=5) as sock:
                sock.recv(1)


def test_raw_bytes_pass_both_ways_and_are_cut(target):
    with socket.create_server((HOST, 0)) as listener, Proxy(HOST, listener.getsockname()[1], http=False) as proxy:
        with socket.create_connection((HOST, proxy.port), timeout=5) as near:
            far, _ = listener.accept()
            with far:
                far.sendall(b"220 hello\r\n")
                assert near.recv(100) == b"220 hello\r\n"
                near.sendall(b"\x00\r\n\r\n\xff")
                assert far.recv(100) == b"\x00\r\n\r\n\xff"
                near.shutdown(socket.SHUT_WR)
                assert far.recv(100) == b""
                proxy.reset(down=3)
                far.sendall(b"226 done")
                assert near.recv(100) == b"226"
                with pytest.raises(ConnectionResetError):
                    near.recv(100)
    assert proxy.requests == []
