"""B2Storage on a fake of the native API, through the real SDK, held against the contract."""

from __future__ import annotations

import contextlib
from unittest import mock

import pytest
from django.contrib.staticfiles.storage import ManifestFilesMixin

from storages.backends.b2 import B2Storage
from storages.testing import StorageContract
from tests.conftest import running
from tests.servers.b2 import B2
from tests.servers.process import HOST
from tests.servers.proxy import Proxy
from tests.wires import counted

# Every call of the API is a POST; these only look.
LOOKS = ("/b2_list_", "/b2_get_download_authorization", "/b2_authorize_account")


class ManifestStorage(ManifestFilesMixin, B2Storage):
    """What a project writes for hashed static files, in a public bucket."""

    querystring_auth = False
    url_without_name = True


class CorruptingProxy(Proxy):
    """Damage what comes down, at the same length."""

    async def _send(self, link, direction, data):
        await super()._send(link, direction, data.replace(b"INTACT", b"BROKEN") if direction == "down" else data)


@pytest.fixture(scope="class")
def b2(request):
    """Give the class the service with a bucket on it, behind two proxies."""
    cls = request.cls
    for cls.service in running(B2(), request.config):
        cls.bucket_name = cls.service.make_bucket()
        cls.secrets = (cls.service.key.secret,)
        cls.secret_settings = {
            "BACKBLAZE_CONFIG": {
                "application_key_id": cls.service.key.id,
                "application_key": cls.service.key.secret,
            }
        }
        address = (HOST, cls.service.port)
        with Proxy(*address) as cls.proxy, CorruptingProxy(*address) as cls.corrupting:
            yield


@pytest.mark.usefixtures("b2")
class B2Contract(StorageContract):
    backend = "B2"
    server = "fake"
    overwrite_option = "allow_file_overwrites"
    gzip_options = {"gzip": True}
    static_backend = "storages.backends.b2.B2Storage"
    manifest_backend = f"{__name__}.{ManifestStorage.__name__}"
    server_cannot = {"C-131": "the native API tells the host of its URLs, and signs them, only when asked"}

    def make_storage(self, **options):
        given = {
            "realm": self.service.url,
            "application_key_id": self.service.key.id,
            "application_key": self.service.key.secret,
            "bucket": self.bucket_name,
            "account_info": {"type": "memory"},
            "location": self.location,
        }
        return B2Storage(**{**given, **options})

    def make_unreachable(self):
        return self.make_storage(realm=f"http://{HOST}:1", max_attempts=1)

    def make_forbidden(self):
        return self.make_storage(application_key="not the key")

    def make_corrupting(self, **options):
        return self.make_storage(realm=self.corrupting.url, max_attempts=1, **options)

    def make_with_base(self, base):
        return self.make_storage(cdn_config={"base_url": f"https://{base}"})

    def cache_control_options(self, value):
        return {"default_file_info": {"b2-cache-control": value}}

    def precompressed_options(self):
        return {"default_file_info": {"Content-Type": "text/css", "b2-content-encoding": "gzip"}}

    def disposition_parameters(self, value):
        return {"b2ContentDisposition": value}

    def upload_ids(self):
        return self.service.unfinished()

    @contextlib.contextmanager
    def count_requests(self, storage):
        with mock.patch.object(storage, "realm", self.proxy.url):
            storage._bucket()  # the login, and where the bucket is, are found once in a process
            with counted(
                self.proxy, lambda one: "GET" if any(look in one.path for look in LOOKS) else one.method
            ) as wire:
                yield wire


class TestB2(B2Contract):
    pass


class TestB2WithLocation(B2Contract):
    location = "site/media"

    def make_outer(self):
        return self.make_storage(location="site")
