"""FTPStorage on three servers, held against the contract: in the account's root, and below a directory."""

from __future__ import annotations

import pytest
from django.contrib.staticfiles.storage import ManifestFilesMixin

from storages.backends.ftp import FTPStorage
from storages.testing import StorageContract
from tests.file_servers import served
from tests.servers.ftpd import Proftpd, Pyftpdlib, Vsftpd, VsftpdImplicit
from tests.servers.web import Web


class ManifestFTPStorage(ManifestFilesMixin, FTPStorage):
    """Static files under names that carry a hash of the content."""


pyftpdlib = served(Pyftpdlib)
vsftpd = served(Vsftpd)
vsftpd_implicit = served(VsftpdImplicit)
proftpd = served(Proftpd)


@pytest.fixture(scope="class")
def ftp(request):
    cls = request.cls
    cls.service = request.getfixturevalue(cls.fixture or cls.server.lower())
    cls.secrets = (cls.service.password, cls.service.location().partition("@")[0].rpartition(":")[2])
    with Web(cls.service.files) as cls.web:
        yield


@pytest.mark.usefixtures("ftp")
class FTPContract(StorageContract):
    backend = "FTP"
    overwrite_option = "allow_overwrite"
    fixture = ""
    root = ""
    public_urls = True
    static_backend = "storages.backends.ftp.FTPStorage"
    manifest_backend = "tests.test_ftp_contract.ManifestFTPStorage"
    server_cannot = {
        "test_delete_spares_what_lies_below": "a file and a directory cannot have one name",
    }

    @property
    def secret_settings(self):
        return {"FTP_STORAGE_LOCATION": self.service.location(self.root)}

    def make_storage(self, **options):
        given = {"location": self.service.location(self.root), "base_url": f"{self.web.url}/{self.root}"}
        if self.service.secure:
            given["verify"] = str(self.service.certificate)
        return FTPStorage(**{**given, **options})

    def make_unreachable(self):
        return self.make_storage(location=self.service.location(self.root, port=1))

    def make_forbidden(self):
        return self.make_storage(location=self.service.location(self.root, password="not the password"))

    def make_with_base(self, base):
        return self.make_storage(base_url=f"https://{base}")

    def clean(self):
        self.service.clean()


class BelowDirectory(FTPContract):
    root = "site/media"

    def make_outer(self):
        return self.make_storage(location=self.service.location("site/"))


class PyftpdlibMixin:
    server = "pyftpdlib"


class VsftpdMixin:
    server = "vsftpd"


class ProftpdMixin:
    backend = "FTPS"
    server = "ProFTPD"
    server_cannot = {
        **FTPContract.server_cannot,
        "test_odd_names_are_listed_exactly": "makes no directory with * in its name",
        "test_glob_characters_delete_exactly_that_name": "makes no directory with * in its name",
    }


class TestPyftpdlib(PyftpdlibMixin, FTPContract):
    pass


class TestPyftpdlibBelowDirectory(PyftpdlibMixin, BelowDirectory):
    pass


class TestVsftpd(VsftpdMixin, FTPContract):
    pass


@pytest.mark.more_servers
class TestVsftpdBelowDirectory(VsftpdMixin, BelowDirectory):
    pass


@pytest.mark.more_servers
class TestVsftpdImplicit(VsftpdMixin, FTPContract):
    backend = "FTPS, implicit"
    fixture = "vsftpd_implicit"


@pytest.mark.more_servers
class TestProftpd(ProftpdMixin, FTPContract):
    pass


class TestProftpdBelowDirectory(ProftpdMixin, BelowDirectory):
    pass
