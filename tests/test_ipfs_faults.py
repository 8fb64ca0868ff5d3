"""The faults of the contract, on IPFS, where a table in this process gives files the names that they want."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import urllib3

from storages import process
from tests.conftest import running
from tests.faults import HTTPCases
from tests.servers.ipfs import FakeIPFS, cid_of
from tests.servers.process import HOST
from tests.servers.proxy import Proxy
from tests.test_ipfs_contract import NamedStorage

POOL: Any = None
DEAD = {
    "silent": lambda: urllib3.exceptions.ReadTimeoutError(POOL, "/", "silent"),
    "unreachable": lambda: urllib3.exceptions.ConnectTimeoutError(POOL, "silent"),
    "refused": lambda: urllib3.exceptions.NewConnectionError(POOL, "refused"),
    "reset": lambda: urllib3.exceptions.ProtocolError("reset while sending"),
}
HANDLE = "no name can be chosen, so no file can be written through a handle"


@pytest.fixture(scope="module")
def node(pytestconfig):
    yield from running(FakeIPFS(), pytestconfig)


class TestIPFSFaults(HTTPCases):
    backend, server = "IPFS", "fake"
    hasty = {"connect_timeout": 1, "read_timeout": 1, "max_attempts": 2}
    once = {"max_attempts": 1}
    overwrites = {}
    resumes = ("headers", "read", "chunks")  # of a long upload only the beginning is kept
    clocks = ("storages.backends.ipfs", "storages.readers")
    cannot = {
        "handle": HANDLE,
        "handle in parts": HANDLE,
        "update": HANDLE,
        "F-16": HANDLE,
        "C-033": HANDLE,
        "C-051": HANDLE,
        "F-12 save in parts": "of a long upload only the beginning is kept, so it cannot be sent again",
        "modified time": "IPFS keeps no times",
    }

    @pytest.fixture(autouse=True)
    def stand(self, node):
        self.node = node
        with Proxy(HOST, node.port) as self.wire:
            yield
        for state in (node.files, node.pins, NamedStorage.names, process.shared("ipfs sizes", OrderedDict)):
            state.clear()

    def options(self, **options):
        return {"api_url": f"{self.wire.url}/api/v0/", "gateway_url": self.node.gateway_url, **options}

    def make_storage(self, **options):
        return NamedStorage(**self.options(**options))

    def kill_network(self, monkeypatch, network_of):
        network = network_of(DEAD)

        def urlopen(pool, *arguments, **options):
            network.fail((pool.timeout.connect_timeout, pool.timeout.read_timeout))

        monkeypatch.setattr(urllib3.HTTPConnectionPool, "urlopen", urlopen)
        return network

    def killed_options(self):
        return "storages.backends.ipfs.IPFSStorage", self.options()

    def put(self, name, content):
        cid = NamedStorage.names[name] = cid_of(content)
        self.node.files[cid], self.node.pins[cid] = content, None

    def objects(self):
        pinned = {name: cid for name, cid in NamedStorage.names.items() if cid in self.node.pins}
        nameless = {cid: cid for cid in self.node.pins if cid not in pinned.values()}
        return {name: self.node.files[cid] for name, cid in {**pinned, **nameless}.items()}

    def is_listed(self, storage, name):
        return NamedStorage.names[name] in storage.listdir("")[1]
