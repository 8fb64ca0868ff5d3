"""The faults of the contract, on FTP."""

from __future__ import annotations

import pytest

from storages.backends.ftp import FTPStorage
from tests.faults import FTPProxy, SessionCases
from tests.file_servers import served
from tests.servers.ftpd import Pyftpdlib
from tests.servers.process import HOST
from tests.servers.proxy import Proxy

pyftpdlib = served(Pyftpdlib)


class TestFTPFaults(SessionCases):
    backend, server = "FTP", "pyftpdlib"
    overwrites = {"allow_overwrite": True}

    @pytest.fixture(autouse=True)
    def stand(self, pyftpdlib):
        self.service, self.files = pyftpdlib, pyftpdlib.files
        with Proxy(HOST, 1, http=False) as self.data, FTPProxy(pyftpdlib.port, self.data) as self.wire:
            yield
        pyftpdlib.clean()

    @property
    def flow(self):
        return self.data

    def make_storage(self, **options):
        storage = FTPStorage(self.service.location(port=self.wire.port), **options)
        storage.ranges_at_once = 0  # one data connection at a time finds its way
        return storage

    def killed_options(self):
        return "storages.backends.ftp.FTPStorage", {"location": self.service.location()}
