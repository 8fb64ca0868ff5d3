"""Each server starts, signs, refuses and stops; what a test may rely on beyond that is in the conformance suite."""

from __future__ import annotations

import contextlib
import functools
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.servers.ceph import CephRGW
from tests.servers.process import Keys, Server, ServerError, free_ports
from tests.servers.proxy import HOST, Proxy
from tests.servers.seaweedfs import SeaweedFS

ROOT = Path(__file__).parent.parent


@pytest.fixture(params=["seaweedfs", "ceph"])
def server(request) -> Server:
    return request.getfixturevalue(request.param)


@pytest.fixture
def bucket(server) -> str:
    return server.make_bucket()


def status_of(call, **parameters) -> int:
    """Return the HTTP status of one S3 call."""
    try:
        return call(**parameters)["ResponseMetadata"]["HTTPStatusCode"]
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"]


def test_stored_object_is_read_back(server, bucket):
    with contextlib.closing(server.client()) as client:
        client.put_object(Bucket=bucket, Key="a", Body=b"bytes")
        assert client.get_object(Bucket=bucket, Key="a")["Body"].read() == b"bytes"


def test_signed_url_is_fetched_and_a_changed_one_refused(server, bucket):
    with contextlib.closing(server.client()) as client:
        client.put_object(Bucket=bucket, Key="a", Body=b"bytes")
        url = client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "a"})
    with urllib.request.urlopen(url, timeout=30) as response:
        assert response.read() == b"bytes"
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        urllib.request.urlopen(url[:-1] + ("0" if url[-1] != "0" else "1"), timeout=30)
    refused.value.close()


def test_users_have_the_rights_that_the_tests_count_on(server, bucket):
    object_ = {"Bucket": bucket, "Key": "a"}
    allowed = {}
    for name in ("admin", "restricted", "stranger"):
        with contextlib.closing(server.client(getattr(server, name))) as client:
            allowed[name] = [
                status_of(client.put_object, **object_, Body=b"x"),
                status_of(client.get_object, **object_),
                status_of(client.list_objects_v2, Bucket=bucket),
            ]
    assert allowed == {"admin": [200, 200, 200], "restricted": [200, 200, 403], "stranger": [403, 403, 403]}


def test_wrong_secret_is_refused(server, bucket):
    with contextlib.closing(server.client(Keys(server.access_key, "WRONG"))) as client:
        assert status_of(client.list_objects_v2, Bucket=bucket) == 403


def test_bucket_that_nobody_made_is_missing(server):
    with contextlib.closing(server.client()) as client:
        assert status_of(client.put_object, Bucket="nobody-made-this", Key="a", Body=b"x") == 404


def test_put_is_conditional(server, bucket):
    with contextlib.closing(server.client()) as client:
        wanted = {"Bucket": bucket, "Key": "a", "Body": b"x", "IfNoneMatch": "*"}
        assert [status_of(client.put_object, **wanted) for _ in range(2)] == [200, 412]


def test_signatures_hold_through_the_proxy(server, bucket):
    with Proxy(HOST, server.port) as proxy, contextlib.closing(server.client(endpoint_url=proxy.url)) as client:
        with proxy.counting() as seen:
            client.put_object(Bucket=bucket, Key="a", Body=bytes(100_000))
            client.get_object(Bucket=bucket, Key="a")["Body"].read()
    assert seen.methods == ["PUT", "GET"]
    assert [exchange.status for exchange in seen] == [200, 200]
    assert seen.downloaded == 100_000
    assert seen.uploaded >= 100_000  # botocore may frame the body as aws-chunked


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda end: end.name)
def test_nothing_outlives_the_owner(seaweedfs, end):
    command = [sys.executable, "-m", "tests.servers.seaweedfs"]
    # A run in the background ignores Ctrl-C, and its children would too.
    listening = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, preexec_fn=listening) as owner:  # noqa: PLW1509 -- runs one call
        try:
            assert owner.stdout is not None
            port = int(owner.stdout.readline().rpartition(":")[2])
        finally:
            owner.send_signal(end)
        assert owner.wait(30) == (-signal.SIGKILL if end == signal.SIGKILL else 0)
    assert wait_until_refused(port)


def wait_until_refused(port: int) -> bool:
    """Return True once nobody listens on the port; the guard takes two seconds after a SIGKILL of the owner."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)):
                return True
        time.sleep(0.1)
    return False


class Dies(SeaweedFS):
    """A server whose program ends at once."""

    name = "Dies"

    def _launch(self) -> None:
        (self.port,) = free_ports(1)
        self._spawn(sys.executable, "-c", "print('no such option'); raise SystemExit(3)", log="dies.log")


def test_failed_start_tells_the_log_and_leaves_nothing(tmp_path):
    server = Dies()
    with pytest.raises(ServerError, match=r"exited with 3\ndies.log: no such option"):
        server.start()
    assert not server.directory.exists()
    given = Dies(tmp_path / "given")
    with pytest.raises(ServerError):
        given.start()
    assert (tmp_path / "given" / "dies.log").exists()


@pytest.mark.parametrize("server_class", [SeaweedFS, CephRGW])
def test_missing_program_is_a_reason(server_class, monkeypatch, tmp_path):
    monkeypatch.setattr("tests.servers.seaweedfs.find_program", lambda name: None)
    monkeypatch.setattr("tests.servers.ceph.find_program", lambda name: None)
    assert "install" in server_class.unavailable()
