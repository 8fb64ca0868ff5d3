"""SFTPStorage on OpenSSH, held against the contract: where sessions begin, and below a directory."""

from __future__ import annotations

import pytest
from django.contrib.staticfiles.storage import ManifestFilesMixin

from storages.backends.sftpstorage import SFTPStorage
from storages.testing import StorageContract
from tests.file_servers import served
from tests.servers.openssh import OpenSSH
from tests.servers.process import HOST
from tests.servers.web import Web


class ManifestSFTPStorage(ManifestFilesMixin, SFTPStorage):
    """Static files under names that carry a hash of the content."""


openssh = served(OpenSSH)


@pytest.fixture(scope="class")
def sftp(request, openssh):
    cls = request.cls
    cls.service = openssh
    with Web(openssh.files) as cls.web:
        yield


@pytest.mark.usefixtures("sftp")
class SFTPContract(StorageContract):
    backend = "SFTP"
    server = "OpenSSH"
    root = ""
    public_urls = True
    secrets = ("the passphrase",)
    static_backend = "storages.backends.sftpstorage.SFTPStorage"
    manifest_backend = "tests.test_sftp_contract.ManifestSFTPStorage"
    server_cannot = {
        "test_delete_spares_what_lies_below": "a file and a directory cannot have one name",
    }

    @property
    def secret_settings(self):
        return {"SFTP_STORAGE_PARAMS": self.params()}

    def params(self, **changes):
        given = {
            "port": self.service.port,
            "username": self.service.user,
            "key_filename": self.service.key,
            "passphrase": "the passphrase",
            "allow_agent": False,
            "look_for_keys": False,
        }
        return {**given, **changes}

    def make_storage(self, **options):
        given = {
            "host": HOST,
            "root_path": self.root,
            "params": self.params(),
            "host_fingerprint": self.service.host_key(),
            "base_url": f"{self.web.url}/{self.root}",
        }
        return SFTPStorage(**{**given, **options})

    def make_unreachable(self):
        return self.make_storage(params=self.params(port=1))

    def make_forbidden(self):
        return self.make_storage(params=self.params(key_filename=self.service.strange_key))

    def make_with_base(self, base):
        return self.make_storage(base_url=f"https://{base}")

    def clean(self):
        self.service.clean()


class TestOpenSSH(SFTPContract):
    pass


class TestOpenSSHBelowDirectory(SFTPContract):
    root = "site/media"

    def make_outer(self):
        return self.make_storage(root_path="site/")
