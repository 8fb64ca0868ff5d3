"""The faults of the contract, on SFTP."""

from __future__ import annotations

import pytest

from storages.backends.sftpstorage import SFTPStorage
from tests.faults import SessionCases
from tests.file_servers import served
from tests.servers.openssh import OpenSSH
from tests.servers.process import HOST
from tests.servers.proxy import Proxy

openssh = served(OpenSSH)


class TestSFTPFaults(SessionCases):
    backend, server = "SFTP", "OpenSSH"
    overwrites = {"file_overwrite": True}

    @pytest.fixture(autouse=True)
    def stand(self, openssh):
        self.service, self.files = openssh, openssh.files
        with Proxy(HOST, openssh.port, http=False) as self.wire:
            yield
        openssh.clean()

    def make_storage(self, port=None, **options):
        params = {
            "port": port or self.wire.port,
            "username": self.service.user,
            "key_filename": self.service.key,
            "allow_agent": False,
            "look_for_keys": False,
        }
        return SFTPStorage(host=HOST, params=params, host_fingerprint=self.service.host_key(), **options)

    def killed_options(self):
        storage = self.make_storage(self.service.port)
        options = {name: getattr(storage, name) for name in ("host", "params", "host_fingerprint")}
        return "storages.backends.sftpstorage.SFTPStorage", options
