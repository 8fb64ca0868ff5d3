"""Files on an SSH server, over SFTP."""

from __future__ import annotations

import base64
import contextlib
import datetime
import errno
import functools
import getpass
import hashlib
import logging
import operator
import os
import posixpath
import re
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation

from storages import process, usual
from storages.backends import connections as sessions
from storages.backends.connections import FileServerMixin, put_in_place
from storages.base import BaseStorage
from storages.contract import Entry, Stat, WriteOptions
from storages.files import StorageFile
from storages.optional import OptionalModule
from storages.settings import Setting

paramiko = OptionalModule("paramiko", "sftp")
protocol = OptionalModule("paramiko.sftp", "sftp")

logger = logging.getLogger("storages")

SYSTEM_KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")

# What every server takes in one request, and how many of them may be on their way: 2 MiB fill a line of 100 ms at
# 20 MiB/s, and are SSH's own window.
REQUEST_SIZE = 32 * 1024
REQUESTS_AT_ONCE = 64
KEEPALIVE = 30  # seconds; routers forget a silent connection

_PIN = re.compile(r"SHA256:[A-Za-z0-9+/]{43}=?$|[a-z0-9@.-]+ [A-Za-z0-9+/]+=*(?: |$)")

# The type and the permissions of a file, as stat() has them in one number.
_kind = operator.attrgetter("st_mode")

_MEANINGS: dict[str, type[Exception]] = {
    "BadHostKeyException": ConnectionError,
    "ChannelException": ConnectionError,
    "NoValidConnectionsError": ConnectionError,
    "SSHException": ConnectionError,
    "EOFError": ConnectionError,
    **{kind.__name__: kind for kind in (ConnectionError, FileNotFoundError, FileExistsError, PermissionError)},
}

# The protocol's refusals without a reason, to what OpenSSH means by them and what to do.
_STATUSES: dict[str, tuple[type[Exception], str]] = {
    "Failure": (OSError, "the server does not say why; its disk may be full, or the account's quota used up"),
    "Bad message": (SuspiciousFileOperation, "the server cannot have such a name; shorten it"),
}

# What paramiko says, in a general class, when the last key that it tried or had was none for the account.
_UNUSABLE_KEYS = ("Invalid key", "No authentication methods available", "not a valid", "encountered ")

_SAID: dict[type[Exception], str] = {
    FileNotFoundError: "There is no such file on the server",
    FileExistsError: "There is such a file already on the server",
}


class HostKeyError(ConnectionError):
    """The server did not prove that it is the one that is meant; nothing was sent to it."""


class SFTPStorageFile(StorageFile):
    """An open file of an SSH server."""


class SFTPStorage(FileServerMixin, BaseStorage):
    """Store files in a directory of an SSH server."""

    host = Setting(names=("SFTP_STORAGE_HOST",), help="Name or address of the server.")
    root_path = Setting(
        "",
        names=("SFTP_STORAGE_ROOT",),
        type=(str, os.PathLike),
        help="Directory of the files on the server; a relative one begins where the account's sessions do.",
    )
    params = Setting(
        {},
        names=("SFTP_STORAGE_PARAMS",),
        type=dict,
        help="Arguments of paramiko's SSHClient.connect(): port, username, password, pkey, key_filename and others.",
    )
    interactive = Setting(
        False,
        names=("SFTP_STORAGE_INTERACTIVE",),
        type=bool,
        help="Whether to ask on the terminal for a password where keys do not open the account; for collectstatic.",
    )
    file_mode = Setting(
        None,
        names=("SFTP_STORAGE_FILE_MODE",),
        type=int,
        least=0,
        role="file_permissions",
        help="Permissions of new files, as for os.chmod(); None: the server's choice.",
    )
    dir_mode = Setting(
        None,
        names=("SFTP_STORAGE_DIR_MODE",),
        type=int,
        least=0,
        role="directory_permissions",
        help="Permissions of new directories.",
    )
    uid = Setting(None, names=("SFTP_STORAGE_UID",), type=int, least=0, help="Number of the owner of what is new.")
    gid = Setting(None, names=("SFTP_STORAGE_GID",), type=int, least=0, help="Number of the group of what is new.")
    known_host_file = Setting(
        names=("SFTP_KNOWN_HOST_FILE",),
        type=(str, os.PathLike),
        help="File of known hosts, which is only read. None: those of the user and of the system.",
    )
    host_fingerprint = Setting(
        names=("SFTP_HOST_FINGERPRINT",),
        type=(str, list, tuple),
        help="The server's fingerprint ('SHA256:...') or public key ('ssh-ed25519 AAAA...'), or several of them; known "
        "hosts are not asked then.",
    )
    verify_host = Setting(
        True,
        names=("SFTP_VERIFY_HOST",),
        type=bool,
        help="False trusts any server that answers, and whoever stands between; each connection then logs a warning.",
    )
    base_url = Setting(
        names=("SFTP_BASE_URL", "MEDIA_URL"), help="Where a web server shows the directory; url() goes below it."
    )
    file_overwrite = usual.OVERWRITE.named("SFTP_FILE_OVERWRITE")
    connect_timeout = usual.CONNECT_TIMEOUT.named(
        "SFTP_CONNECT_TIMEOUT", default=15, help="Seconds for a connection, login included."
    )
    read_timeout = usual.READ_TIMEOUT.named(
        "SFTP_READ_TIMEOUT", help="Seconds without an answer before a request has failed."
    )
    connections = sessions.CONNECTIONS.named("SFTP_CONNECTIONS")

    capabilities = sessions.file_server_capabilities(
        accessed_time=True,
        missing={
            "presign": "SSH has no URLs; base_url is for a web server over the same directory.",
            "copy": "Few servers copy by themselves.",
            "delete_many": "A request names one file.",
        },
    )

    sdk = paramiko
    file_class = SFTPStorageFile

    def __init__(self, **options: Any):
        super().__init__(**options)
        for pin in self._pins():
            if not _PIN.match(pin):
                raise ImproperlyConfigured(
                    f"{type(self).__name__}: {self._spelt('host_fingerprint')} is a fingerprint such as 'SHA256:...' "
                    f"or a public key such as 'ssh-ed25519 AAAA...', unlike {pin!r}; ssh-keyscan shows the key"
                )

    # Clients

    @property
    def sftp(self) -> Any:
        """Return the paramiko SFTPClient that ``client`` is, under the name of earlier releases."""
        return self.client

    def _account(self) -> _Account:
        if not self.host:
            raise ImproperlyConfigured(f"{type(self).__name__}: set {self._spelt('host')}")
        return _Account(
            self.host,
            dict(self.params),
            self.interactive,
            os.fspath(self.known_host_file) if self.known_host_file else None,
            self._pins(),
            self.verify_host,
            self._role("file_permissions"),
            self._role("directory_permissions"),
            self.uid,
            self.gid,
            self.connect_timeout,
            self.read_timeout,
        )

    def _pins(self) -> tuple[str, ...]:
        return (
            (self.host_fingerprint,) if isinstance(self.host_fingerprint, str) else tuple(self.host_fingerprint or ())
        )

    @property
    def _directory(self) -> str:
        root = os.fspath(self.root_path)
        return f"{root.rstrip('/')}/" if root else ""

    # Hooks

    def _classify(self, error: BaseException) -> type[Exception] | None:
        if isinstance(error, HostKeyError):
            return None
        if _is_refusal(error):
            return PermissionError
        if isinstance(error, OSError) and str(error) in _STATUSES:
            return _STATUSES[str(error)][0]
        if isinstance(error, OSError) and str(error) == "Socket is closed":
            return ConnectionError
        return next((_MEANINGS[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _MEANINGS), None)

    def _advise(self, error: BaseException, kind: type[Exception]) -> str:
        said = f"{type(self).__name__}: {str(error) or type(error).__name__}"
        if isinstance(error, paramiko.BadHostKeyException):
            return (
                f"{type(self).__name__}: {self.host} shows the key {fingerprint(error.key)}, which is not the one that "
                "is known: somebody may be listening. If the server's key was changed, correct 'host_fingerprint' "
                "(SFTP_HOST_FINGERPRINT) or the file of known hosts"
            )
        if kind is PermissionError and isinstance(error, paramiko.SSHException):
            return f"{said.rstrip('.')}. Check the user and the key or password in 'params' (SFTP_STORAGE_PARAMS)"
        if str(error) in _STATUSES:
            return f"{said}: {_STATUSES[str(error)][1]}"
        if "protocol banner" in said:  # OpenSSH hangs up where too many are logging in
            said += ": the server may take no more logins at a time (MaxStartups); lower 'connections'"
        if kind is ConnectionError:
            return f"{said}. Check 'host' (SFTP_STORAGE_HOST), the network and the server"
        if kind is PermissionError:
            return f"{said}. The account lacks the permission, on the file or on its directory"
        return _SAID.get(kind, said)


class _Account(NamedTuple):
    """What it takes to reach a server, and how new files are to be."""

    host: str
    params: dict[str, Any]
    interactive: bool
    known_host_file: str | None
    pins: tuple[str, ...]
    verify: bool
    file_permissions: int | None
    directory_permissions: int | None
    uid: int | None
    gid: int | None
    connect_timeout: float
    read_timeout: float

    def __repr__(self) -> str:
        return f"<account at {self.host}>"  # nothing of the parameters, which hold passwords

    def connect(self) -> _Session:
        """Return a new session. Raises what paramiko raises, HostKeyError."""
        client, channel = self._log_in()
        return _Session(self, client, channel)

    def _log_in(self) -> tuple[Any, Any]:
        client = self._checking_client()
        typed: dict[str, str] = process.shared(
            ("sftp passwords", self._known_as(), repr(self.params.get("username"))), dict
        )
        known = dict(typed)
        try:
            return self._connected(client, {**self.params, **known})
        except paramiko.SSHException as error:
            if not _is_refusal(error) or not self.interactive or "password" in self.params:
                raise
        with process.shared("terminal", threading.Lock):  # several connections may want the password
            if typed == known:  # else another thread has asked meanwhile
                typed.update(self._ask())
            known = dict(typed)
        try:
            return self._connected(self._checking_client(), {**self.params, **known})
        except paramiko.SSHException as error:
            if _is_refusal(error):
                typed.clear()
            raise

    def _ask(self) -> dict[str, str]:
        username = self.params.get("username") or getpass.getuser()
        return {"username": username, "password": getpass.getpass(f"Password of {username} at {self.host}: ")}

    def _checking_client(self) -> Any:
        """Return an SSHClient that accepts only the server that it should."""
        client = paramiko.SSHClient()
        keys = [pin for pin in self.pins if not pin.startswith("SHA256:")]
        for pin in keys:
            # Among the known hosts, it also decides which of its keys the server is asked for.
            name, data = pin.split()[:2]
            key = paramiko.PKey.from_type_string(name, base64.b64decode(data))
            client.get_host_keys().add(self._known_as(), key.get_name(), key)
        if not self.pins and self.verify:
            self._load_known_hosts(client)
        client.set_missing_host_key_policy(_Policy(self))
        return client

    def _load_known_hosts(self, client: Any) -> None:
        # As system keys, which paramiko never writes back.
        if self.known_host_file:
            client.load_system_host_keys(self.known_host_file)
            return
        client.load_system_host_keys()
        if SYSTEM_KNOWN_HOSTS.exists():
            client.load_system_host_keys(str(SYSTEM_KNOWN_HOSTS))

    def _known_as(self) -> str:
        """Return the name under which files of known hosts have the server."""
        port = self.params.get("port", 22)
        return self.host if port == 22 else f"[{self.host}]:{port}"

    def _connected(self, client: Any, params: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return the client, logged in, and an SFTPClient over a channel of it."""
        seconds = self.connect_timeout
        given = {
            "timeout": seconds,
            "banner_timeout": seconds,
            "auth_timeout": seconds,
            "channel_timeout": seconds,
            **params,
        }
        # paramiko waits for some answers without a limit.
        late = threading.Event()

        def give_up() -> None:
            late.set()
            client.close()

        alarm = threading.Timer(seconds, give_up)
        alarm.daemon = True
        alarm.start()
        try:
            if callable(given.get("sock")):  # there are several connections
                given["sock"] = given["sock"]()
            elif "sock" not in given:
                raw = socket.create_connection((self.host, given.get("port", 22)), seconds)
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else each small request waits for an ACK
                given["sock"] = _PatientSocket(raw, self.read_timeout)
            client.connect(self.host, **given)
            transport = client.get_transport()
            if transport is None:
                raise ConnectionAbortedError(errno.ECONNABORTED, "The session was closed", self.host)
            transport.set_keepalive(KEEPALIVE)
            channel = transport.open_session(timeout=seconds)
            channel.settimeout(self.read_timeout)
            channel.invoke_subsystem("sftp")
            return client, paramiko.SFTPClient(channel)
        except BaseException as error:
            client.close()
            if isinstance(given.get("sock"), _PatientSocket):
                given["sock"].close()
            if late.is_set() and isinstance(error, Exception):
                raise TimeoutError(errno.ETIMEDOUT, f"No session within {seconds} s", self.host) from error
            raise
        finally:
            alarm.cancel()


class _Policy:
    """What happens to a server that is not among the known hosts; for paramiko."""

    def __init__(self, account: _Account):
        self._account = account

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
        shown, account = fingerprint(key), self._account
        if shown in account.pins:
            return
        if account.pins:
            raise HostKeyError(
                f"{hostname} shows the {key.get_name()} key {shown}, which is none of 'host_fingerprint' "
                "(SFTP_HOST_FINGERPRINT): somebody may be listening, or it has several keys and another one is pinned"
            )
        if account.verify:
            raise HostKeyError(
                f"{hostname} is not among the known hosts. It shows the {key.get_name()} key {shown}: if that is the "
                "server's own, set 'host_fingerprint' (SFTP_HOST_FINGERPRINT) to it, or add the key to "
                "'known_host_file' (SFTP_KNOWN_HOST_FILE)"
            )
        logger.warning(
            "%s was not asked to prove who it is: 'verify_host' (SFTP_VERIFY_HOST) is False. It shows %s",
            hostname,
            shown,
        )


def _is_refusal(error: BaseException) -> bool:
    """Whether the server opens the account to none of the keys and passwords that there are."""
    if isinstance(error, paramiko.AuthenticationException):
        return True
    return isinstance(error, paramiko.SSHException) and str(error).startswith(_UNUSABLE_KEYS)


def fingerprint(key: Any) -> str:
    """Return the fingerprint of a public key, as ssh-keygen -l shows it."""
    digest = hashlib.sha256(key.asbytes()).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


class _PatientSocket:
    """A socket whose send() fails when nothing goes out for a while; paramiko would try for ever."""

    def __init__(self, raw: socket.socket, patience: float):
        self._raw = raw
        self._patience = patience  # seconds
        self._stuck_since: float | None = None

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._raw, attribute)

    def send(self, data: bytes) -> int:
        try:
            sent = self._raw.send(data)
        except TimeoutError:  # paramiko looks up ten times a second
            self._stuck_since = self._stuck_since or time.monotonic()
            if time.monotonic() - self._stuck_since > self._patience:
                raise ConnectionAbortedError(errno.ECONNABORTED, "The server takes no more bytes") from None
            raise
        self._stuck_since = None
        return sent


class _Session:
    """One SFTP session; see Connection."""

    def __init__(self, account: _Account, ssh: Any, client: Any):
        self._account = account
        self._ssh = ssh
        self.client = client

    def is_alive(self, idle: float) -> bool:
        transport = self._ssh.get_transport()
        return bool(transport and transport.is_active()) and not self.client.get_channel().closed

    def survives(self, error: BaseException) -> bool:
        # The server's own refusals are OSErrors that paramiko makes of a status.
        refused = isinstance(error, OSError) and not isinstance(error, (TimeoutError, ConnectionError))
        return refused and self.is_alive(0)

    def close(self) -> None:
        self._ssh.close()

    def abandon(self) -> None:
        self._ssh.get_transport().sock.close()

    def stat(self, path: str) -> Stat:
        return _stat_of(self.client.stat(path), path)

    def entries(self, path: str) -> list[Entry]:
        directory = path.rstrip("/") or ("/" if path else ".")
        try:
            found = list(_Listing(self.client, directory))
        except FileNotFoundError:
            return []
        except OSError:
            if self._is_file(directory):
                return []
            raise
        return [entry for name, attributes in found if (entry := self._entry(path, name, attributes))]

    def read(self, path: str, start: int, end: int | None, etag: str | None) -> _Download:
        return _Download(self.client, path, start, end, etag)

    def create(self, path: str) -> _Upload:
        return _Upload(self.client, path, functools.partial(self._wished, self._account.file_permissions))

    def publish(self, temporary: str, path: str, options: WriteOptions) -> None:
        if options.if_match:
            try:
                found = self.stat(path).etag
            except FileNotFoundError:
                found = None
            if found != options.if_match:
                raise FileExistsError(errno.EEXIST, "The file is another one by now", path)
        if options.create_only:
            self._rename(temporary, path)
        else:
            self._replace(temporary, path)

    def remove(self, path: str) -> None:
        try:
            self.client.remove(path)
        except FileNotFoundError:
            raise
        except OSError:
            if self._is_directory(path):
                raise FileNotFoundError(errno.ENOENT, "This is a directory", path) from None
            raise

    def make_directory(self, path: str) -> None:
        try:
            self.client.mkdir(path)
        except (FileNotFoundError, PermissionError):
            if self._is_directory(path):
                raise FileExistsError(errno.EEXIST, "There is such a directory already", path) from None
            raise
        except OSError as error:
            if self._is_directory(path):
                raise FileExistsError(errno.EEXIST, "There is such a directory already", path) from None
            if self._is_file(path):
                raise NotADirectoryError(errno.ENOTDIR, "A file is where a directory should be", path) from error
            raise
        wished = self._wished(self._account.directory_permissions, functools.partial(self.client.stat, path))
        if wished is not None:
            self.client._request(protocol.CMD_SETSTAT, path, wished)

    def _wished(self, permissions: int | None, found: Callable[[], Any]) -> Any:
        """Return the attributes that something new is to have, or None for those that it gets by itself."""
        uid, gid = self._account.uid, self._account.gid
        if (permissions, uid, gid) == (None, None, None):
            return None
        attributes = paramiko.SFTPAttributes()
        vars(attributes)["st_mode"] = permissions
        if (uid, gid) != (None, None):
            if uid is None or gid is None:  # the protocol knows only both
                now = found()
                uid, gid = now.st_uid if uid is None else uid, now.st_gid if gid is None else gid
            attributes.st_uid, attributes.st_gid = uid, gid
        return attributes

    def _rename(self, source: str, target: str) -> None:
        # OpenSSH links and unlinks, so that this fails where something is; the draft of the protocol demands it.
        try:
            self.client.rename(source, target)
        except (FileNotFoundError, PermissionError):
            raise
        except OSError as error:
            if self._is_there(target):
                raise FileExistsError(errno.EEXIST, "There is such a file already", target) from error
            raise

    def _replace(self, source: str, target: str) -> None:
        try:
            self.client.posix_rename(source, target)
        except (FileNotFoundError, PermissionError):
            raise
        except OSError as error:
            if "unsupported" not in str(error).lower():
                if self._is_directory(target):
                    raise IsADirectoryError(errno.EISDIR, "A directory has this name", target) from error
                raise
        else:
            return
        put_in_place(self.client.rename, self.client.remove, source, target)

    def _is_there(self, path: str) -> bool:
        try:
            self.client.lstat(path)
        except FileNotFoundError:
            return False
        return True

    def _is_directory(self, path: str) -> bool:
        try:
            return stat.S_ISDIR(_kind(self.client.stat(path)) or 0)
        except FileNotFoundError:
            return False

    def _is_file(self, path: str) -> bool:
        return self._is_there(path) and not self._is_directory(path)

    def _entry(self, directory: str, name: str, found: Any) -> Entry | None:
        if name in (".", "..") or "/" in name:
            return None
        if stat.S_ISLNK(_kind(found) or 0):
            try:
                found = self.client.stat(posixpath.join(directory, name))
            except OSError:  # it leads nowhere, or in a circle
                return None
        if stat.S_ISDIR(_kind(found) or 0):
            return Entry(name, True)
        if not stat.S_ISREG(_kind(found) or stat.S_IFREG):
            return None
        return Entry(name, False, found.st_size, _time(found.st_mtime), _etag(found))


class _Pipe:
    """Requests about one open file whose answers are awaited later.

    paramiko's own pipelining throws the answers to writes away, and a full disk with them.
    """

    def __init__(self, client: Any):
        self._client = client
        self._answers: dict[int, tuple[int, Any]] = {}
        self._handle = b""

    def _open(self, path: str, flags: int) -> None:
        number = self._ask(protocol.CMD_OPEN, path, flags, paramiko.SFTPAttributes())
        self._handle = self._answer(number).get_binary()

    def _ask(self, kind: int, *fields: Any) -> int:
        return self._client._async_request(self, kind, *fields)

    def _ask_at(self, kind: int, offset: int, what: Any) -> int:
        return self._ask(kind, self._handle, protocol.int64(offset), what)

    def _answer(self, number: int) -> Any:
        """Wait for the answer to a request. Raises OSError, and _EndOfFile."""
        while number not in self._answers:
            self._client._read_response()
        kind, message = self._answers.pop(number)
        if kind == protocol.CMD_STATUS:
            try:
                self._client._convert_status(message)
            except EOFError as error:
                raise _EndOfFile(errno.EIO, "The file is shorter than it was") from error
        return message

    def _async_response(self, kind: int, message: Any, number: int) -> None:
        self._answers[number] = (kind, message)  # paramiko calls this


class _EndOfFile(OSError):
    """A read began at the end. paramiko's EOFError means a lost connection as well."""


class _Listing(_Pipe):
    """The names in a directory, with their attributes, asked for two pages at a time.

    paramiko's own fails as a whole where one name is not UTF-8.
    """

    def __init__(self, client: Any, path: str):
        super().__init__(client)
        self._path = path

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        self._handle = self._answer(self._ask(protocol.CMD_OPENDIR, self._path)).get_binary()
        pages = deque([self._ask_page(), self._ask_page()])
        with contextlib.suppress(_EndOfFile):
            while True:
                page = self._answer(pages.popleft())
                pages.append(self._ask_page())
                for _ in range(page.get_int()):
                    name, _long_name = page.get_binary(), page.get_binary()
                    yield name.decode("utf-8", "surrogateescape"), paramiko.SFTPAttributes._from_msg(page)
        self._ask(protocol.CMD_CLOSE, self._handle)

    def _ask_page(self) -> int:
        return self._ask(protocol.CMD_READDIR, self._handle)


class _Upload(_Pipe):
    def __init__(self, client: Any, path: str, wished: Callable[[Any], Any]):
        super().__init__(client)
        flags = protocol.SFTP_FLAG_WRITE | protocol.SFTP_FLAG_CREATE | protocol.SFTP_FLAG_TRUNC
        self._open(path, flags)
        self._offset = 0
        self._pending: deque[int] = deque()
        attributes = wished(self._attributes)
        if attributes is not None:  # before there is anything to read in it
            self._answer(self._ask(protocol.CMD_FSETSTAT, self._handle, attributes))

    def write(self, chunk: bytes) -> None:
        for start in range(0, len(chunk), REQUEST_SIZE):
            piece = chunk[start : start + REQUEST_SIZE]
            self._pending.append(self._ask_at(protocol.CMD_WRITE, self._offset, piece))
            self._offset += len(piece)
            self._settle(REQUESTS_AT_ONCE)

    def close(self) -> None:
        handle, self._handle = self._handle, b""
        self._pending.append(self._ask(protocol.CMD_CLOSE, handle))
        self._settle(0)

    def discard(self) -> None:
        if self._handle:
            self._ask(protocol.CMD_CLOSE, self._handle)

    def _settle(self, most: int) -> None:
        """Wait until at most so many requests are on their way. Raises what the server says of one."""
        while len(self._pending) > most:
            self._answer(self._pending.popleft())

    def _attributes(self) -> Any:
        return paramiko.SFTPAttributes._from_msg(self._answer(self._ask(protocol.CMD_FSTAT, self._handle)))


class _Download(_Pipe):
    def __init__(self, client: Any, path: str, start: int, end: int | None, etag: str | None):
        super().__init__(client)
        self._open(path, protocol.SFTP_FLAG_READ)
        self._next = start  # where the next request begins
        self._end = start + REQUEST_SIZE if end is None else min(end, start + REQUEST_SIZE)
        self._pending: deque[tuple[int, int, int]] = deque()  # (request, start, end)
        self._left = memoryview(b"")
        try:
            # One round trip for the size and for the whole of a small file.
            asked = self._ask(protocol.CMD_FSTAT, self._handle)
            self._ask_ahead()
            self.stat: Stat | None = _stat_of(paramiko.SFTPAttributes._from_msg(self._answer(asked)), path)
            if etag not in (None, self.stat.etag):
                raise FileExistsError(errno.EEXIST, "The file is another one by now", path)
        except OSError:
            self.close()
            raise
        self._end = self.stat.size if end is None else min(end, self.stat.size)
        if self._end <= start:
            self._pending.clear()
        self._ask_ahead()

    def read(self, size: int = -1, /) -> bytes:
        pieces = []
        while (size < 0 or size > 0) and (self._left or self._pending):
            if not self._left:
                self._left = memoryview(self._receive())
            piece = self._left if size < 0 else self._left[:size]
            pieces.append(piece)
            self._left = self._left[len(piece) :]
            size -= len(piece) if size > 0 else 0
        return b"".join(pieces)

    def close(self) -> None:
        # Nobody waits for the answers, which paramiko drops together with this object.
        self._ask(protocol.CMD_CLOSE, self._handle)

    def _ask_ahead(self) -> None:
        while self._next < self._end and len(self._pending) < REQUESTS_AT_ONCE:
            self._request(self._next, min(self._next + REQUEST_SIZE, self._end), self._pending.append)
            self._next = self._pending[-1][2]

    def _request(self, start: int, end: int, add: Callable[[tuple[int, int, int]], None]) -> None:
        add((self._ask_at(protocol.CMD_READ, start, end - start), start, end))

    def _receive(self) -> bytes:
        request, start, end = self._pending.popleft()
        data = self._answer(request).get_binary()
        missing, last = start + len(data), min(end, self._end)
        if missing < last:  # a server may give less than it was asked for
            self._request(missing, last, self._pending.appendleft)
        self._ask_ahead()
        return data


def _stat_of(attributes: Any, path: str) -> Stat:
    if stat.S_ISDIR(_kind(attributes) or 0):
        raise IsADirectoryError(errno.EISDIR, "This is a directory", path)
    return Stat(
        attributes.st_size,
        modified=_time(attributes.st_mtime),
        accessed=_time(attributes.st_atime),
        etag=_etag(attributes),
    )


def _etag(attributes: Any) -> str:
    """Return a version mark. The protocol has no finer one: a second, and the size."""
    return f"{attributes.st_mtime}-{attributes.st_size}"


def _time(seconds: int | None) -> datetime.datetime | None:
    return None if seconds is None else datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
