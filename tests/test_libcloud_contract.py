"""LibCloudStorage on a directory, Ceph RGW and Azurite, held against the contract: in a container, below a location."""

from __future__ import annotations

import base64
import contextlib
import json
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.staticfiles.storage import ManifestFilesMixin

from storages.backends.apache_libcloud import LibCloudStorage
from storages.testing import StorageContract
from storages.testing.serving import URL_NAMES
from tests.conftest import running
from tests.servers.azurite import Azurite
from tests.servers.process import HOST
from tests.servers.proxy import Proxy
from tests.servers.web import Web
from tests.wires import counted

# Libcloud calls it for each request.
pytestmark = pytest.mark.filterwarnings("ignore:.*utcnow.. is deprecated:DeprecationWarning")

FILE_AND_DIRECTORY = "a file system has no file and directory of one name"


class ManifestLibCloudStorage(ManifestFilesMixin, LibCloudStorage):
    """What a project writes for hashed static files; behind a CDN, since signatures are not for style sheets."""

    base_url = "https://static.example.com/"


class LibCloudContract(StorageContract):
    backend = "Libcloud"
    static_backend = "storages.backends.apache_libcloud.LibCloudStorage"
    manifest_backend = f"{__name__}.{ManifestLibCloudStorage.__name__}"

    def make_with_base(self, base):
        return self.make_storage(base_url=f"https://{base}")


# On a directory


@pytest.fixture(scope="class")
def directory(request):
    """Give the class a directory with one container, and a web server over that."""
    cls = request.cls
    with tempfile.TemporaryDirectory() as cls.directory:
        container = Path(cls.directory, "media")
        container.mkdir()
        with Web(container) as cls.web:
            yield


@pytest.mark.usefixtures("directory")
class TestLocal(LibCloudContract):
    server = "local driver"
    public_urls = True
    secrets = ("key that nobody needs",)
    server_cannot = {"test_delete_spares_what_lies_below": FILE_AND_DIRECTORY}

    def make_storage(self, **options):
        given = {"type": "LOCAL", "bucket": "media", "base_url": self.web.url, "location": self.location}
        return LibCloudStorage(**{**given, "user": self.directory, "key": self.secrets[0], **options})

    def make_unreachable(self):
        return self.make_storage(user=f"{self.directory}/missing")

    @property
    def secret_settings(self):
        return {"LIBCLOUD_PROVIDERS": {"default": {"user": self.directory}}}


class TestLocalWithLocation(TestLocal):
    location = "site/media"

    def make_outer(self):
        return self.make_storage(location="site")


# On Ceph RGW


@pytest.fixture(scope="class")
def gateway(request, ceph):
    """Give the class a bucket of its own, which everybody may read, and a proxy before it."""
    cls = request.cls
    cls.service = ceph
    cls.bucket_name = ceph.make_bucket()
    cls.secrets = (ceph.secret_key,)
    keys = {"user": ceph.access_key, "key": ceph.secret_key}
    cls.secret_settings = {"LIBCLOUD_PROVIDERS": {"default": keys}}
    with Proxy(HOST, ceph.port) as cls.proxy, contextlib.closing(ceph.client()) as cls.client:
        cls.client.put_bucket_policy(Bucket=cls.bucket_name, Policy=json.dumps(public_policy(cls.bucket_name)))
        yield


def public_policy(bucket):
    """Return the policy of a bucket whose objects everybody may get: Libcloud signs no URLs for MINIO."""
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    return {"Version": "2012-10-17", "Statement": [statement]}


@pytest.mark.usefixtures("gateway")
class TestCeph(LibCloudContract):
    server = "Ceph RGW"
    public_urls = True

    def make_storage(self, **options):
        given = {
            "type": "MINIO",
            "user": self.service.access_key,
            "key": self.service.secret_key,
            "bucket": self.bucket_name,
            "host": HOST,
            "port": self.proxy.port,
            "secure": False,
            "create_only": True,
            "location": self.location,
        }
        return LibCloudStorage(**{**given, **options})

    def make_unreachable(self):
        return self.make_storage(port=1)

    def make_forbidden(self):
        return self.make_storage(key="not the secret")

    def cache_control_options(self, value):
        return {"object_parameters": lambda key, content: {"headers": {"Cache-Control": value}}}

    def upload_ids(self):
        uploads = self.client.list_multipart_uploads(Bucket=self.bucket_name).get("Uploads", [])
        return [upload["UploadId"] for upload in uploads]

    def test_listing_asks_for_its_prefix(self, storage):
        with self.proxy.counting() as seen:
            storage.listdir("some/where")
        prefix = f"{self.location}/some/where/".lstrip("/")
        assert parse_qs(urlsplit(seen[-1].path).query)["prefix"] == [prefix]

    def test_service_not_known_to_refuse_is_asked_first(self):
        careful = self.make_storage(type="MINIO", region=None, create_only=None)
        assert not careful.capabilities.create_only
        self.save(careful, "a.txt")
        with self.count_requests(careful) as wire:
            assert self.save(careful, "a.txt") != "a.txt"
        assert wire.requests[0] == "HEAD"

    def count_requests(self, storage):
        return counted(self.proxy)


class TestCephWithLocation(TestCeph):
    """By Amazon's driver, which signs URLs."""

    location = "site/media"
    public_urls = False

    def make_storage(self, **options):
        return super().make_storage(**{"type": "S3", "region": "us-east-1", "create_only": None, **options})

    def make_outer(self):
        return self.make_storage(location="site")


# On Azurite


@pytest.fixture(scope="session")
def azurite(pytestconfig):
    yield from running(Azurite(), pytestconfig)


@pytest.fixture(scope="class")
def account(request, azurite):
    """Give the class a container of its own and a proxy before the server."""
    cls = request.cls
    cls.service = azurite
    cls.container_name = azurite.make_bucket()
    cls.secrets = (azurite.account_key,)
    keys = {"user": azurite.account, "key": azurite.account_key}
    cls.secret_settings = {"LIBCLOUD_PROVIDERS": {"default": keys}}
    with Proxy(HOST, azurite.port) as cls.proxy:
        yield


@pytest.mark.usefixtures("account")
class TestAzurite(LibCloudContract):
    server = "Azurite"
    server_cannot = {
        **dict.fromkeys([*list(URL_NAMES)[1:], "C-133"], "Libcloud signs the quoted name, Azure the plain one"),
        "test_odd_names_are_listed_exactly": "Libcloud signs a prefix without the spaces that it begins with",
    }

    @pytest.mark.parametrize("name", list(URL_NAMES.values())[1:])
    def test_url_that_azure_would_refuse_is_not_given(self, storage, name):
        with pytest.raises(ValueError, match="AzureStorage"):
            storage.url(name)

    def make_storage(self, **options):
        given = {
            "type": "AZURE_BLOBS",
            "user": self.service.account,
            "key": self.service.account_key,
            "bucket": self.container_name,
            "host": HOST,
            "port": self.proxy.port,
            "secure": False,
            "location": self.location,
        }
        return LibCloudStorage(**{**given, **options})

    def make_unreachable(self):
        return self.make_storage(port=1)

    def make_forbidden(self):
        return self.make_storage(key=base64.b64encode(b"not the key").decode())

    def cache_control_options(self, value):
        return {"object_parameters": lambda key, content: {"headers": {"x-ms-blob-cache-control": value}}}

    def count_requests(self, storage):
        return counted(self.proxy)
