"""GoogleCloudStorage on fake-gcs-server, held against the contract: at the root of a bucket, and below a location."""

from __future__ import annotations

import pytest
from django.contrib.staticfiles.storage import ManifestFilesMixin

from storages.backends.gcloud import MOST_DELETES, GoogleCloudStorage
from storages.testing import StorageContract
from tests.conftest import running
from tests.servers.gcs import FakeGCS
from tests.servers.google import Google, private_pem
from tests.servers.process import HOST, free_ports
from tests.servers.proxy import Proxy
from tests.wires import counted

NO_SIGNATURES = "looks at no signature and at nothing that one covers; tests/test_gcloud_urls.py recomputes them"


class ManifestStorage(ManifestFilesMixin, GoogleCloudStorage):
    """What a project writes for hashed static files, whose names go into stylesheets and so cannot be signed."""

    querystring_auth = False


class WatchingProxy(Proxy):
    """Note which uploads carry a checksum."""

    checksums = 0

    async def _send(self, link, direction, data):
        self.checksums += data.count(b'"crc32c"') if direction == "up" else 0
        await super()._send(link, direction, data)


class CorruptingProxy(Proxy):
    """Damage what comes down, at the same length."""

    async def _send(self, link, direction, data):
        await super()._send(link, direction, data.replace(b"INTACT", b"BROKEN") if direction == "down" else data)


@pytest.fixture(scope="class")
def gcs(request):
    """Give the class a server with a bucket behind two proxies, and an account."""
    cls = request.cls
    (port,) = free_ports(1)
    with WatchingProxy(HOST, port) as cls.proxy, CorruptingProxy(HOST, port) as cls.corrupting, Google() as cls.google:
        server = FakeGCS(reached_at=cls.proxy.url)
        server.port = port
        for cls.service in running(server, request.config):
            cls.bucket_name = cls.service.make_bucket()
            cls.secret_settings = {"GS_CREDENTIALS": cls.google.key()}
            cls.secrets = (private_pem(), private_pem().splitlines()[1])
            yield


@pytest.mark.usefixtures("gcs")
class GoogleCloudContract(StorageContract):
    backend = "GCS"
    server = "fake-gcs-server"
    overwrites_by_default = True
    most_deletes = MOST_DELETES
    http_headers = {"Accept-Encoding": "gzip"}  # else the service unpacks what is stored compressed
    gzip_options = {"gzip": True}
    static_backend = "storages.backends.gcloud.GoogleCloudStorage"
    manifest_backend = f"{__name__}.{ManifestStorage.__name__}"
    server_cannot = {
        "test_expired_url_is_refused": NO_SIGNATURES,
        "test_disposition_is_signed_into_the_url": NO_SIGNATURES,
    }

    @pytest.mark.contract("C-144")
    def test_checksum_is_sent_when_switched_on(self):
        # It goes in the body of the request, where the suite does not look.
        sent = []
        for checksums in (True, False):
            before = self.proxy.checksums
            self.save(self.make_storage(checksums=checksums), "a.txt")
            sent.append(self.proxy.checksums - before)
        assert sent == [1, 0]

    def make_storage(self, **options):
        given = {
            "bucket_name": self.bucket_name,
            "credentials": self.google.key(),
            "client_options": {"api_endpoint": self.proxy.url},
            "location": self.location,
        }
        return GoogleCloudStorage(**{**given, **options})

    def make_unreachable(self):
        return self.make_storage(client_options={"api_endpoint": f"http://{HOST}:1"}, retry_deadline=0)

    def make_forbidden(self):
        return self.make_storage(credentials=self.google.refused_key())

    def make_corrupting(self, **options):
        return self.make_storage(client_options={"api_endpoint": self.corrupting.url}, **options)

    def make_with_base(self, base):
        return self.make_storage(custom_endpoint=f"https://{base}", querystring_auth=False)

    def cache_control_options(self, value):
        return {"object_parameters": lambda key, content: {"cache_control": value}}

    def precompressed_options(self):
        return {"object_parameters": {"content_type": "text/css", "content_encoding": "gzip"}}

    def count_requests(self, storage):
        return counted(self.proxy)


class TestFakeGCS(GoogleCloudContract):
    pass


class TestFakeGCSWithLocation(GoogleCloudContract):
    location = "site/media"

    def make_outer(self):
        return self.make_storage(location="site")
