"""The reference backend, held against the contract."""

from __future__ import annotations

from urllib.parse import quote

from django.contrib.staticfiles.storage import ManifestFilesMixin

from storages.backends.memory import MemoryStorage
from storages.testing import StorageContract, impossible

objects: dict = {}


class SharedMemoryStorage(MemoryStorage):
    """All instances hold the same objects, and have a limit, as those of a service do."""

    longest_key = 1024

    def __init__(self, **options):
        super().__init__(**options)
        self.client = objects


class ManifestMemoryStorage(ManifestFilesMixin, SharedMemoryStorage):
    """Rewriting CSS asks for URLs, though nobody fetches them."""

    def _public_url(self, key, parameters):
        return f"/static/{quote(key)}"


class MemoryContract(StorageContract):
    backend = "memory"
    overwrite_option = "allow_overwrite"
    own_process_only = True
    static_backend = "tests.test_memory.SharedMemoryStorage"
    manifest_backend = "tests.test_memory.ManifestMemoryStorage"

    def make_storage(self, **options):
        return SharedMemoryStorage(**{"location": self.location, **options})

    def make_unreachable(self):
        impossible("there is no server")

    make_forbidden = make_unreachable


class TestMemory(MemoryContract):
    pass


class TestMemoryWithLocation(MemoryContract):
    location = "site/media"

    def make_outer(self):
        return self.make_storage(location="site")
