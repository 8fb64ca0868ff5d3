"""A storage whose objects are nowhere: of any size, without taking memory or time."""

from __future__ import annotations

import datetime
import threading
from typing import Any

from storages.base import BaseStorage
from storages.contract import Capabilities, Stat

OLD = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)


class Pattern(BaseStorage):
    """Objects of any size that are nowhere: a byte at each position. It counts what is read and what is open."""

    capabilities = Capabilities(ranges=True, if_match=True)

    def __init__(self, **options):
        super().__init__(**options)
        self.sizes = {}
        self.version = 1
        self.calls: list[Any] = []
        self.read = 0  # bytes
        self.reads = 0
        self.bodies = 0  # that are open
        self.broken_after: int | None = None
        self.error: BaseException | None = None
        self.reading, self.may_read = threading.Event(), threading.Event()  # a read has begun, may end
        self.may_read.set()

    def _stat(self, key):
        self.calls.append("stat")
        return self.told(key)

    def told(self, key):
        return Stat(self.sizes[key], OLD, etag=f"v{self.version}")

    def _open_range(self, key, start, end, if_match=None):
        self.calls.append((start, end, if_match))
        stat = self.told(key)
        if if_match not in (None, stat.etag):
            raise FileExistsError(key)
        return PatternBody(self, stat, start, stat.size if end is None else min(end, stat.size))

    def _classify(self, error):
        return {KeyError: FileNotFoundError, FileExistsError: FileExistsError}.get(type(error))


class PatternBody:
    def __init__(self, storage, stat, start, end):
        self.storage, self.stat, self.position, self.end = storage, stat, start, end
        storage.bodies += 1
        self.letter = str(storage.version).encode()

    def read(self, size=-1):
        storage = self.storage
        storage.reads += 1
        storage.reading.set()
        assert storage.may_read.wait(30), "who has to let it read waits for it"
        if storage.broken_after is not None and storage.read >= storage.broken_after:
            if storage.error:
                raise storage.error
            return b""
        left = max(self.end - self.position, 0)
        size = left if size < 0 else min(size, left)
        self.position += size
        storage.read += size
        return self.letter * size

    def close(self):
        self.storage.bodies -= 1
