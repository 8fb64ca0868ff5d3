"""The faults of the contract, on a fake of Dropbox; the proxy before it sees TLS only."""

from __future__ import annotations

import pytest

from storages.backends.dropbox import DropboxStorage
from tests.faults import HTTPCases
from tests.servers.dropbox import TOKEN, FakeDropbox, File, Refusal
from tests.servers.process import HOST
from tests.servers.proxy import Proxy

# The SDK calls it for each request that a refresh token may be needed for.
pytestmark = pytest.mark.filterwarnings("ignore:.*utcnow.. is deprecated:DeprecationWarning")


class ReachingStorage(DropboxStorage):
    """A storage of another process than the fake's."""

    def __init__(self, host: str, **options):
        from dropbox import dropbox_client

        dropbox_client.API_HOST = dropbox_client.API_CONTENT_HOST = host
        super().__init__(**options)


@pytest.fixture(scope="module")
def server():
    with FakeDropbox() as fake, Proxy(HOST, fake.port, http=False) as wire, fake.reached(wire.port):
        yield fake, wire


class TestDropboxFaults(HTTPCases):
    backend, server = "Dropbox", FakeDropbox.name
    hasty = {"timeout": 1}
    resumes = ("read", "chunks")
    clocks = ("dropbox.dropbox_client", "storages.backends.dropbox", "storages.readers")

    @pytest.fixture(autouse=True)
    def stand(self, server):
        self.fake, self.wire = server
        yield
        self.heal()
        self.fake.clear()

    def options(self, **options):
        return {"oauth2_access_token": TOKEN, "ca_certs": str(self.fake.certificate), **options}

    def make_storage(self, **options):
        return DropboxStorage(**self.options(**options))

    def killed_options(self):
        return f"{__name__}.ReachingStorage", self.options(host=f"{HOST}:{self.wire.port}")

    def put(self, name, content):
        self.fake.write({"path": f"/{name}", "mode": "overwrite"}, content, AssertionError)

    def objects(self):
        return {node.path[1:]: node.content for node in self.fake.nodes.values() if isinstance(node, File)}

    def too_busy(self, times):
        refusals = [Refusal(503, "sorry") for _ in range(times or 1000)]
        self.fake.refusals["*"] = list(refusals)
        return lambda: len(refusals) - len(self.fake.refusals["*"])

    def heal(self):
        super().heal()
        self.fake.refusals.clear()
