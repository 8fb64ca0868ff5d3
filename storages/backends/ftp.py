"""Files on an FTP server, with or without TLS."""

from __future__ import annotations

import contextlib
import datetime
import errno
import ftplib
import hashlib
import logging
import os
import posixpath
import re
import selectors
import socket
import ssl
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation

from storages import usual
from storages.backends import connections as sessions
from storages.backends.connections import FileServerMixin, put_in_place, sibling
from storages.base import BaseStorage
from storages.contract import Entry, Stat, WriteOptions
from storages.files import StorageFile
from storages.settings import Setting, redacted

logger = logging.getLogger("storages")

IMPLICIT_TLS_PORT = 990

QUIET = 20  # seconds after which an idle connection is asked whether it still is one
CUT_OFF = 5  # seconds for the server's last word on a transfer that was broken off

# FTP has no way to ask for an end: what is sent beyond that of a short range is bounded by what the socket takes.
SHORT_RANGE = 256 * 1024  # bytes
MOST_TOO_MANY = 64 * 1024

UNKNOWN_COMMAND = ("500", "502", "504")

# How servers word a 550 or a 553 that is not about a missing file.
_DENIED = re.compile(r"denied|permission|not allowed|not permitted|privilege|read.?only|forbidden", re.IGNORECASE)

# Lines of LIST: as ls -l writes them, as Windows does, EPLF. One space precedes a name, which may begin with more.
_LINES = [
    re.compile(
        r"(?P<kind>[-a-z])\S{9,}\s.*?\s(?P<size>\d+)\s+"
        r"(?:[^\W\d]+\.?\s+\d{1,2}|\d{1,2}\.?\s+[^\W\d]+\.?|\d{4}-\d\d-\d\d)\s+(?:\d{1,2}:\d\d(?::\d\d)?|\d{4})\s(?P<name>.+)"
    ),
    re.compile(
        r"\d\d-\d\d-\d{2,4}\s+\d{1,2}:\d\d(?:\s?[AP]M)?\s+(?:(?P<kind><DIR>)\s+|(?P<size>\d+)\s)(?P<name>.+)",
        re.IGNORECASE,
    ),
    re.compile(r"\+(?=\S*?(?P<kind>/|r),)(?=(?:\S*?,)?s(?P<size>\d+),|)\S*\t(?P<name>.+)"),
]
_KINDS = {"-": "file", "r": "file", None: "file", "d": "dir", "/": "dir", "<DIR>": "dir", "l": "link"}


class _Scheme(NamedTuple):
    port: int = ftplib.FTP_PORT
    secure: bool = False
    implicit: bool = False  # TLS from the first byte, without AUTH
    active: bool = False


SCHEMES = {
    "ftp": _Scheme(),
    "aftp": _Scheme(active=True),
    "ftps": _Scheme(secure=True),
    "ftps-implicit": _Scheme(IMPLICIT_TLS_PORT, secure=True, implicit=True),
}


class FTPStorageException(ftplib.Error):
    """The server refused something; the text is its own."""


class Missing(FTPStorageException, FileNotFoundError):
    """There is no such file or directory."""


class Refused(FTPStorageException, PermissionError):
    """The account may not do this."""


class Unreachable(FTPStorageException, ConnectionError):
    """There is no session with the server."""


class FTPStorageFile(StorageFile):
    """An open file of an FTP server."""


class FTPStorage(FileServerMixin, BaseStorage):
    """Store files below a directory of an FTP server."""

    location = Setting(
        names=("FTP_STORAGE_LOCATION",),
        role="address",
        help="Address, as in 'ftp://user:password@host:port/path', with all but letters and digits written as %XX; "
        "ftps:// for TLS (AUTH TLS), ftps-implicit:// for TLS from the first byte (port 990), aftp:// for active "
        "transfers.",
    )
    base_url = Setting(
        names=("BASE_URL", "MEDIA_URL"), help="Where a web server shows the directory; url() goes below it."
    )
    encoding = Setting(
        names=("FTP_STORAGE_ENCODING",),
        help="Encoding of names. None: UTF-8 where the server announces it, else latin-1.",
    )
    allow_overwrite = usual.OVERWRITE.named(
        "FTP_ALLOW_OVERWRITE", help="Whether a file replaces one of the same name. False: it gets a free name."
    )
    verify = Setting(
        True,
        names=("FTP_VERIFY",),
        type=(bool, str, os.PathLike),
        help="How TLS checks the server: True by the system's authorities, a path by those in that file. False "
        "trusts whoever answers; each connection then logs a warning.",
    )
    connect_timeout = usual.CONNECT_TIMEOUT.named(
        "FTP_CONNECT_TIMEOUT", default=10, help="Seconds for a connection, and for each answer of a login."
    )
    read_timeout = usual.READ_TIMEOUT.named("FTP_READ_TIMEOUT")
    connections = sessions.CONNECTIONS.named("FTP_CONNECTIONS")

    capabilities = sessions.file_server_capabilities(
        missing={
            "presign": "FTP signs nothing; base_url is for a web server over the same directory.",
            "accessed_time": "The protocol does not tell it.",
            "copy": "The protocol has no command for it.",
            "delete_many": "A command names one file.",
        },
    )

    positional = ("location", "base_url", "encoding")
    file_class = FTPStorageFile

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        if self._role("address"):
            self._account()

    # Clients

    def disconnect(self) -> None:
        """Close the connections, under the name of earlier releases."""
        self.close()

    def _account(self) -> _Account:
        """Return what the location says. Raises ImproperlyConfigured, without the password in it."""
        address = self._role("address")
        if not address:
            raise ImproperlyConfigured(f"{type(self).__name__}: set {self._spelt('location')}")
        try:
            parts = urlsplit(address)
            scheme = SCHEMES[parts.scheme]
            host, port, directory = parts.hostname, parts.port or scheme.port, unquote(parts.path)
        except (KeyError, ValueError):
            parts, scheme, host, port, directory = urlsplit(""), _Scheme(), None, 0, ""
        user, password = self._sent(parts.username or "anonymous"), self._sent(parts.password or "")
        if not host or parts.query or parts.fragment:
            raise ImproperlyConfigured(
                f"{type(self).__name__}: {self._spelt('location')} is ftp://user:password@host:port/path, or the same "
                f"with aftp://, ftps:// or ftps-implicit://, unlike {redacted(address)!r}; in user, password and path "
                "write other characters than letters and digits as %XX"
            )
        if re.search("[\r\n\0]", f"{user}{password}{directory}"):
            raise ImproperlyConfigured(f"{type(self).__name__}: {self._spelt('location')} holds a line break")
        verify = self.verify if isinstance(self.verify, bool) else os.fspath(self.verify)
        return _Account(
            host, port, user, password, scheme, self.encoding, verify, self.connect_timeout, self.read_timeout
        )

    def _sent(self, quoted: str) -> str:
        """Return a user or a password with its bytes as latin-1 characters, which is how the client sends them."""
        try:
            return (
                unquote(quoted, errors="surrogateescape")
                .encode(self.encoding or "utf-8", "surrogateescape")
                .decode("latin-1")
            )
        except LookupError:
            problem = f"is none that Python knows: {self.encoding!r}"
        except UnicodeEncodeError:
            problem = f"is {self.encoding!r}, which cannot spell the user or the password in 'location'"
        raise ImproperlyConfigured(f"{type(self).__name__}: {self._spelt('encoding')} {problem}")

    @property
    def _directory(self) -> str:
        return self._derived("directory", lambda: unquote(urlsplit(self._role("address")).path).rstrip("/") + "/")

    # Hooks

    def _classify(self, error: BaseException) -> type[Exception] | None:
        if isinstance(error, (EOFError, ftplib.Error)) and not isinstance(error, FTPStorageException):
            return ConnectionError
        if isinstance(error, FTPStorageException) and not isinstance(error, OSError):
            return _MEANINGS_IN_WORDS.get(str(error)[4:].strip(". ").lower()) or _MEANINGS.get(_code(error))
        return FileExistsError if isinstance(error, FileExistsError) else None

    def _advise(self, error: BaseException, kind: type[Exception]) -> str:
        if kind is FileExistsError:
            return "There is such a file already on the server"
        said = f"{type(self).__name__}: {str(error) or 'the server ended the session'}"
        return f"{said}. {_ADVICE.get(kind, _CHECK)}"


_MEANINGS: dict[str, type[Exception]] = {
    "421": ConnectionError,
    "425": ConnectionError,
    "426": ConnectionError,
    "530": PermissionError,
    "532": PermissionError,
    "550": PermissionError,
    "553": PermissionError,
    "452": OSError,
    "552": OSError,
}

_MEANINGS_IN_WORDS: dict[str, type[Exception]] = {"file name too long": SuspiciousFileOperation}

_LACKING = "The account lacks the permission, on the file or on its directory"
_CHECK = "Check 'location' (FTP_STORAGE_LOCATION), the network and the server"
_ADVICE: dict[type[Exception], str] = {
    PermissionError: _LACKING,
    OSError: "There is no room left on the server, or in the account's quota: remove something",
    SuspiciousFileOperation: "Shorten the name",
}


class _Account(NamedTuple):
    """What it takes to log in."""

    host: str
    port: int
    user: str
    password: str
    scheme: _Scheme
    encoding: str | None
    verify: bool | str
    connect_timeout: float
    read_timeout: float

    def __repr__(self) -> str:
        return f"<account at {self.host}>"  # without the password

    def connect(self) -> _Session:
        """Return a new session. Raises Unreachable, Refused."""
        ftp = self._new_client()
        try:
            self._log_in(ftp)
            return _Session(ftp, self)
        except BaseException as error:
            ftp.close()
            if isinstance(error, FTPStorageException) and _code(error) in ("530", "532"):
                raise Refused(
                    errno.EACCES, f"{self.host} refuses the login ({error}): check user and password in 'location'"
                ) from None
            if isinstance(error, ssl.SSLCertVerificationError):
                raise Unreachable(
                    errno.ECONNABORTED,
                    f"{self.host} did not prove who it is, and got no password ({error.verify_message}): correct the "
                    "host in 'location', or name its authority's file in 'verify' (FTP_VERIFY)",
                ) from error
            if isinstance(error, (OSError, EOFError, ftplib.Error)):
                said = str(error) or "it ended the session"
                advice = _CHECK
                if _code(error) == "421":
                    advice = "It may have enough of them: lower 'connections' (FTP_CONNECTIONS), or let it take more"
                raise Unreachable(
                    errno.ECONNREFUSED,
                    f"No session with {self.host}:{self.port}: {said}. {advice}{self._other_scheme(error)}",
                ) from error
            raise

    def _other_scheme(self, error: BaseException) -> str:
        """Return what else to try where one side began with TLS and the other did not."""
        if self.scheme.implicit and isinstance(error, ssl.SSLError):
            return "; if it begins without TLS, write ftps://"
        if self.port == IMPLICIT_TLS_PORT and not self.scheme.implicit:
            return "; behind port 990 TLS begins at once mostly: write ftps-implicit://"
        return ""

    def _new_client(self) -> Any:
        # Answers are read as latin-1, which knows every byte; only what is sent and listed is in the encoding.
        if not self.scheme.secure:
            return _Client(timeout=self.connect_timeout, encoding="latin-1")
        if self.verify is False:
            context = ssl._create_unverified_context()  # noqa: S323 -- it was asked for
            logger.warning("%s was not asked to prove who it is: 'verify' (FTP_VERIFY) is False", self.host)
        else:
            context = ssl.create_default_context(cafile=None if self.verify is True else self.verify)
        kind = _ImplicitClient if self.scheme.implicit else _SecureClient
        return kind(context=context, timeout=self.connect_timeout, encoding="latin-1")

    def _log_in(self, ftp: Any) -> None:
        ftp.connect(self.host, self.port)
        if self.scheme.secure and not self.scheme.implicit:
            ftp.auth()  # before the user is sent
        ftp.login(self.user, self.password)
        if self.scheme.secure:
            ftp.prot_p()
        ftp.set_pasv(not self.scheme.active)
        ftp.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ftp.timeout = self.read_timeout
        ftp.sock.settimeout(self.read_timeout)


class _Replies:
    """Raises what a server refuses as our own class."""

    def getresp(self) -> str:
        try:
            return super().getresp()  # type: ignore[misc]
        except (ftplib.error_temp, ftplib.error_perm) as error:
            raise FTPStorageException(*error.args) from None


class _Client(_Replies, ftplib.FTP):
    pass


class _SecureClient(_Replies, ftplib.FTP_TLS):
    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        # Servers refuse a data connection that does not resume the session of the control connection: it could be
        # anybody's. The standard library does not resume it.
        raw, size = ftplib.FTP.ntransfercmd(self, cmd, rest)  # noqa: S321 -- with TLS around it
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else the end of TLS waits for an ACK
            session = self.sock.session  # type: ignore[union-attr]
            return self.context.wrap_socket(raw, server_hostname=self.host, session=session), size
        except BaseException:
            raw.close()
            raise


class _ImplicitClient(_SecureClient):
    def connect(self, host: str, port: int) -> str:  # type: ignore[override]
        self.host, self.port = host, port
        raw = socket.create_connection((host, port), self.timeout)
        try:
            self.sock = self.context.wrap_socket(raw, server_hostname=host)
        except BaseException:
            raw.close()
            raise
        self.af = self.sock.family
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        return self.welcome


class _Session:
    """One control connection; see Connection. All paths are absolute, so that the working directory is nowhere."""

    def __init__(self, ftp: Any, account: _Account):
        self.client = ftp
        self.data: Any = None  # the socket of a transfer, of which there is one at a time
        self._features = self._ask_features()
        self._encoding = account.encoding or ("utf-8" if "UTF8" in self._features else "latin-1")
        if self._encoding.lower() in ("utf-8", "utf8") and "UTF8" in self._features:
            with contextlib.suppress(FTPStorageException):  # most have it on
                ftp.sendcmd("OPTS UTF8 ON")
        ftp.encoding = self._encoding
        ftp.voidcmd("TYPE I")
        self._list_command = "MLSD" if self._has_facts else self._plain_list_command()

    @property
    def _has_facts(self) -> bool:
        return bool({"MLST", "MLSD"} & self._features)

    def is_alive(self, idle: float) -> bool:
        # A server says nothing of itself, unless that it goes; and what has hung up can be read.
        if self.client.sock is None or _is_readable(self.client.sock):
            return False
        if idle < QUIET:
            return True
        try:
            self.client.voidcmd("NOOP")
        except (OSError, EOFError, ftplib.Error):
            return False
        return True

    def survives(self, error: BaseException) -> bool:
        if isinstance(error, Unreachable):
            return False
        if isinstance(error, FTPStorageException):
            return _code(error) != "421"
        return isinstance(error, (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError))

    def close_data(self) -> None:
        data, self.data = self.data, None
        if data is not None:
            data.close()

    def close(self) -> None:
        self.close_data()
        if self.client.sock is not None:
            with contextlib.suppress(Exception):
                self.client.sock.settimeout(0)  # a farewell, if it costs nothing
                self.client.putcmd("QUIT")
        self.client.close()

    def abandon(self) -> None:
        self.close_data()
        self.client.close()

    def stat(self, path: str) -> Stat:
        kind, found = self._look(path)
        if kind == "dir":
            raise IsADirectoryError(errno.EISDIR, "This is a directory", path)
        return found if self._has_facts else self._dated(path, found)

    def entries(self, path: str) -> list[Entry]:
        # With a slash, LIST means the directory: of a file, some servers would list the file.
        directory = path.rstrip("/") + ("" if self._has_facts and path != "/" else "/")
        try:
            lines = self._lines(f"{self._list_command} {directory}")
        except FTPStorageException as error:
            if _code(error) not in ("450", "501", "550"):
                raise
            if _DENIED.search(str(error)):
                raise Refused(errno.EACCES, f"The server refuses to list ({error}). {_LACKING}", path) from error
            return self._entries_without_flag(path)
        return [entry for line in lines if (entry := self._entry(path, line))]

    def _entries_without_flag(self, path: str) -> list[Entry]:
        """Return what lies in a directory that seems to be missing: not all that call themselves Unix take the -a."""
        if self._list_command != "LIST -a":
            return []
        self._list_command = "LIST"
        found = self.entries(path)
        if not found:
            self._list_command = "LIST -a"
        return found

    def read(self, path: str, start: int, end: int | None, etag: str | None) -> _Download:
        found = self.stat(path)
        if etag not in (None, found.etag):
            raise FileExistsError(errno.EEXIST, "The file is another one by now", path)
        return _Download(self, path, start, end, found)

    def create(self, path: str) -> _Upload:
        try:
            return _Upload(self, path)
        except FTPStorageException as error:
            if _code(error) not in ("450", "550", "553"):
                raise
            raise self._meaning(error, path) from error

    def publish(self, temporary: str, path: str, options: WriteOptions) -> None:
        if options.if_match and self._etag(path) != options.if_match:
            raise FileExistsError(errno.EEXIST, "The file is another one by now", path)
        if not options.create_only:
            self._replace(temporary, path)
            return
        with self._claim(path):
            if self._kind(path):
                raise FileExistsError(errno.EEXIST, "There is such a file already", path)
            self.client.rename(temporary, path)

    def remove(self, path: str) -> None:
        try:
            self.client.voidcmd(f"DELE {path}")
        except FTPStorageException as error:
            if _code(error) not in ("450", "550"):
                raise
            try:
                self.stat(path)
            except IsADirectoryError:
                if posixpath.basename(path).endswith(".claim"):
                    self.client.voidcmd(f"RMD {path}")
                    return
                raise Missing(errno.ENOENT, "This is a directory", path) from None
            raise Refused(errno.EACCES, f"The server refuses to delete ({error}). {_LACKING}", path) from error

    def make_directory(self, path: str) -> None:
        for _ in range(3):
            try:
                self.client.voidcmd(f"MKD {path}")
            except FTPStorageException as error:
                refusal = error
            else:
                return
            kind = self._kind(path)
            if kind == "dir":
                raise FileExistsError(errno.EEXIST, "There is such a directory already", path)
            if kind == "file":
                raise NotADirectoryError(errno.ENOTDIR, "A file is where a directory should be", path)
            if self._kind(posixpath.dirname(path)) != "dir":
                raise Missing(errno.ENOENT, "The directory above is missing", path) from refusal
            # What stood in the way may have gone since, or what was missing may have come.
        said = f"The server refuses to make a directory ({refusal}). {_LACKING}"
        raise Refused(errno.EACCES, said, path) from refusal

    # Commands

    def _ask_features(self) -> set[str]:
        """Return the first words of what the server says that it can."""
        try:
            lines = self.client.sendcmd("FEAT").split("\n")[1:-1]
        except FTPStorageException:
            return set()
        return {line.split()[0].upper() for line in lines if line.strip()}

    def _plain_list_command(self) -> str:
        try:
            system = self.client.sendcmd("SYST")
        except FTPStorageException:
            system = ""
        return "LIST -a" if "unix" in system.lower() else "LIST"  # else ls leaves out names with a dot in front

    def _about(self, path: str, command: str) -> str:
        """Return the answer to a question about a file. Raises Missing, Refused."""
        try:
            return self.client.sendcmd(command)
        except FTPStorageException as error:
            if _code(error) not in ("450", "550", "553"):
                raise
            raise self._meaning(error, path) from error

    def _meaning(self, error: FTPStorageException, path: str) -> FTPStorageException:
        if _DENIED.search(str(error)):
            return Refused(errno.EACCES, f"The server refuses access ({error}). {_LACKING}", path)
        return Missing(errno.ENOENT, "There is no such file on the server", path)

    def _look(self, path: str) -> tuple[str, Stat]:
        """Return "dir" or another kind, and what one command tells. Raises Missing, Refused."""
        if self._has_facts:
            return _facts(self._about(path, f"MLST {path}").split("\n")[1].strip())
        try:
            return "file", Stat(int(self._about(path, f"SIZE {path}")[4:]))
        except Missing:
            if self._may_enter(path):
                return "dir", Stat(0)
            raise
        except FTPStorageException as error:
            if isinstance(error, OSError) or _code(error) not in UNKNOWN_COMMAND:
                raise
            return self._listed(path)

    def _dated(self, path: str, found: Stat) -> Stat:
        try:
            modified = _time(self.client.sendcmd(f"MDTM {path}")[4:].strip())
        except FTPStorageException:
            return found
        return Stat(found.size, modified=modified, etag=f"{modified}-{found.size}")

    def _listed(self, path: str) -> tuple[str, Stat]:
        directory, name = posixpath.split(path)
        for entry in self.entries(directory):
            if entry.name == name:
                return ("dir", Stat(0)) if entry.is_prefix else ("file", Stat(entry.size or 0))
        raise Missing(errno.ENOENT, "There is no such file on the server", path)

    def _etag(self, path: str) -> str | None:
        try:
            return self.stat(path).etag
        except FileNotFoundError:
            return None

    def _kind(self, path: str) -> str | None:
        """Return "file", "dir", or None for what is missing."""
        try:
            return "dir" if self._look(path)[0] == "dir" else "file"
        except FileNotFoundError:
            return None

    def _may_enter(self, path: str) -> bool:
        # The one way to know a directory that every server has. Where it leads to matters to nothing else here.
        try:
            self.client.voidcmd(f"CWD {path}")
        except FTPStorageException:
            return False
        return True

    def _replace(self, source: str, target: str) -> None:
        try:
            self.client.rename(source, target)
        except FTPStorageException:
            if self._kind(target) == "dir":
                raise IsADirectoryError(errno.EISDIR, "A directory has this name", target) from None
            if self._kind(target) is None:
                raise
            put_in_place(self.client.rename, self.remove, source, target)

    @contextlib.contextmanager
    def _claim(self, path: str) -> Iterator[None]:
        """Hold ``path`` against others who save without overwriting: to make a directory is all that FTP refuses twice.

        Raises FileExistsError. Where the account may make no directories, there is no claim.
        """
        token = hashlib.blake2b(posixpath.basename(path).encode(), digest_size=16).hexdigest()
        claim = sibling(path, "claim", token)
        try:
            self.make_directory(claim)
        except FileExistsError:
            raise FileExistsError(errno.EEXIST, "Another one is saving this name", path) from None
        except Refused as error:
            if not _DENIED.search(str(error)):  # others come and go here
                raise FileExistsError(errno.EEXIST, "Others are saving this name", path) from error
            yield
            return
        try:
            yield
        finally:
            with contextlib.suppress(FTPStorageException):
                self.client.voidcmd(f"RMD {claim}")

    def _lines(self, command: str) -> list[str]:
        with contextlib.closing(self.client.transfercmd(command)) as data:
            with data.makefile("rb") as file:
                lines = [line.rstrip(b"\r\n").decode(self._encoding, "surrogateescape") for line in file]
            _shut(data)
        self.client.voidresp()
        return lines

    def _entry(self, directory: str, line: str) -> Entry | None:
        if self._has_facts:
            facts, _, name = line.partition(" ")
            kind, found = _facts(facts)
        else:
            kind, name, found = parse_line(line)
        if kind == "link":
            name = name if self._has_facts else name.partition(" -> ")[0]
            try:
                kind, found = "file", self.stat(posixpath.join(directory, name))
            except IsADirectoryError:
                kind = "dir"
            except FileNotFoundError:  # it leads nowhere
                return None
        if not name or name in (".", "..") or "/" in name:
            return None
        if kind == "dir":
            return Entry(name, True, None, found.modified)
        return Entry(name, False, found.size, found.modified, found.etag) if kind == "file" else None


class _Transfer:
    def __init__(self, session: _Session, command: str, start: int = 0):
        self._session = session
        self._ftp = session.client
        session.data = self._ftp.transfercmd(command, start or None)

    def _finish(self) -> None:
        """Close the data connection in good order, and take the server's word on the transfer."""
        _shut(self._session.data)
        self._session.close_data()
        self._ftp.voidresp()

    def _cut_off(self) -> None:
        """Close it in the middle; whatever the server says of that, it is its last word."""
        if self._session.data is None:
            return
        patience = self._ftp.sock.gettimeout()
        self._ftp.sock.settimeout(min(CUT_OFF, patience or CUT_OFF))
        self._ftp.putcmd("ABOR")
        self._session.close_data()
        for _ in range(2):  # one answer for the transfer, one for the command
            with contextlib.suppress(FTPStorageException):
                self._ftp.voidresp()
        self._ftp.sock.settimeout(patience)


class _Upload(_Transfer):
    def __init__(self, session: _Session, path: str):
        super().__init__(session, f"STOR {path}")
        self._path = path
        self._sent = 0

    def write(self, chunk: bytes) -> None:
        try:
            self._session.data.sendall(chunk)
        except TimeoutError:
            raise
        except OSError:
            # It may have said why: a full disk, a quota.
            self._session.close_data()
            self._ftp.voidresp()
            raise
        self._sent += len(chunk)

    def close(self) -> None:
        self._finish()
        # A connection that broke looks like the end of the file to the server, which then is content.
        try:
            stored = int(self._ftp.sendcmd(f"SIZE {self._path}")[4:])
        except FTPStorageException as error:
            if _code(error) not in UNKNOWN_COMMAND:
                raise
            return
        if stored != self._sent:
            raise ConnectionError(f"the server got {stored} of {self._sent} bytes")

    def discard(self) -> None:
        self._cut_off()


class _Download(_Transfer):
    def __init__(self, session: _Session, path: str, start: int, end: int | None, found: Stat):
        self.stat: Stat | None = found
        last = found.size if end is None else min(end, found.size)
        self._left = max(last - start, 0)
        self._whole = last == found.size
        self._under_way = bool(self._left)
        if self._under_way:
            super().__init__(session, f"RETR {path}", start)
            if not self._whole and self._left <= SHORT_RANGE:
                session.data.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MOST_TOO_MANY)

    def read(self, size: int = -1, /) -> bytes:
        chunk = bytearray(self._left if size < 0 else min(size, self._left))
        view = memoryview(chunk)
        while view:
            received = self._session.data.recv_into(view)
            if not received:
                raise ConnectionError(f"the transfer broke off {self._left} bytes before its end")
            view = view[received:]
            self._left -= received
        return bytes(chunk)

    def close(self) -> None:
        if not self._under_way:
            return
        self._under_way = False
        if self._whole and not self._left:
            with contextlib.suppress(FTPStorageException):  # all bytes are there
                self._finish()
        else:
            self._cut_off()


def parse_line(line: str) -> tuple[str, str, Stat]:
    """Return the kind, the name and the Stat of a line of LIST; an empty kind for what is no file's.

    Times are left out: they are in the server's zone, to the minute or to the day.
    """
    for pattern in _LINES:
        if found := pattern.fullmatch(line):
            parts = found.groupdict()
            return _KINDS.get(parts["kind"], ""), parts["name"], Stat(int(parts["size"] or 0))
    return "", "", Stat(0)


def _facts(line: str) -> tuple[str, Stat]:
    """Return the kind and the Stat that a line of facts gives."""
    given = dict(fact.partition("=")[::2] for fact in line.partition(" ")[0].lower().split(";") if fact)
    size, modified = int(given.get("size", 0)), given.get("modify")
    kind = given.get("type", "file")
    if kind.startswith("os.unix=slink") or kind == "os.unix=symlink":
        kind = "link"
    etag = "-".join((modified or "", str(size), given.get("unique", "")))
    return kind, Stat(size, modified=_time(modified), etag=etag)


def _time(digits: str | None) -> datetime.datetime | None:
    """Return a time that a server gives as YYYYMMDDHHMMSS, in UTC."""
    if not digits:
        return None
    return datetime.datetime.strptime(digits[:14], "%Y%m%d%H%M%S").replace(tzinfo=datetime.timezone.utc)


def _is_readable(sock: socket.socket) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))


def _shut(data: socket.socket) -> None:
    """Say the end of a TLS connection; without it, it might have been cut."""
    if isinstance(data, ssl.SSLSocket):
        try:
            data.unwrap()
        except TimeoutError:
            raise
        except OSError:  # the other side may be gone
            pass


def _code(error: BaseException) -> str:
    return str(error)[:3]
