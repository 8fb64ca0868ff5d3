"""Objects in this process's memory: the reference for backend authors, and a fast fake for tests."""

from __future__ import annotations

import datetime
import io
import itertools
import threading
from collections.abc import Iterator
from typing import Any

from storages.base import BaseStorage
from storages.contract import Capabilities, Entry, Stat, WriteOptions
from storages.settings import Setting

_versions = itertools.count(1)
_lock = threading.Lock()  # a condition and the write that it guards are one step


class MemoryStorage(BaseStorage):
    """Keep objects in a dict, ``client``."""

    location = Setting("", role="location", help="Prefix of all keys.")
    allow_overwrite = Setting(False, type=bool, role="overwrite", help="Whether save() replaces what has its name.")

    capabilities = Capabilities(
        ranges=True,
        create_only=True,
        if_match=True,
        missing={"presign": "Nothing outside the process can read its memory, so there are no URLs."},
    )

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.client: dict[str, tuple[bytes, Stat]] = {}

    def _stat(self, key: str) -> Stat:
        return self.client[key][1]

    def _open_range(self, key: str, start: int, end: int | None, if_match: str | None = None) -> _Body:
        data, stat = self.client[key]
        if if_match not in (None, stat.etag):
            raise FileExistsError(key)
        return _Body(data[start:end], stat)

    def _put(self, key: str, body: Any, options: WriteOptions) -> None:
        data = body.read()
        stat = Stat(len(data), modified=datetime.datetime.now(datetime.timezone.utc), etag=str(next(_versions)))
        with _lock:
            old = self.client.get(key)
            if (options.create_only and old) or (options.if_match and options.if_match != (old and old[1].etag)):
                raise FileExistsError(key)
            self.client[key] = (data, stat)

    def _delete(self, key: str) -> None:
        del self.client[key]

    def _list(self, prefix: str) -> Iterator[Entry]:
        below = sorted(key for key in list(self.client) if key.startswith(prefix) and key != prefix)
        for child, keys in itertools.groupby(below, lambda key: key[len(prefix) :].partition("/")[:2]):
            key = next(keys)
            if child[1]:
                yield Entry(prefix + child[0], is_prefix=True)
            elif found := self.client.get(key):
                yield Entry(key, False, found[1].size, found[1].modified, found[1].etag)

    def _classify(self, error: BaseException) -> type[Exception] | None:
        meanings: dict[type, type[Exception]] = {KeyError: FileNotFoundError, FileExistsError: FileExistsError}
        return meanings.get(type(error))

    def _advise(self, error: BaseException, kind: type[Exception]) -> str:
        return "There is no such object" if kind is FileNotFoundError else "There is such an object already"


class _Body(io.BytesIO):
    def __init__(self, data: bytes, stat: Stat):
        super().__init__(data)
        self.stat: Stat | None = stat
