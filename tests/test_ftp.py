"""What is special about FTPStorage: its address, TLS, dialects of listings, what it costs, how connections live."""

from __future__ import annotations

import contextlib
import datetime
import ftplib
import logging
import os
import pickle
import socket
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.test import override_settings

from storages.backends import connections, ftp
from storages.backends.ftp import FTPStorage, FTPStorageException, parse_line
from storages.contract import ObjectChanged
from tests.faults import FTPProxy
from tests.file_servers import move_large_files, peak_of, read_a_little, served
from tests.servers.certificates import write_certificate
from tests.servers.ftpd import (
    Proftpd,
    Pyftpdlib,
    PyftpdlibImplicit,
    PyftpdlibTLS,
    Vsftpd,
    VsftpdImplicit,
    VsftpdTLS,
)
from tests.servers.process import HOST
from tests.servers.proxy import Proxy

MIB = 1024**2

pytestmark = pytest.mark.timeout(60)


pyftpdlib, pyftpdlib_tls, pyftpdlib_implicit = served(Pyftpdlib), served(PyftpdlibTLS), served(PyftpdlibImplicit)
vsftpd, vsftpd_tls, vsftpd_implicit = served(Vsftpd), served(VsftpdTLS), served(VsftpdImplicit)
proftpd = served(Proftpd)
SERVERS = ["pyftpdlib", "pyftpdlib_tls", "pyftpdlib_implicit", "vsftpd", "vsftpd_tls", "vsftpd_implicit", "proftpd"]


@pytest.fixture
def make():
    """Make a storage on a server."""
    made = []

    def make(server, *, port=None, password=None, **options):
        if server.secure:
            options.setdefault("verify", str(server.certificate))
        made.append((server, FTPStorage(server.location(port=port, password=password), **options)))
        return made[-1][1]

    yield make
    for server, storage in made:
        storage.close()
        server.clean()


@pytest.fixture
def storage(make, pyftpdlib):
    return make(pyftpdlib)


@pytest.fixture
def commands(monkeypatch):
    """The commands that any client sends."""
    sent = []
    put = ftplib.FTP.putcmd

    def noted(self, line):
        sent.append(line.partition(" ")[0])
        return put(self, line)

    monkeypatch.setattr(ftplib.FTP, "putcmd", noted)
    return sent


class Listening(Proxy):
    """A proxy that keeps what clients send."""

    def __init__(self, host, port):
        super().__init__(host, port, http=False)
        self.up = bytearray()

    async def _send(self, link, direction, data):
        if direction == "up":
            self.up.extend(data)
        await super()._send(link, direction, data)

    @property
    def commands(self):
        return [line.partition(b" ")[0].decode() for line in bytes(self.up).splitlines()]


def save(storage, name, content=b"content"):
    return storage.save(name, ContentFile(content))


def content_of(storage, name):
    with storage.open(name) as file:
        return file.read()


# Addresses


PLAIN, ACTIVE, EXPLICIT, IMPLICIT = (
    (False, False, False),
    (False, False, True),
    (True, False, False),
    (True, True, False),
)
GOOD_ADDRESSES = {
    "ftp://user:pw@example.com:2121/path": ("example.com", 2121, "user", "pw", PLAIN, "/path/"),
    "ftps://user:pw@example.com:21/path/": ("example.com", 21, "user", "pw", EXPLICIT, "/path/"),
    "ftps://user:pw@example.com:990/": ("example.com", 990, "user", "pw", EXPLICIT, "/"),
    "ftps-implicit://user:pw@example.com/path": ("example.com", 990, "user", "pw", IMPLICIT, "/path/"),
    "ftps-implicit://user:pw@example.com:2121": ("example.com", 2121, "user", "pw", IMPLICIT, "/"),
    "aftp://user:pw@example.com:21/": ("example.com", 21, "user", "pw", ACTIVE, "/"),
    "ftp://example.com": ("example.com", 21, "anonymous", "", PLAIN, "/"),
    "ftp://a%40b:p%2F%3A%25@example.com/a%20b": ("example.com", 21, "a@b", "p/:%", PLAIN, "/a b/"),
}


@pytest.mark.parametrize(("address", "parts"), GOOD_ADDRESSES.items(), ids=list(GOOD_ADDRESSES))
def test_address_is_taken_apart(address, parts):
    storage = FTPStorage(address)
    account = storage._account()
    assert (*account[:4], account.scheme[1:], storage._directory) == parts


@pytest.mark.parametrize(
    "address",
    [
        "http://user:geheim@example.com/",
        "example.com",
        "ftp://user:geheim@/path",
        "ftp://user:geheim@example.com:port/",
        "ftp://user:geheim#1@example.com/",
        "ftp://user:geheim%0d%0aDELE%20x@example.com/",
    ],
)
def test_bad_address_is_told_without_its_password(address):
    with pytest.raises(ImproperlyConfigured, match="FTP_STORAGE_LOCATION") as error:
        FTPStorage(address)
    assert "geheim" not in str(error.value)


PASSWORDS_ON_THE_WIRE = {
    "ß": (None, b"\xc3\x9f"),
    "%C3%9F": (None, b"\xc3\x9f"),
    "%DF": (None, b"\xdf"),  # the very byte
    "%D0%B4": (None, b"\xd0\xb4"),
    "%C3%9F%20": ("latin-1", b"\xdf "),
}


@pytest.mark.parametrize(("password", "sent"), PASSWORDS_ON_THE_WIRE.items(), ids=list(PASSWORDS_ON_THE_WIRE))
def test_password_is_sent_in_its_own_bytes(make, pyftpdlib, monkeypatch, password, sent):
    lines = []
    put = ftplib.FTP.putline
    monkeypatch.setattr(
        ftplib.FTP, "putline", lambda self, line: lines.append(line.encode(self.encoding)) or put(self, line)
    )
    encoding, expected = sent
    storage = FTPStorage(f"ftp://user:{password}@{HOST}:{pyftpdlib.port}/", encoding=encoding)
    with pytest.raises(PermissionError):
        storage.exists("a.txt")
    assert lines[-1] == b"PASS " + expected


@pytest.mark.parametrize(
    ("encoding", "message"), [("ascii", "cannot spell the user or the password"), ("utf-99", "none that")]
)
def test_encoding_that_cannot_be_is_told_without_the_password(encoding, message):
    with pytest.raises(ImproperlyConfigured, match=f"FTP_STORAGE_ENCODING.*{message}") as error:
        FTPStorage("ftp://user:geheim%C3%9F@example.com/", encoding=encoding)
    texts = [repr(link) for link in (error.value, error.value.__cause__, error.value.__context__)]
    assert not [text for text in texts if "geheim" in text]


def test_missing_address_is_told_at_use():
    with pytest.raises(ImproperlyConfigured, match="FTP_STORAGE_LOCATION"):
        FTPStorage().exists("a.txt")


def test_options_may_be_given_by_position():
    storage = FTPStorage("ftp://example.com/", "https://example.com/media/", "latin-1")
    assert (storage.url("a.txt"), storage.encoding) == ("https://example.com/media/a.txt", "latin-1")
    with pytest.raises(TypeError, match="names: location, base_url, encoding"):
        FTPStorage("ftp://example.com/", "/", "latin-1", True)


def test_address_that_is_given_by_position_stays_out_of_migrations():
    storage = FTPStorage("ftp://user:geheim@example.com/", "https://example.com/")
    assert storage.deconstruct()[1:] == ((), {"base_url": "https://example.com/"})


def test_django_settings_are_read():
    settings = {
        "FTP_STORAGE_LOCATION": "ftp://user:geheim@example.com:21/x",
        "BASE_URL": "https://files.example.com",
        "FTP_STORAGE_ENCODING": "cp1252",
        "FTP_ALLOW_OVERWRITE": True,
    }
    with override_settings(**settings):
        storage = FTPStorage()
    assert storage.url("a b.txt") == "https://files.example.com/a%20b.txt"
    assert (storage.encoding, storage.allow_overwrite) == ("cp1252", True)
    assert "geheim" not in repr(storage)
    assert "geheim" not in repr(storage.deconstruct())


# Refusals


def test_wrong_password_is_told_without_it(make, pyftpdlib):
    with pytest.raises(PermissionError, match="check user and password in 'location'") as error:
        make(pyftpdlib, password="geheim").exists("a.txt")
    assert isinstance(error.value, FTPStorageException)
    texts = [str(link) + repr(link) for link in (error.value, error.value.__cause__, error.value.__context__)]
    assert not [text for text in texts if "geheim" in text]


def test_unreachable_server_is_an_ftp_storage_exception():
    with pytest.raises(ConnectionError, match="No session with") as error:
        FTPStorage(f"ftp://user:geheim@{HOST}:1/").exists("a.txt")
    assert isinstance(error.value, FTPStorageException)
    assert "geheim" not in str(error.value)


@pytest.mark.parametrize(("server", "before"), [("pyftpdlib_tls", {"AUTH"}), ("pyftpdlib_implicit", set())])
def test_certificate_of_a_stranger_is_refused_before_the_login(request, make, server, before, commands, tmp_path):
    write_certificate(tmp_path / "other.pem", tmp_path / "key.pem")
    for verify in (True, str(tmp_path / "other.pem")):
        with pytest.raises(ConnectionError, match="FTP_VERIFY"):
            make(request.getfixturevalue(server), verify=verify).exists("a.txt")
    assert set(commands) == before


@pytest.mark.usefixtures("pyftpdlib_tls")  # which skips where it cannot start
def test_certificate_for_another_host_is_refused_before_the_login(commands):
    class Misnamed(PyftpdlibTLS):
        def _serve(self):
            write_certificate(self.certificate, self.directory / "key.pem", "127.0.0.2")
            super()._serve()

    with Misnamed() as server, pytest.raises(ConnectionError, match="did not prove who it is"):
        FTPStorage(server.location(), verify=str(server.certificate)).exists("a.txt")
    assert set(commands) == {"AUTH"}


def test_unverified_certificate_is_warned_of(make, pyftpdlib_tls, caplog):
    with caplog.at_level(logging.WARNING, "storages"):
        assert make(pyftpdlib_tls, verify=False).exists("a.txt") is False
    assert ["FTP_VERIFY" in record.getMessage() for record in caplog.records] == [True]


def test_password_is_sent_only_below_tls(make, pyftpdlib_implicit):
    with Listening(HOST, pyftpdlib_implicit.port) as wire:
        storage = make(pyftpdlib_implicit, port=wire.port)
        assert storage.exists("a.txt") is False
        storage.close()
    assert wire.up[:1] == b"\x16"  # a handshake
    assert not [word for word in (b"AUTH", b"USER", b"PASS") if word in wire.up]


def test_wrong_kind_of_tls_is_told(make, pyftpdlib, pyftpdlib_tls, pyftpdlib_implicit, monkeypatch, commands):
    with pytest.raises(ConnectionError, match="begins without TLS, write ftps://"):
        FTPStorage(pyftpdlib_tls.location().replace("ftps:", "ftps-implicit:"), verify=False).exists("a.txt")
    monkeypatch.setattr(ftp, "IMPLICIT_TLS_PORT", pyftpdlib_implicit.port)
    with pytest.raises(ConnectionError, match="write ftps-implicit://"):
        explicit = pyftpdlib_implicit.location().replace("ftps-implicit:", "ftps:")
        FTPStorage(explicit, connect_timeout=0.5).exists("a.txt")
    assert commands == []


def test_missing_authority_is_told(make, pyftpdlib_tls):
    with pytest.raises(ImproperlyConfigured, match="not there"):
        make(pyftpdlib_tls, verify="/none.pem").exists("a.txt")


@pytest.mark.parametrize("deed", ["delete", "save", "read"])
def test_refused_permission_is_a_permission_error(make, vsftpd, deed):
    closed = vsftpd.files / "closed"
    closed.mkdir()
    (closed / "a.txt").write_bytes(b"content")
    (closed / "a.txt").chmod(0)
    storage = make(vsftpd)
    deeds = {
        "delete": lambda: storage.delete("closed/a.txt"),
        "save": lambda: save(storage, "closed/b.txt"),
        "read": lambda: content_of(storage, "closed/a.txt"),
    }
    with pytest.raises(PermissionError):
        deeds[deed]()
    assert (closed / "a.txt").exists()


def test_host_in_the_answer_to_pasv_is_ignored(make, pyftpdlib, monkeypatch):
    storage = make(pyftpdlib)
    parse = ftplib.parse227
    monkeypatch.setattr(ftplib, "parse227", lambda answer: ("192.0.2.1", parse(answer)[1]))
    save(storage, "a.txt")
    assert content_of(storage, "a.txt") == b"content"


# All servers


@pytest.mark.parametrize("server", SERVERS)
def test_files_come_and_go(request, make, server):
    service = request.getfixturevalue(server)
    storage = make(service)
    content = os.urandom(3 * MIB)
    assert save(storage, "dir/ä b.bin", content) == "dir/ä b.bin"
    assert content_of(storage, "dir/ä b.bin") == content
    with storage.open_range("dir/ä b.bin", MIB, MIB + 10) as body:
        assert body.read() == content[MIB : MIB + 10]
    with storage.open_range("dir/ä b.bin", 4 * MIB) as body:
        assert body.read() == b""
    assert storage.listdir("dir") == ([], ["ä b.bin"])
    storage.move("dir/ä b.bin", "c.bin")
    assert [entry[:3] for entry in storage.walk()] == [("c.bin", False, 3 * MIB)]
    assert save(storage, "c.bin") != "c.bin"


@pytest.mark.parametrize("server", SERVERS)
def test_time_is_the_servers(request, make, server):
    service = request.getfixturevalue(server)
    storage = make(service)
    save(storage, "a.txt")
    os.utime(service.files / "a.txt", (1_500_000_000, 1_500_000_000))
    assert storage.get_modified_time("a.txt").timestamp() == 1_500_000_000


def test_transfers_may_be_active(pyftpdlib):
    storage = FTPStorage(pyftpdlib.location().replace("ftp://", "aftp://"))
    save(storage, "a.txt", b"active")
    assert content_of(storage, "a.txt") == b"active"
    storage.close()
    pyftpdlib.clean()


# Encodings


def test_encoding_may_be_chosen(make, pyftpdlib, vsftpd):
    save(make(vsftpd, encoding="latin-1"), "café.txt")
    assert [os.fsencode(path.name) for path in vsftpd.files.iterdir()] == ["café.txt".encode("latin-1")]
    with pytest.raises(UnicodeEncodeError):
        save(make(vsftpd, encoding="latin-1"), "文件.txt")


def test_name_in_another_encoding_does_not_break_a_listing(make, vsftpd):
    (vsftpd.files / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"latin-1")
    assert make(vsftpd).listdir("") == ([], ["caf\udce9.txt"])


# Lines of LIST


LINES = {
    "-rw-r--r--    1 1000     1000         1234 Nov 20 06:59 a.txt": ("file", "a.txt", 1234),
    "-rw-r--r--    1 1000     1000            0 Jan  1  2019   two  lead and inner": (
        "file",
        "  two  lead and inner",
        0,
    ),
    "drwxr-xr-x    2 1000     1000         4096 Nov 20 06:59 a dir": ("dir", "a dir", 4096),
    "drwxrwxr-x+   2 user     domain users 4096 Dec 31 23:59 acl": ("dir", "acl", 4096),
    "-rw-r--r--@   1 user     staff     9876543 Feb 29  2024 mac.bin": ("file", "mac.bin", 9876543),
    "lrwxrwxrwx    1 0        0               7 Mar  1 12:00 link -> a.txt": ("link", "link -> a.txt", 7),
    "-rw-r--r--    1 ftp      ftp            12 2024-02-29 12:00 iso.txt": ("file", "iso.txt", 12),
    "-rw-r--r--    1 ftp      ftp            12 29. Okt 12:00 german.txt": ("file", "german.txt", 12),
    "-rw-r--r--    1 ftp      ftp            12 Mär  3 12:00 umlaut.txt": ("file", "umlaut.txt", 12),
    "-rwxrwxrwx   1 owner    group          1803 Feb 10 10:20 12 Nov 2019 12:00 x": (
        "file",
        "12 Nov 2019 12:00 x",
        1803,
    ),
    "-rw-r--r--    1 ftp            5 Nov 20 06:59 no group": ("file", "no group", 5),
    "02-29-24  02:02PM       <DIR>          Some Folder": ("dir", "Some Folder", 0),
    "02-29-2024  14:02              1,803 x": ("", "", 0),
    "02-29-24  02:02PM                 1803 Some File.txt": ("file", "Some File.txt", 1803),
    "+i8388621.29609,m824255902,/,\tdev": ("dir", "dev", 0),
    "+i8388621.44468,m839956783,r,s10376,\tRFC EPLF": ("file", "RFC EPLF", 10376),
    "total 12": ("", "", 0),
    "": ("", "", 0),
    "prw-r--r--    1 ftp      ftp             0 Nov 20 06:59 pipe": ("", "pipe", 0),
    "brw-rw----    1 root     disk       8,   0 Nov 20 06:59 sda": ("", "sda", 0),
}


@pytest.mark.parametrize(("line", "expected"), LINES.items())
def test_line_of_a_listing_is_read(line, expected):
    kind, name, found = parse_line(line)
    assert (kind, name, found.size) == expected


def test_links_are_followed_where_they_lead_somewhere(make, vsftpd, proftpd):
    for server in (vsftpd, proftpd):
        storage = make(server)
        save(storage, "dir/a.txt")
        (server.files / "to dir").symlink_to("dir")
        (server.files / "to file").symlink_to("dir/a.txt")
        (server.files / "to nothing").symlink_to("missing")
        assert storage.listdir("") == (["dir", "to dir"], ["to file"])


# What other clients do meanwhile


def test_file_that_is_replaced_under_a_reader_is_told(make, pyftpdlib):
    storage = make(pyftpdlib, allow_overwrite=True)
    save(storage, "a.bin", bytes(8 * MIB))
    with storage.open("a.bin") as file:
        file.read(10)
        save(storage, "a.bin", b"other")
        with pytest.raises(ObjectChanged):
            file.read()


def test_update_of_what_another_one_replaced_is_refused(make, pyftpdlib):
    storage = make(pyftpdlib, allow_overwrite=True)
    save(storage, "a.txt", b"first")
    file = storage.open("a.txt", "ab")
    file.write(b" and mine")
    save(storage, "a.txt", b"their")
    with pytest.raises(ObjectChanged):
        file.close()
    assert content_of(storage, "a.txt") == b"their"


def test_upload_that_arrives_cut_is_not_published(storage, pyftpdlib, monkeypatch):
    finish = ftp._Transfer._finish

    def cut(self):
        finish(self)
        os.truncate(next(pyftpdlib.files.glob(".storages-*.part")), 3)

    monkeypatch.setattr(ftp._Transfer, "_finish", cut)
    with pytest.raises(ConnectionError, match="3 of 7 bytes"):
        save(storage, "a.txt")
    assert list(pyftpdlib.files.iterdir()) == []


@pytest.mark.parametrize("zones", [True, False])
def test_claims_and_uploads_that_were_left_can_be_removed(storage, pyftpdlib, settings, zones):
    settings.USE_TZ = zones
    (pyftpdlib.files / f".storages-{'0' * 32}.claim").mkdir()
    (pyftpdlib.files / f".storages-{'0' * 32}.part").write_bytes(b"half")
    assert storage.listdir("") == ([], [])
    assert storage.abort_stale_uploads(datetime.timedelta(days=1)) == 0
    assert storage.abort_stale_uploads(datetime.timedelta(seconds=-60)) == 2
    assert list(pyftpdlib.files.iterdir()) == []


def test_name_that_somebody_is_saving_is_left_to_them(storage, pyftpdlib, monkeypatch):
    claimed = threading.Event()
    claim = ftp._Session._claim

    @contextlib.contextmanager
    def slow_claim(self, path):
        with claim(self, path):
            if not claimed.is_set():
                claimed.set()
                assert save(storage, "a.txt", b"second") != "a.txt"
            yield

    monkeypatch.setattr(ftp._Session, "_claim", slow_claim)
    assert save(storage, "a.txt", b"first") == "a.txt"
    assert content_of(storage, "a.txt") == b"first"
    assert len(list(pyftpdlib.files.iterdir())) == 2


# Cost


# SIZE is what a save cannot go without: see test_server_takes_a_cut_upload_for_a_whole_one.
COSTS = {
    "save": (lambda s: save(s, "dir/new.txt"), ["PASV", "STOR", "SIZE", "MKD", "MLST", "RNFR", "RNTO", "RMD"]),
    "save, taken": (
        lambda s: save(s, "dir/a.txt"),
        [
            *("PASV", "STOR", "SIZE", "MKD", "MLST", "RMD", "DELE"),
            *("PASV", "STOR", "SIZE", "MKD", "MLST", "RNFR", "RNTO", "RMD"),
        ],
    ),
    "save, replacing": (lambda s: save(replacing(s), "dir/a.txt"), ["PASV", "STOR", "SIZE", "RNFR", "RNTO"]),
    "save, replacing nothing": (lambda s: save(replacing(s), "dir/b.txt"), ["PASV", "STOR", "SIZE", "RNFR", "RNTO"]),
    "write": (lambda s: s.open("dir/a.txt", "wb").close(), ["PASV", "STOR", "SIZE", "RNFR", "RNTO"]),
    "read": (lambda s: content_of(s, "dir/a.txt"), ["MLST", "PASV", "RETR"]),
    "exists": (lambda s: s.exists("dir/a.txt"), ["MLST"]),
    "exists, missing": (lambda s: s.exists("dir/b.txt"), ["MLST"]),
    "size": (lambda s: s.size("dir/a.txt"), ["MLST"]),
    "modified time": (lambda s: s.get_modified_time("dir/a.txt"), ["MLST"]),
    "list": (lambda s: s.listdir("dir"), ["PASV", "MLSD"]),
    "delete": (lambda s: s.delete("dir/a.txt"), ["DELE"]),
    "url": (lambda s: s.url("dir/a.txt"), []),
}


def replacing(storage):
    storage.allow_overwrite = True
    return storage


@pytest.mark.parametrize(("deed", "sent"), COSTS.values(), ids=COSTS)
def test_verb_costs(make, pyftpdlib, deed, sent):
    with Listening(HOST, pyftpdlib.port) as wire:
        storage = make(pyftpdlib, port=wire.port)
        save(storage, "dir/a.txt")
        wire.up.clear()
        deed(storage)
        assert wire.commands == sent
        storage.close()


WITHOUT_FACTS = {
    "save": [*("PASV", "STOR", "SIZE", "MKD"), *("SIZE", "CWD"), *("RNFR", "RNTO", "RMD")],  # SIZE knows no directories
    "save, replacing": ["PASV", "STOR", "SIZE", "RNFR", "RNTO"],
    "read": ["SIZE", "MDTM", "PASV", "RETR"],
    "save, taken": [
        *("PASV", "STOR", "SIZE", "MKD", "SIZE", "RMD", "DELE"),
        *("PASV", "STOR", "SIZE", "MKD", "SIZE", "CWD", "RNFR", "RNTO", "RMD"),
    ],
    "exists": ["SIZE", "MDTM"],
    "exists, missing": ["SIZE", "CWD"],
    "size": ["SIZE", "MDTM"],
    "list": ["PASV", "LIST"],
    "delete": ["DELE"],
}


@pytest.mark.parametrize(("verb", "sent"), WITHOUT_FACTS.items(), ids=list(WITHOUT_FACTS))
def test_verb_costs_without_facts(make, vsftpd, verb, sent):
    with Listening(HOST, vsftpd.port) as wire:
        storage = make(vsftpd, port=wire.port)
        save(storage, "dir/a.txt")
        wire.up.clear()
        COSTS[verb][0](storage)
        assert wire.commands == sent
        storage.close()


def test_many_verbs_cost_as_much_as_each(make, pyftpdlib):
    with Listening(HOST, pyftpdlib.port) as wire:
        storage = make(pyftpdlib, port=wire.port, allow_overwrite=True)
        for number in range(200):
            save(storage, f"dir/{number}.txt")
        assert len(wire.commands) <= 5 * 200 + 10
        wire.up.clear()
        storage.delete_many([f"dir/{number}.txt" for number in range(200)])
        assert wire.commands == ["DELE"] * 200
        storage.close()


@pytest.fixture
def cut(make):
    """Make a storage on a server whose uploads end in the middle of the way: in good order, to both sides."""
    with Proxy(HOST, 1, http=False) as flow, contextlib.ExitStack() as stack:

        def cut(server):
            wire = stack.enter_context(FTPProxy(server.port, flow))
            flow.hang_up(up=100_000, times=None)
            return make(server, port=wire.port, allow_overwrite=True)

        yield cut


@pytest.mark.parametrize("server", ["pyftpdlib", "vsftpd"])
def test_server_takes_a_cut_upload_for_a_whole_one(request, cut, monkeypatch, server):
    # Neither the server nor the connection says so: this is why a save has to ask for the size.
    monkeypatch.setattr(ftp._Upload, "close", ftp._Upload._finish)
    storage = cut(request.getfixturevalue(server))
    save(storage, "a.bin", bytes(200_000))
    assert storage.size("a.bin") == 100_000
    storage.close()


@pytest.mark.parametrize("server", ["pyftpdlib", "vsftpd"])
def test_cut_upload_shows_nothing(request, cut, server):
    service = request.getfixturevalue(server)
    storage = cut(service)
    with pytest.raises(ConnectionError, match="100000 of 200000 bytes"):
        save(storage, "a.bin", bytes(200_000))
    assert list(service.files.iterdir()) == []
    storage.close()


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel")
@pytest.mark.parametrize("server", ["pyftpdlib", "pyftpdlib_tls", "vsftpd", "proftpd"])
def test_a_little_of_a_large_file_moves_a_little(request, make, monkeypatch, server):
    service, moved = request.getfixturevalue(server), []
    storage = make(service)
    storage.exists("a.bin")
    close = ftp._Session.close_data

    def noting(self):
        if self.data is not None:
            told = self.data.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            moved.extend(struct.unpack_from("=Q", told, 128))  # tcpi_bytes_received
        close(self)

    monkeypatch.setattr(ftp._Session, "close_data", noting)
    assert peak_of(lambda: read_a_little(storage, service.files)) <= 2 * MIB
    # The range, and what the socket takes before the server has heard that it is enough.
    assert len(moved) == 1
    assert 256 * 1024 <= moved[0] <= (256 + 2 * 64) * 1024


def test_large_files_take_little_memory(make, pyftpdlib, tmp_path):
    storage = make(pyftpdlib, allow_overwrite=True)
    assert peak_of(lambda: move_large_files(storage, pyftpdlib.files, tmp_path)) <= 32 * MIB


def test_session_is_set_up_once(storage, commands):
    for number in range(5):
        save(storage, f"{number}.txt")
        assert content_of(storage, f"{number}.txt") == b"content"
    assert [commands.count(command) for command in ("USER", "PASS", "FEAT", "TYPE", "NOOP", "CWD", "PWD")] == [
        *(1, 1, 1, 1),
        *(0, 0, 0),
    ]


@pytest.mark.parametrize("name", ["x\r\nDELE a.txt", "x\nDELE a.txt", "x\0"])
def test_no_command_is_made_of_a_hostile_name(storage, commands, name):
    with pytest.raises(SuspiciousFileOperation):
        save(storage, name)
    with pytest.raises(SuspiciousFileOperation):
        storage.size(name)
    assert commands == []


# Connections


def test_closed_storage_can_be_used_again(storage):
    save(storage, "a.txt")
    client = storage.client
    storage.disconnect()
    assert client.sock is None
    with storage:
        assert content_of(storage, "a.txt") == b"content"
        assert [line.rpartition(" ")[2] for line in storage.client.nlst("/")] == ["a.txt"]
    assert content_of(pickle.loads(pickle.dumps(storage)), "a.txt") == b"content"


def test_threads_share_a_few_connections(make, pyftpdlib):
    with Proxy(HOST, pyftpdlib.port, http=False) as wire:
        storage = make(pyftpdlib, port=wire.port, connections=3)

        def work(number):
            save(storage, f"{number}.bin", bytes([number]) * 100_000)
            return content_of(storage, f"{number}.bin")

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(work, range(32))) == [bytes([number]) * 100_000 for number in range(32)]
        assert wire.connections <= 8
        storage.close()


def test_connection_is_asked_after_a_long_rest(storage, commands, monkeypatch):
    storage.exists("a.txt")
    commands.clear()
    monkeypatch.setattr(ftp, "QUIET", 0)
    storage.exists("a.txt")
    assert commands == ["NOOP", "MLST"]


def test_reader_and_writer_of_one_thread_get_a_connection_each(make, pyftpdlib, monkeypatch):
    monkeypatch.setattr(connections, "PATIENCE", 0.1)
    storage = make(pyftpdlib, connections=1)
    save(storage, "a.bin", bytes(3 * MIB))
    with storage.open_range("a.bin", 0) as body:
        body.read(1)
        save(storage, "b.bin", bytes(3 * MIB))
    assert storage.size("b.bin") == 3 * MIB


def test_download_that_is_given_up_leaves_the_connection_in_order(make, pyftpdlib, commands):
    storage = make(pyftpdlib, connections=1)
    save(storage, "a.bin", bytes(8 * MIB))
    for _ in range(5):
        with storage.open_range("a.bin", 10) as body:
            body.read(10)
    assert content_of(storage, "a.bin") == bytes(8 * MIB)
    assert commands.count("USER") <= 3  # reading ahead takes a connection more


@pytest.fixture
def without_replacing(pyftpdlib, monkeypatch):
    """As on IIS, a rename over a file is refused; and others, when they are put into the set."""
    refused = set()
    rename = ftplib.FTP.rename

    def refuse(self, source, target):
        if (pyftpdlib.files / target[1:]).exists() or source in refused:
            raise FTPStorageException("550 Cannot create a file when that file already exists.")
        return rename(self, source, target)

    monkeypatch.setattr(ftplib.FTP, "rename", refuse)
    return refused


@pytest.mark.usefixtures("without_replacing")
def test_server_that_refuses_to_rename_over_a_file_still_replaces(make, pyftpdlib):
    storage = make(pyftpdlib, allow_overwrite=True)
    save(storage, "a.txt", b"old")
    save(storage, "a.txt", b"new")
    assert content_of(storage, "a.txt") == b"new"
    assert [path.name for path in pyftpdlib.files.iterdir()] == ["a.txt"]


def test_old_file_comes_back_where_the_new_one_is_refused(make, pyftpdlib, monkeypatch, without_replacing):
    storage = make(pyftpdlib, allow_overwrite=True)
    save(storage, "a.txt", b"old")
    monkeypatch.setattr(connections.secrets, "token_hex", lambda count: next(tokens))
    tokens = iter(["0" * 32, "1" * 32])
    without_replacing.add(f"/.storages-{'0' * 32}.part")
    with pytest.raises(FTPStorageException):
        save(storage, "a.txt", b"new")
    assert content_of(storage, "a.txt") == b"old"
    assert [path.name for path in pyftpdlib.files.iterdir()] == ["a.txt"]


def test_directory_is_never_replaced(make, pyftpdlib):
    storage = make(pyftpdlib, allow_overwrite=True)
    save(storage, "dir/a.txt")
    with pytest.raises(IsADirectoryError):
        save(storage, "dir")
    assert save(make(pyftpdlib), "dir") != "dir"
    assert content_of(storage, "dir/a.txt") == b"content"


@pytest.mark.parametrize("unknown", [{"FEAT"}, {"FEAT", "MLST", "MLSD", "OPTS", "SYST", "SIZE", "MDTM"}], ids=len)
def test_server_that_lacks_extensions_will_do(make, pyftpdlib, monkeypatch, unknown):
    put = ftplib.FTP.putcmd

    def cut(self, line):
        put(self, "XYZ" if line.partition(" ")[0] in unknown else line)

    monkeypatch.setattr(ftplib.FTP, "putcmd", cut)
    storage = make(pyftpdlib)
    save(storage, "dir/a b.txt")
    assert storage.listdir("dir") == ([], ["a b.txt"])
    assert (storage.exists("dir"), storage.exists("di"), storage.size("dir/a b.txt")) == (True, False, 7)
    assert content_of(storage, "dir/a b.txt") == b"content"
    storage.delete("dir/a b.txt")
    assert not storage.exists("dir")
    storage.close()


def test_address_that_nobody_answers_at_is_an_error_in_time(make):
    with socket.socket() as silent:
        silent.bind((HOST, 0))
        silent.listen()
        storage = FTPStorage(f"ftp://user:pw@{HOST}:{silent.getsockname()[1]}/", connect_timeout=0.5)
        with pytest.raises(ConnectionError, match="timed out"):
            storage.exists("a.txt")
