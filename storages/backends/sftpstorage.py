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
import socket
import stat
import struct
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured

from storages import process
from storages.backends.connections import FileServerMixin, Pool
from storages.base import BaseStorage
from storages.contract import Capabilities, Entry, Stat, WriteOptions
from storages.files import StorageFile
from storages.optional import OptionalModule
from storages.settings import Setting

paramiko = OptionalModule("paramiko", "sftp")
sftp = OptionalModule("paramiko.sftp", "sftp")

logger = logging.getLogger("storages")

SYSTEM_KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")

# What every server takes in one request, and how many of them may be on their way: 2 MiB fill a line of 100 ms at
# 20 MiB/s, and are SSH's own window.
REQUEST_SIZE = 32 * 1024
REQUESTS_AT_ONCE = 64
KEEPALIVE = 30  # seconds; routers forget a silent connection

# The type and the permissions of a file, as stat() has them in one number.
_kind = operator.attrgetter("st_mode")

_MEANINGS: dict[str, type[Exception]] = {
    "AuthenticationException": PermissionError,
    "BadAuthenticationType": PermissionError,
    "BadHostKeyException": PermissionError,
    "ChannelException": ConnectionError,
    "NoValidConnectionsError": ConnectionError,
    "PartialAuthentication": PermissionError,
    "PasswordRequiredException": PermissionError,
    "SSHException": ConnectionError,
    "EOFError": ConnectionError,
    **{kind.__name__: kind for kind in (FileNotFoundError, FileExistsError, PermissionError)},
}

_SAID = {
    FileNotFoundError: "There is no such file on the server",
    FileExistsError: "There is such a file already on the server",
}


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
    host_key = Setting(
        names=("SFTP_HOST_KEY",),
        type=(str, list, tuple),
        help="The server's public key ('ssh-ed25519 AAAA...') or its fingerprint ('SHA256:...'), or several of them; "
        "known hosts are not asked then.",
    )
    verify_host_key = Setting(
        True,
        names=("SFTP_VERIFY_HOST_KEY",),
        type=bool,
        help="False trusts any server that answers, and whoever stands between; each connection then logs a warning.",
    )
    base_url = Setting(
        names=("SFTP_BASE_URL", "MEDIA_URL"), help="Where a web server shows the directory; url() goes below it."
    )
    file_overwrite = Setting(
        False,
        names=("SFTP_FILE_OVERWRITE",),
        type=bool,
        role="overwrite",
        help="Whether a file replaces one of the same name. False: it gets a free name, without a race.",
    )
    connect_timeout = Setting(
        15,
        names=("SFTP_CONNECT_TIMEOUT",),
        type=(int, float),
        least=0.001,
        help="Seconds for a connection, login included.",
    )
    read_timeout = Setting(
        30,
        names=("SFTP_READ_TIMEOUT",),
        type=(int, float),
        least=0.001,
        help="Seconds without an answer before a request has failed.",
    )
    connections = Setting(
        4, names=("SFTP_CONNECTIONS",), type=int, least=1, help="Connections that a process keeps for its threads."
    )

    capabilities = Capabilities(
        ranges=True,
        parts=True,
        streams=True,
        create_only=True,
        if_match=True,
        accessed_time=True,
        missing={
            "presign": "SSH has no URLs; base_url is for a web server over the same directory.",
            "content_type": "A file system keeps none.",
            "created_time": "The protocol does not tell it.",
            "copy": "Few servers copy by themselves.",
            "delete_many": "A request names one file.",
        },
    )

    sdk = paramiko
    file_class = SFTPStorageFile

    def __init__(self, host: str | None = None, **options: Any):
        super().__init__(**({} if host is None else {"host": host}), **options)

    # Clients

    @property
    def client(self) -> Any:
        """Return a paramiko SFTPClient of this storage's own; it is for one thread at a time."""
        kept: list[_Session] = self._derived("own session", list)
        if not kept or not kept[0].is_alive(0):
            kept[:] = [self._account().connect()]
        return kept[0].client

    @property
    def sftp(self) -> Any:
        """Return ``client``, under the name of earlier releases."""
        return self.client

    def close(self) -> None:
        """Close the connections; the next use makes new ones."""
        kept: list[_Session] = self._derived("own session", list)
        while kept:
            kept.pop().close()
        super().close()

    @property
    def _pool(self) -> Pool[_Session]:
        return self._derived("pool", self._shared_pool)

    def _shared_pool(self) -> Pool[_Session]:
        account = self._account()
        key = ("sftp", *(repr(sorted(part.items())) if isinstance(part, dict) else part for part in account))
        return process.shared((*key, self.connections), lambda: Pool(account.connect, self.connections))

    def _account(self) -> _Account:
        if not self.host:
            raise ImproperlyConfigured(f"{type(self).__name__}: set {self._spelt('host')}")
        pins = (self.host_key,) if isinstance(self.host_key, str) else tuple(self.host_key or ())
        return _Account(
            self.host,
            dict(self.params),
            self.interactive,
            os.fspath(self.known_host_file) if self.known_host_file else None,
            pins,
            self.verify_host_key,
            self._role("file_permissions"),
            self._role("directory_permissions"),
            self.uid,
            self.gid,
            self.connect_timeout,
            self.read_timeout,
        )

    @property
    def _root(self) -> str:
        root = os.fspath(self.root_path)
        return f"{root.rstrip('/')}/" if root else ""

    # Hooks

    def _classify(self, error: BaseException) -> type[Exception] | None:
        return next((_MEANINGS[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _MEANINGS), None)

    def _advise(self, error: BaseException, kind: type[Exception]) -> str:
        said = f"{type(self).__name__}: {error or type(error).__name__}"
        if isinstance(error, paramiko.BadHostKeyException):
            return (
                f"{type(self).__name__}: {self.host} shows the key {fingerprint(error.key)}, which is not the one that "
                "is known: somebody may be listening. If the server's key was changed, correct 'host_key' "
                "(SFTP_HOST_KEY) or the file of known hosts"
            )
        if isinstance(error, paramiko.AuthenticationException):
            return f"{said} Check the user and the key or password in 'params' (SFTP_STORAGE_PARAMS)"
        if kind is ConnectionError:
            return f"{said}. Check 'host' (SFTP_STORAGE_HOST), the network and the server"
        if kind is PermissionError and not isinstance(error, paramiko.SSHException):
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

    def connect(self) -> _Session:
        """Return a new session. Raises what paramiko raises."""
        return _Session(self, self._log_in())

    def _log_in(self) -> Any:
        client = self._checking_client()
        typed = process.shared(("sftp passwords", self.host, repr(self.params.get("username"))), dict)
        try:
            return self._connected(client, {**self.params, **typed})
        except paramiko.AuthenticationException:
            if not self.interactive or "password" in self.params:
                raise
        typed["username"] = self.params.get("username") or getpass.getuser()
        typed["password"] = getpass.getpass(f"Password of {typed['username']} at {self.host}: ")
        try:
            return self._connected(self._checking_client(), {**self.params, **typed})
        except paramiko.AuthenticationException:
            typed.clear()
            raise

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

    def _connected(self, client: Any, params: Mapping[str, Any]) -> Any:
        seconds = self.connect_timeout
        given = {
            **{"timeout": seconds, "banner_timeout": seconds, "auth_timeout": seconds, "channel_timeout": seconds},
            **params,
        }
        # paramiko waits for some answers without a limit.
        alarm = threading.Timer(seconds, client.close)
        alarm.daemon = True
        alarm.start()
        try:
            if "sock" not in given:
                raw = socket.create_connection((self.host, given.get("port", 22)), seconds)
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else each small request waits for an ACK
                given["sock"] = _PatientSocket(raw, self.read_timeout)
            client.connect(self.host, **given)
            client.get_transport().set_keepalive(KEEPALIVE)
            channel = client.get_transport().open_session(timeout=seconds)
            channel.settimeout(self.read_timeout)
            channel.invoke_subsystem("sftp")
            client.sftp = paramiko.SFTPClient(channel)
        except BaseException:
            client.close()
            if isinstance(given.get("sock"), _PatientSocket):
                given["sock"].close()
            raise
        finally:
            alarm.cancel()
        return client


class _Policy:
    """What happens to a server that is not among the known hosts; for paramiko."""

    def __init__(self, account: _Account):
        self._account = account

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
        shown, account = fingerprint(key), self._account
        if shown in account.pins:
            return
        if account.pins:
            raise paramiko.SSHException(
                f"{hostname} shows the {key.get_name()} key {shown}, which is not in 'host_key' (SFTP_HOST_KEY): "
                "somebody may be listening, or it has several keys and another one is pinned"
            )
        if account.verify:
            raise paramiko.SSHException(
                f"{hostname} is not among the known hosts. It shows the {key.get_name()} key {shown}: make sure that "
                "it is the server's own, then set 'host_key' (SFTP_HOST_KEY) to this fingerprint, or add the key to "
                "'known_host_file' (SFTP_KNOWN_HOST_FILE)"
            )
        logger.warning(
            "%s was not asked to prove who it is: 'verify_host_key' (SFTP_VERIFY_HOST_KEY) is False. It shows %s",
            hostname,
            shown,
        )


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

    def __init__(self, account: _Account, ssh: Any):
        self._account = account
        self._ssh = ssh
        self.client = ssh.sftp

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
            found = self.client.listdir_attr(directory)
        except FileNotFoundError:
            return []
        except OSError:
            if self._is_file(directory):
                return []
            raise
        return [entry for attributes in found if (entry := self._entry(path, attributes))]

    def read(self, path: str, start: int, end: int | None, etag: str | None) -> _Download:
        return _Download(self.client, path, start, end, etag)

    def create(self, path: str) -> _Upload:
        return _Upload(self.client, path, self._dress)

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
        if self._account.directory_permissions is not None:
            self.client.chmod(path, self._account.directory_permissions)
        self._chown(functools.partial(self.client.stat, path), functools.partial(self.client.chown, path))

    def _dress(self, file: Any) -> None:
        """Give an open file the permissions and the owner that are wished for."""
        if self._account.file_permissions is not None:
            file.chmod(self._account.file_permissions)
        self._chown(file.stat, file.chown)

    def _chown(self, ask: Any, change: Any) -> None:
        uid, gid = self._account.uid, self._account.gid
        if uid is None and gid is None:
            return
        if uid is None or gid is None:  # the protocol knows only both
            found = ask()
            uid, gid = found.st_uid if uid is None else uid, found.st_gid if gid is None else gid
        change(uid, gid)

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
        # Not at once, as such a server has no way to do that.
        with contextlib.suppress(FileNotFoundError):
            self.client.remove(target)
        self.client.rename(source, target)

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

    def _entry(self, directory: str, attributes: Any) -> Entry | None:
        name, found = attributes.filename, attributes
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

    def ask(self, kind: int, *fields: Any) -> int:
        return self._client._async_request(self, kind, *fields)

    def answer(self, number: int) -> tuple[int, Any]:
        """Wait for the answer to a request. Raises OSError, for the end of the file EOFError."""
        while number not in self._answers:
            self._client._read_response()
        kind, message = self._answers.pop(number)
        if kind == sftp.CMD_STATUS:
            try:
                self._client._convert_status(message)
            except EOFError as error:
                raise _EndOfFile from error
        return kind, message

    def _async_response(self, kind: int, message: Any, number: int) -> None:
        self._answers[number] = (kind, message)


class _EndOfFile(Exception):
    """A read began at the end; paramiko's EOFError also means a lost connection."""


class _Upload(_Pipe):
    def __init__(self, client: Any, path: str, dress: Any):
        super().__init__(client)
        self._file = client.open(path, "wb")
        self._dress = dress
        self._offset = 0
        self._pending: deque[int] = deque()

    def write(self, chunk: bytes) -> None:
        for start in range(0, len(chunk), REQUEST_SIZE):
            piece = chunk[start : start + REQUEST_SIZE]
            offset = sftp.int64(self._offset)
            self._pending.append(self.ask(sftp.CMD_WRITE, self._file.handle, offset, piece))
            self._offset += len(piece)
            self._settle(REQUESTS_AT_ONCE)

    def close(self) -> None:
        last = self.ask(sftp.CMD_CLOSE, self._file.handle) if not self._needs_dress() else None
        self._settle(0)
        if last is None:
            self._dress(self._file)
            self._file.close()
        else:
            self._file._closed = True
            self.answer(last)

    def discard(self) -> None:
        while self._pending:
            with contextlib.suppress(OSError):
                self._settle(0)
        self._file.close()

    def _settle(self, most: int) -> None:
        """Wait until at most so many writes are on their way. Raises what the server says of one."""
        while len(self._pending) > most:
            self.answer(self._pending.popleft())
