"""Storages whose server keeps a session and files in directories: FTP and SFTP.

A :class:`Connection` speaks the protocol, a :class:`Pool` keeps connections for the threads of a process, and
:class:`FileServerMixin` makes the hooks of a storage out of the two.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import posixpath
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import wait
from typing import Any, Generic, Protocol, TypeVar

from django.core.exceptions import ImproperlyConfigured

from storages import process
from storages.contract import Capabilities, Entry, Stat, WriteOptions
from storages.mixin import quoted, with_query
from storages.settings import Setting
from storages.streams import read_chunks

CONNECTIONS = Setting(
    4, type=int, least=1, help="Connections that a process keeps for its threads; servers limit them."
)
CHUNK = 256 * 1024  # bytes handed to a connection at a time

# Seconds that a thread waits for a connection of another one before the pool grows beyond its limit: whoever holds
# them all may be waiting for this very thread.
PATIENCE = 2
# Connections that are being made at a time; sshd drops clients that knock in crowds (MaxStartups).
KNOCKING = 4
# Connections idle for longer are closed when another one comes back: the server would do it at a time of its own.
MOST_IDLE = 120
# Removing what a failed write left is a courtesy; its error must not wait longer for it.
ABORT_SECONDS = 10

# What is written goes under such a name first, so that nothing shows half-written. Listings leave these names out.
_OWN_NAME = re.compile(r"\.storages-[0-9a-f]{32}\.(?:part|claim)")

T = TypeVar("T")


class Upload(Protocol):
    """A file that is being written on the server."""

    def write(self, chunk: bytes) -> None: ...

    def close(self) -> None:
        """Make sure that the server has all of it; raises where it has not."""
        ...

    def discard(self) -> None:
        """Stop; the connection is in order afterwards, or this raises."""
        ...


class Download(Protocol):
    """Bytes of a file, and what is known of it."""

    stat: Stat | None

    def read(self, size: int = -1, /) -> bytes: ...

    def close(self) -> None: ...


class Connection(Protocol):
    """One session with a server, for one thread at a time.

    A missing file is FileNotFoundError, a directory in its place IsADirectoryError.
    """

    client: Any  # the protocol's own

    def is_alive(self, idle: float) -> bool:
        """Whether the session may be used again after ``idle`` seconds."""
        ...

    def survives(self, error: BaseException) -> bool:
        """Whether the session is in order after a call that raised ``error``: the server itself said no."""
        ...

    def close(self) -> None: ...

    def abandon(self) -> None:
        """Close the socket in a forked child without a word to the server, whose client is the parent."""
        ...

    def stat(self, path: str) -> Stat: ...

    def entries(self, path: str) -> list[Entry]:
        """Return what lies in a directory, under bare names; nothing where it is missing."""
        ...

    def read(self, path: str, start: int, end: int | None, etag: str | None) -> Download:
        """Return bytes of a file; FileExistsError where its etag is another one."""
        ...

    def create(self, path: str) -> Upload:
        """Begin a new file; FileNotFoundError where its directory is missing."""
        ...

    def publish(self, temporary: str, path: str, options: WriteOptions) -> None:
        """Give a file its name, at once; FileExistsError where a condition of ``options`` does not hold."""
        ...

    def remove(self, path: str) -> None: ...

    def make_directory(self, path: str) -> None:
        """Raises FileExistsError where it is there, FileNotFoundError where its parent is missing."""
        ...


C = TypeVar("C", bound=Connection)

_pools: list[Pool[Any]] = []  # one for each configuration of this process


class Pool(Generic[C]):
    """Connections of one configuration, each taken by one thread at a time; made by ``connect()`` as needed.

    ``limit`` is how many are kept, and how many there are at once as long as none is held for long.
    """

    def __init__(self, connect: Callable[[], C], limit: int):
        self._connect = connect
        self._limit = limit
        self._idle: list[tuple[C, float]] = []  # with the time of their return; the last one is taken first
        self._open: dict[int, C] = {}
        self._expected = 0  # being made
        self._returned = threading.Condition()
        self._doors = threading.BoundedSemaphore(KNOCKING)
        _pools.append(self)

    def run(self, deed: Callable[[C], T]) -> T:
        """Return ``deed(connection)``; done once more, so it must bear that, where an idle connection was dead."""
        connection, result = self.start(deed)
        self.give_back(connection)
        return result

    def start(self, deed: Callable[[C], T]) -> tuple[C, T]:
        """Do the same, and leave the connection taken, for what follows on it."""
        connection, used = self._take()
        try:
            return connection, deed(connection)
        except BaseException as error:
            survives = self.give_back(connection, error)
            # A server that stalls is not asked twice.
            if survives or not used or isinstance(error, TimeoutError) or not isinstance(error, Exception):
                raise
        connection = self._make()
        try:
            return connection, deed(connection)
        except BaseException as error:
            self.give_back(connection, error)
            raise

    def give_back(self, connection: C, error: BaseException | None = None) -> bool:
        """Take a connection back, for the next one who asks unless ``error`` broke it; return whether it is kept."""
        survives = error is None or connection.survives(error)
        now = time.monotonic()
        with self._returned:
            stale = [one for one, since in self._idle if now - since > MOST_IDLE]
            self._idle = [(one, since) for one, since in self._idle if now - since <= MOST_IDLE]
            if survives and id(connection) in self._open and len(self._idle) < self._limit:
                self._idle.append((connection, now))
            else:
                stale.append(connection)
            self._returned.notify()
        for one in stale:
            self._discard(one)
        return survives

    def close(self) -> None:
        """Close what is idle now, and what is in use when it comes back; the next use makes new connections."""
        with self._returned:
            idle = [connection for connection, _ in self._idle]
            self._idle.clear()
            self._open.clear()
        for connection in idle:
            connection.close()

    def abandon(self) -> None:
        """Let go of the parent's connections in a forked child."""
        for connection in list(self._open.values()):
            with contextlib.suppress(Exception):
                connection.abandon()

    def _take(self) -> tuple[C, bool]:
        """Return a connection, and whether it was used before."""
        with self._returned:
            self._returned.wait_for(self._may_go_on, PATIENCE)
        while (returned := self._pop()) is not None:
            connection, since = returned
            if connection.is_alive(time.monotonic() - since):
                return connection, True
            self._discard(connection)
        return self._make(), False

    def _may_go_on(self) -> bool:
        return bool(self._idle) or len(self._open) + self._expected < self._limit

    def _pop(self) -> tuple[C, float] | None:
        with self._returned:
            return self._idle.pop() if self._idle else None

    def _make(self) -> C:
        with self._returned:
            self._expected += 1
        entered = self._doors.acquire(timeout=PATIENCE)
        try:
            connection = self._connect()
        except FileNotFoundError as error:  # of this machine: it must not pass for a missing object
            raise ImproperlyConfigured(f"An option names a file that is not there: {error}") from error
        finally:
            if entered:
                self._doors.release()
            with self._returned:
                self._expected -= 1
        with self._returned:
            self._open[id(connection)] = connection
        return connection

    def _discard(self, connection: C) -> None:
        with self._returned:
            self._open.pop(id(connection), None)
            self._returned.notify()
        connection.close()


def _after_fork() -> None:
    for pool in _pools:
        pool.abandon()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_after_fork)


def file_server_capabilities(*, accessed_time: bool = False, missing: dict[str, str]) -> Capabilities:
    """Return what storages over a :class:`Connection` can do; ``missing`` are the protocol's own reasons."""
    return Capabilities(
        move=True,
        ranges=True,
        parts=True,
        streams=True,
        create_only=True,
        if_match=True,
        timed_etags=True,
        accessed_time=accessed_time,
        missing={
            "content_type": "A file system keeps none.",
            "created_time": "The protocol does not tell it.",
            **missing,
        },
    )


class FileServerMixin:
    """The hooks of a storage over a pool of connections, for the files below ``_directory``."""

    base_url: Any
    connections: Any
    _directory: Any  # empty, or ending in a slash
    _account: Any  # what it takes to log in: a tuple with connect()
    _derived: Any
    _translating: Any

    # What is written in order, by the writing thread, is never held but for one part.
    part_size = 1024**2
    parts_at_once = 0
    # Ranges that are fetched ahead: two keep the line busy while one of them begins.
    ranges_at_once = 2
    read_ahead = 8 * 1024**2

    @property
    def client(self) -> Any:
        """Return the protocol's client, over a connection of this storage's own; it is for one thread at a time."""
        kept = self._own_sessions
        if not kept or not kept[0].is_alive(MOST_IDLE):
            kept[:] = [self._account().connect()]
        return kept[0].client

    def close(self) -> None:
        """Close the connections; the next use makes new ones."""
        while self._own_sessions:
            self._own_sessions.pop().close()
        self._pool.close()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, exc_type: object, exc_value: object, traceback: object) -> None:
        self.close()

    @property
    def _own_sessions(self) -> list[Any]:
        return self._derived("own sessions", list)

    @property
    def _pool(self) -> Pool[Any]:
        return self._derived("pool", self._shared_pool)

    def _shared_pool(self) -> Pool[Any]:
        account = self._account()
        key = (type(account), *account, self.connections)
        return process.shared(key, lambda: Pool(account.connect, self.connections))

    # Hooks

    def _stat(self, key: str) -> Stat:
        return self._pool.run(lambda connection: connection.stat(self._path(key)))

    def _open_range(self, key: str, start: int, end: int | None, if_match: str | None = None) -> _Body:
        return _Body(self._pool, self._path(key), start, end, if_match)

    def _put(self, key: str, body: Any, options: WriteOptions) -> None:
        write = _Write(self._pool, self._path(key), options)
        try:
            write.send(1, body)
            write.complete()
        except BaseException:
            wait([process.submit(write.abort)], ABORT_SECONDS)
            raise

    def _start_parts(self, key: str, options: WriteOptions) -> _Write:
        return _Write(self._pool, self._path(key), options)

    def _delete(self, key: str) -> None:
        self._pool.run(lambda connection: connection.remove(self._path(key)))

    def _move(self, source_key: str, key: str) -> None:
        source, target = self._path(source_key), self._path(key)

        def rename(connection: Connection) -> None:
            connection.stat(source)
            make_directories(connection, posixpath.dirname(target))
            connection.publish(source, target, WriteOptions())

        self._pool.run(rename)

    def _list(self, prefix: str) -> Iterator[Entry]:
        directory = self._path(prefix)
        for entry in sorted(self._pool.run(lambda connection: connection.entries(directory))):
            if not _OWN_NAME.fullmatch(entry.name):
                yield entry._replace(name=prefix + entry.name)

    def _exists(self, key: str) -> bool:
        try:
            self._stat(key)
        except FileNotFoundError:
            return False
        except IsADirectoryError:
            return next(self._list(key + "/"), None) is not None
        return True

    def _signs_urls(self) -> bool:
        return False

    def _public_url(self, key: str, parameters: Mapping[str, Any]) -> str:
        if not self.base_url:
            raise ValueError(f"This file is not accessible via a URL: {type(self).__name__} has no 'base_url'")
        return with_query(f"{self.base_url.rstrip('/')}/{quoted(key)}", parameters)

    # Unfinished uploads

    def stale_uploads(self, older_than: datetime.timedelta = datetime.timedelta(days=1)) -> Iterator[Entry]:
        """Yield what killed processes left below this storage more than ``older_than`` ago."""
        before = datetime.datetime.now(datetime.timezone.utc) - older_than
        waiting = [""]
        while waiting:
            prefix = waiting.pop()
            with self._translating(prefix):
                entries = self._pool.run(lambda connection: connection.entries(self._path(prefix)))  # noqa: B023
                for entry in entries:
                    key = prefix + entry.name
                    if not _OWN_NAME.fullmatch(entry.name):
                        waiting += [f"{key}/"] * entry.is_prefix
                    elif self._age_mark(key, entry) <= before:
                        yield entry._replace(name=key)

    def abort_stale_uploads(self, older_than: datetime.timedelta = datetime.timedelta(days=1)) -> int:
        """Remove what stale_uploads() lists; return how many there were."""
        stale = list(self.stale_uploads(older_than))
        for entry in stale:
            with self._translating(entry.name):
                self._delete(entry.name)
        return len(stale)

    def _age_mark(self, key: str, entry: Entry) -> datetime.datetime:
        """Return when something of our own was made, or long ago for a directory without a time: none is kept long."""
        modified = entry.modified or (None if entry.is_prefix else self._stat(key).modified)
        return modified or datetime.datetime.min.replace(tzinfo=datetime.timezone.utc)

    def _path(self, key: str) -> str:
        return f"{self._directory}{key}"


class _Body:
    """A Download that holds its connection until it is closed."""

    def __init__(self, pool: Pool[Any], path: str, start: int, end: int | None, etag: str | None):
        self._pool = pool
        self._connection: Any = None
        self._connection, self._download = pool.start(lambda connection: connection.read(path, start, end, etag))
        self.stat: Stat | None = self._download.stat

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._download.read(size)
        except BaseException as error:
            self._let_go(error)
            raise

    def close(self) -> None:
        if self._connection is not None:
            try:
                self._download.close()
            except Exception as error:  # noqa: BLE001 -- what was read is right; only the connection is lost
                self._let_go(error)
            else:
                self._let_go()

    def _let_go(self, error: BaseException | None = None) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back(connection, error)

    def __del__(self) -> None:
        self._let_go(ConnectionAbortedError())  # nobody closed it; what is still to come would be the next one's


class _Write:
    """A PartUpload to a temporary sibling, which a rename publishes."""

    def __init__(self, pool: Pool[Any], path: str, options: WriteOptions):
        self._pool = pool
        self._path = path
        self._options = options
        self._temporary = sibling(path, "part")
        self._connection, self._upload = pool.start(lambda connection: _created(connection, self._temporary))

    def send(self, number: int, body: Any) -> None:
        for chunk in read_chunks(body, CHUNK):
            with self._watching():
                self._upload.write(chunk)

    def complete(self) -> None:
        with self._watching():
            self._upload.close()
            self._connection.publish(self._temporary, self._path, self._options)
        self._let_go()

    def abort(self) -> None:
        if self._connection is not None:
            try:
                self._upload.discard()
                self._connection.remove(self._temporary)
            except Exception as error:  # noqa: BLE001 -- a new connection may do better
                self._let_go(error)
            else:
                self._let_go()
                return
        with contextlib.suppress(FileNotFoundError):
            self._pool.run(lambda connection: connection.remove(self._temporary))

    @contextlib.contextmanager
    def _watching(self) -> Iterator[None]:
        """Drop the connection where an error breaks it; after a mere answer it serves to clear up."""
        try:
            yield
        except BaseException as error:
            if not self._connection.survives(error):
                self._let_go(error)
            raise

    def _let_go(self, error: BaseException | None = None) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back(connection, error)


def sibling(path: str, kind: str, token: str = "") -> str:
    """Return a path beside ``path`` that no listing shows."""
    return posixpath.join(posixpath.dirname(path), f".storages-{token or secrets.token_hex(16)}.{kind}")


def _created(connection: Connection, path: str) -> Upload:
    """Begin a new file, and its directory where that is missing: it is asked for only then."""
    try:
        return connection.create(path)
    except FileNotFoundError:
        make_directories(connection, posixpath.dirname(path))
    try:
        return connection.create(path)
    except FileNotFoundError as error:
        raise PermissionError(errno.EACCES, "The server lets this account create no file there", path) from error


def put_in_place(rename: Callable[[str, str], Any], remove: Callable[[str], Any], source: str, target: str) -> None:
    """Replace ``target`` where the server renames over nothing: the old file steps aside, and back if need be."""
    aside = sibling(target, "part")
    rename(target, aside)
    try:
        rename(source, target)
    except BaseException:
        rename(aside, target)
        raise
    remove(aside)


def make_directories(connection: Connection, path: str) -> None:
    """Make a directory and its parents; others may do so at the same time."""
    if path in ("", "/"):
        return
    for _ in range(2):
        try:
            connection.make_directory(path)
        except FileExistsError:
            return
        except FileNotFoundError:
            make_directories(connection, posixpath.dirname(path))
        else:
            return
