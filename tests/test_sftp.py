"""What is special about SFTPStorage: who the server is, what files are like, what it costs, how connections live."""

from __future__ import annotations

import base64
import collections
import contextlib
import datetime
import getpass
import logging
import os
import shutil
import socket
import stat
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import paramiko
import pytest
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.test import override_settings

from storages import process
from storages.backends import connections
from storages.backends.sftpstorage import HostKeyError, SFTPStorage, fingerprint
from storages.contract import ObjectChanged
from tests.file_servers import move_large_files, peak_of, read_a_little, served
from tests.servers.openssh import OpenSSH
from tests.servers.process import HOST
from tests.servers.proxy import Proxy

MIB = 1024**2
STRANGE_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

pytestmark = pytest.mark.timeout(60)


openssh = served(OpenSSH)


@pytest.fixture
def make(openssh):
    """Make a storage; what is given as None is left out."""
    made = []

    def make(port=None, **options):
        given = {"host": HOST, "params": params(openssh, port), "host_fingerprint": openssh.host_key(), **options}
        made.append(SFTPStorage(**{name: value for name, value in given.items() if value is not None}))
        return made[-1]

    yield make
    for storage in made:
        with contextlib.suppress(ImproperlyConfigured):
            storage.close()
    openssh.clean()


@pytest.fixture
def storage(make):
    return make()


@pytest.fixture
def home(monkeypatch, tmp_path):
    """An empty home directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("storages.backends.sftpstorage.SYSTEM_KNOWN_HOSTS", tmp_path / "none")
    return tmp_path


@pytest.fixture
def requests(monkeypatch):
    """The names of the requests that any client sends."""
    names = {
        number: name for name, number in vars(paramiko.sftp).items() if name.startswith("CMD_") and name != "CMD_NAMES"
    }
    sent = []
    ask = paramiko.SFTPClient._async_request

    def noted(self, file, kind, *fields):
        sent.append(names[kind].removeprefix("CMD_"))
        return ask(self, file, kind, *fields)

    monkeypatch.setattr(paramiko.SFTPClient, "_async_request", noted)
    return sent


def params(server, port=None, **changes):
    given = {
        "port": port or server.port,
        "username": server.user,
        "key_filename": server.key,
        "allow_agent": False,
        "look_for_keys": False,
    }
    return {**given, **changes}


def save(storage, name, content=b"content"):
    return storage.save(name, ContentFile(content))


def content_of(storage, name):
    with storage.open(name) as file:
        return file.read()


def shown(key: str) -> str:
    """Return the fingerprint of a public key."""
    name, data = key.split()
    return fingerprint(paramiko.PKey.from_type_string(name, base64.b64decode(data)))


# The server has to be the one that is meant: C-160, C-161, S-15


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_server_with_the_pinned_key_is_trusted(make, openssh, home, kind):
    assert make(host_fingerprint=openssh.host_key(kind)).exists("a.txt") is False


def test_server_with_a_pinned_fingerprint_is_trusted(make, openssh, home):
    pins = [shown(STRANGE_KEY), shown(openssh.host_key())]
    assert make(host_fingerprint=pins).exists("a.txt") is False


@pytest.mark.parametrize("where", ["option", "user"])
def test_known_host_is_trusted(make, openssh, home, where):
    (home / ".ssh").mkdir()
    path = openssh.write_known_hosts(home / ".ssh/known_hosts", openssh.host_key())
    storage = make(host_fingerprint=None, known_host_file=str(path) if where == "option" else None)
    assert storage.exists("a.txt") is False


@pytest.mark.contract("C-161")
def test_unknown_host_is_refused_and_not_remembered(make, openssh, home):
    known = home / "known_hosts"
    known.write_text("")
    for options in ({"known_host_file": str(known)}, {}):
        with pytest.raises(HostKeyError, match="is not among the known hosts") as error:
            make(host_fingerprint=None, **options).exists("a.txt")
        assert shown(openssh.host_key()) in str(error.value)
    assert known.read_text() == ""
    assert list(home.iterdir()) == [known]


@pytest.mark.contract("C-160")
def test_changed_host_key_is_refused(make, openssh, home):
    known = openssh.write_known_hosts(home / "known_hosts", STRANGE_KEY)
    storage = make(host_fingerprint=None, known_host_file=str(known))
    with pytest.raises(ConnectionError, match="somebody may be listening"):
        storage.exists("a.txt")


@pytest.mark.parametrize("pin", [STRANGE_KEY, shown(STRANGE_KEY)], ids=["key", "fingerprint"])
def test_server_with_another_key_than_the_pinned_one_is_refused(make, openssh, home, pin):
    # Even though it is a known host.
    known = openssh.write_known_hosts(home / "known_hosts", openssh.host_key())
    with pytest.raises(ConnectionError, match="somebody may be listening"):
        make(host_fingerprint=pin, known_host_file=str(known)).exists("a.txt")


def test_unverified_host_is_warned_of(make, openssh, home, caplog):
    storage = make(host_fingerprint=None, verify_host=False)
    with caplog.at_level(logging.WARNING, "storages"):
        assert storage.exists("a.txt") is False
    assert ["SFTP_VERIFY_HOST" in record.getMessage() for record in caplog.records if record.name == "storages"] == [
        True
    ]
    assert list(home.iterdir()) == []


# Options


BAD_OPTIONS = {
    "no host": ({"host": None}, "SFTP_STORAGE_HOST"),
    "no fingerprint": ({"host_fingerprint": "MD5:00:11"}, "SFTP_HOST_FINGERPRINT"),
    "missing key": ({"params": {"key_filename": "/none"}}, "an option names a file that is not there"),
    "missing known hosts": ({"host_fingerprint": None, "known_host_file": "/none"}, "is not there"),
    "wrong type": ({"params": "port=22"}, "SFTP_STORAGE_PARAMS"),
    "misspelt": ({"known_hosts_file": "x"}, "did you mean 'known_host_file'"),
    "negative": ({"uid": -1}, "SFTP_STORAGE_UID"),
}


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS.values(), ids=BAD_OPTIONS)
def test_bad_option_is_told(make, openssh, options, message):
    if "params" in options and isinstance(options["params"], dict):
        options = {"params": params(openssh, **options["params"])}
    with pytest.raises(ImproperlyConfigured, match=f"(?i){message}"):
        make(**options).exists("a.txt")


def test_django_settings_are_read(openssh):
    settings = {
        "SFTP_STORAGE_HOST": HOST,
        "SFTP_STORAGE_ROOT": "somewhere/",
        "SFTP_STORAGE_PARAMS": params(openssh),
        "SFTP_HOST_FINGERPRINT": openssh.host_key(),
        "SFTP_STORAGE_FILE_MODE": 0o640,
        "SFTP_BASE_URL": "https://files.example.com/",
    }
    with override_settings(**settings):
        storage = SFTPStorage()
    save(storage, "a.txt")
    storage.close()
    assert stat.S_IMODE((openssh.files / "somewhere/a.txt").stat().st_mode) == 0o640
    assert storage.url("a b.txt") == "https://files.example.com/a%20b.txt"
    openssh.clean()


@pytest.mark.parametrize("root", ["inner", "inner/", "{files}/inner", "{files}/inner/"])
def test_root_may_be_relative_or_absolute(make, openssh, root):
    storage = make(root_path=root.format(files=openssh.files))
    save(storage, "dir/a.txt")
    assert (openssh.files / "inner/dir/a.txt").read_bytes() == b"content"
    assert storage.listdir("") == (["dir"], [])


def test_permissions_are_given_to_what_is_new(make, openssh):
    storage = make(file_mode=0o604, dir_mode=0o705)
    save(storage, "new/a.txt")
    with storage.open("new/b.bin", "wb") as file:
        file.write(bytes(3 * MIB))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in openssh.files.rglob("*")}
    assert modes == {"new": 0o705, "a.txt": 0o604, "b.bin": 0o604}


@pytest.mark.parametrize("wished", [{"uid": 0, "gid": 0}, {"gid": 0}, {"uid": 1, "gid": 2}, {"uid": 1}])
def test_owner_is_given_to_what_is_new(make, openssh, wished):
    if os.getuid() != 0:
        pytest.skip("only root may give files away")
    openssh.files.chmod(0o2755)
    os.chown(openssh.files, 0, 3)  # so that what is new gets another group by itself
    try:
        save(make(**wished), "new/a.txt")
    finally:
        os.chown(openssh.files, 0, 0)
        openssh.files.chmod(0o755)
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in openssh.files.rglob("*")}
    assert owners == {(wished.get("uid", 0), wished.get("gid", 3))}


@pytest.fixture
def locked(openssh, tmp_path):
    """A copy of the key that opens the account, under a password."""
    path = tmp_path / "locked"
    shutil.copy(openssh.key, path)
    subprocess.run(["ssh-keygen", "-q", "-a", "1", "-p", "-P", "", "-N", "the passphrase", "-f", str(path)], check=True)
    return str(path)


@pytest.fixture
def asked(monkeypatch):
    """What was asked for on the terminal, where the answers are those in ``answers``, the last one again and again."""
    prompts = Prompts()
    monkeypatch.setattr(getpass, "getpass", prompts.answer)
    yield prompts
    for key in [key for key in process._shared if key[0] == "sftp passwords"]:
        process.forget(key)


class Prompts(list):
    answers = ["the passphrase"]

    def answer(self, prompt):
        self.append(prompt)
        return self.answers[min(len(self), len(self.answers)) - 1]


def test_silent_login_asks_nothing(make, openssh, locked, asked):
    with pytest.raises(PermissionError):
        make(params=params(openssh, key_filename=locked)).exists("a.txt")
    assert asked == []


def test_interactive_login_asks_once(make, openssh, locked, asked):
    storage = make(params=params(openssh, key_filename=locked), interactive=True)
    assert storage.exists("a.txt") is False
    storage.close()
    assert storage.exists("a.txt") is False
    assert asked == [f"Password of {openssh.user} at {HOST}: "]


def test_threads_that_log_in_at_once_ask_once(make, openssh, locked, asked):
    storage = make(params=params(openssh, key_filename=locked), interactive=True)
    together = threading.Barrier(4)

    def look(_):
        together.wait()
        return storage.exists("a.txt")

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(look, range(4))) == [False] * 4
    assert len(asked) == 1


def test_wrong_password_is_asked_for_again_and_told_nowhere(make, openssh, locked, asked):
    asked.answers = ["mistyped", "the passphrase"]
    storage = make(params=params(openssh, key_filename=locked), interactive=True)
    with pytest.raises(PermissionError) as error:
        storage.exists("a.txt")
    links = (error.value, error.value.__cause__, error.value.__context__)
    assert not [link for link in links if "mistyped" in f"{link}{link!r}"]
    assert storage.exists("a.txt") is False
    assert len(asked) == 2


def test_password_that_is_typed_opens_the_account(make, asked):
    with PasswordServer() as server:
        given = {"port": server.port, "username": "somebody", "allow_agent": False, "look_for_keys": False}
        storage = make(params=given, host_fingerprint=fingerprint(server.key), interactive=True)
        assert storage.exists("a.txt") is False
        storage.close()
    assert asked == [f"Password of somebody at {HOST}: "]
    assert server.tried == [("somebody", "the passphrase")]


class PasswordServer(paramiko.ServerInterface):
    """A server that a password opens, with no files; sshd would want an account of the machine for that."""

    def __init__(self):
        self.key = paramiko.ECDSAKey.generate()
        self.tried = []
        self._listener = socket.create_server((HOST, 0))
        self.port = self._listener.getsockname()[1]
        self._transports = []

    def __enter__(self):
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for transport in self._transports:
            transport.close()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                transport = paramiko.Transport(self._listener.accept()[0])
                self._transports.append(transport)
                transport.add_server_key(self.key)
                transport.set_subsystem_handler("sftp", paramiko.SFTPServer, NoFiles)
                # With an event, for else it waits, and raises where a client has already gone.
                transport.start_server(threading.Event(), server=self)

    def get_allowed_auths(self, username):
        return "password"

    def check_auth_password(self, username, password):
        self.tried.append((username, password))
        return paramiko.AUTH_SUCCESSFUL if password == "the passphrase" else paramiko.AUTH_FAILED

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED


class NoFiles(paramiko.SFTPServerInterface):
    def stat(self, path):
        return paramiko.SFTP_NO_SUCH_FILE


def test_given_password_is_not_asked_for(make, openssh, locked, asked):
    given = params(openssh, key_filename=locked, password="mistyped")
    with pytest.raises(PermissionError):
        make(params=given, interactive=True).exists("a.txt")
    assert asked == []


def test_collectstatic_asks_once(make, openssh, locked, asked, tmp_path):
    source = tmp_path / "static"
    source.mkdir()
    for number in range(20):
        (source / f"{number}.css").write_bytes(b"body {}")
    options = {
        "host": HOST,
        "root_path": "static",
        "params": params(openssh, key_filename=locked),
        "host_fingerprint": openssh.host_key(),
        "interactive": True,
    }
    backend = {"BACKEND": "storages.backends.sftpstorage.SFTPStorage", "OPTIONS": options}
    with override_settings(
        STORAGES={"default": backend, "staticfiles": backend},
        STATICFILES_DIRS=[str(source)],
        STATICFILES_FINDERS=["django.contrib.staticfiles.finders.FileSystemFinder"],
    ):
        call_command("collectstatic", interactive=False, verbosity=0)
        staticfiles_storage.close()
    assert len(list((openssh.files / "static").glob("*.css"))) == 20
    assert len(asked) == 1
    openssh.clean()


def test_socket_may_be_made_elsewhere(make, openssh):
    made = []

    def connect():
        made.append(socket.create_connection((HOST, openssh.port)))
        return made[-1]

    storage = make(params=params(openssh, sock=connect))
    save(storage, "a.txt")
    storage.close()
    assert content_of(storage, "a.txt") == b"content"
    assert len(made) == 2


# Files


def test_foreign_names_and_special_files_do_not_break_a_listing(storage, openssh):
    save(storage, "a.txt")
    (openssh.files / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"latin-1")
    (openssh.files / "dir").mkdir()
    (openssh.files / "to dir").symlink_to("dir")
    (openssh.files / "to file").symlink_to("a.txt")
    (openssh.files / "to nothing").symlink_to("missing")
    os.mkfifo(openssh.files / "pipe")
    directories, files = storage.listdir("")
    assert (directories, files) == (["dir", "to dir"], ["a.txt", "caf\udce9.txt", "to file"])


def test_accessed_time_is_known(storage, openssh):
    save(storage, "a.txt")
    os.utime(openssh.files / "a.txt", (1_000_000_000, 1_500_000_000))
    assert storage.get_accessed_time("a.txt").timestamp() == 1_000_000_000
    assert storage.get_modified_time("a.txt").timestamp() == 1_500_000_000


REFUSED = {
    "save": lambda storage: save(storage, "closed/b.txt"),
    "new directory": lambda storage: save(storage, "closed/new/b.txt"),
    "read": lambda storage: content_of(storage, "closed/a.txt"),
    "delete": lambda storage: storage.delete("closed/a.txt"),
    "list": lambda storage: storage.listdir("closed/inner"),
}


@pytest.mark.parametrize("deed", REFUSED.values(), ids=REFUSED)
def test_refused_permission_is_a_permission_error(make, openssh, deed):
    closed = openssh.files / "closed"
    (closed / "inner").mkdir(parents=True)
    (closed / "a.txt").write_bytes(b"content")
    (closed / "a.txt").chmod(0)
    (closed / "inner").chmod(0)
    closed.chmod(0o555)
    try:
        with pytest.raises(PermissionError, match="lacks the permission"):
            deed(make(params=params(openssh, username=openssh.weak_user)))
    finally:
        closed.chmod(0o755)
        (closed / "inner").chmod(0o755)


def test_write_that_the_server_refuses_is_an_error(storage):
    # paramiko's own pipelining drops such answers.
    def fill(session):
        upload = session.create("/dev/full")
        for _ in range(10):
            upload.write(bytes(MIB))
        upload.close()

    with pytest.raises(OSError, match="Failure"):
        storage._pool.run(fill)


def test_file_that_shrinks_under_a_reader_is_an_error(storage, openssh):
    save(storage, "a.bin", bytes(8 * MIB))
    with storage.open_range("a.bin", 0) as body, pytest.raises(OSError, match="shorter"):
        body.read(1)
        os.truncate(openssh.files / "a.bin", 100_000)
        while body.read(MIB):
            pass


def test_file_that_is_replaced_under_a_reader_is_told(make):
    storage = make(file_overwrite=True)
    save(storage, "a.bin", bytes(8 * MIB))
    with storage.open("a.bin") as file:
        file.read(10)
        save(storage, "a.bin", b"other")
        with pytest.raises(ObjectChanged):
            file.read()


def test_update_of_what_another_one_replaced_is_refused(make):
    storage = make(file_overwrite=True)
    save(storage, "a.txt", b"first")
    file = storage.open("a.txt", "ab")
    file.write(b" and mine")
    save(storage, "a.txt", b"their own")
    with pytest.raises(ObjectChanged):
        file.close()
    assert content_of(storage, "a.txt") == b"their own"


def test_directory_is_never_replaced(make, openssh):
    storage = make(file_overwrite=True)
    save(storage, "dir/a.txt")
    with pytest.raises(IsADirectoryError):
        save(storage, "dir")
    assert save(make(), "dir") != "dir"
    assert content_of(storage, "dir/a.txt") == b"content"


def test_file_in_the_place_of_a_directory_is_told(storage):
    save(storage, "a.txt")
    with pytest.raises(NotADirectoryError):
        save(storage, "a.txt/b.txt")


def test_server_without_posix_rename_still_replaces(make, monkeypatch):
    def unsupported(self, old, new):
        raise OSError("Operation unsupported")

    storage = make(file_overwrite=True)
    save(storage, "a.txt", b"old")
    monkeypatch.setattr(paramiko.SFTPClient, "posix_rename", unsupported)
    save(storage, "a.txt", b"new")
    assert content_of(storage, "a.txt") == b"new"


# Cost


# OPEN has to be answered before WRITE can name the handle, the last of the bytes before the name is given: a server
# renames although a write failed. So three waits are the least, and what needs none is sent along.
COSTS = {
    "save": (lambda s: save(s, "dir/new.txt"), ["OPEN", "WRITE", "CLOSE", "RENAME"], 3),
    "save, taken": (
        lambda s: save(s, "dir/a.txt"),
        ["OPEN", "WRITE", "CLOSE", "RENAME", "LSTAT", "REMOVE", "OPEN", "WRITE", "CLOSE", "RENAME"],
        8,
    ),
    "save, replacing": (lambda s: save(replacing(s), "dir/a.txt"), ["OPEN", "WRITE", "CLOSE", "EXTENDED"], 3),
    "write": (lambda s: write(s, "dir/new.txt"), ["OPEN", "WRITE", "CLOSE", "EXTENDED"], 3),
    "write nothing": (lambda s: s.open("dir/new.txt", "wb").close(), ["OPEN", "CLOSE", "EXTENDED"], 3),
    "read": (lambda s: content_of(s, "dir/a.txt"), ["OPEN", "FSTAT", "READ", "CLOSE"], 2),
    "exists": (lambda s: s.exists("dir/a.txt"), ["STAT"], 1),
    "exists, missing": (lambda s: s.exists("dir/b.txt"), ["STAT"], 1),
    "size": (lambda s: s.size("dir/a.txt"), ["STAT"], 1),
    "modified time": (lambda s: s.get_modified_time("dir/a.txt"), ["STAT"], 1),
    "list": (lambda s: s.listdir("dir"), ["OPENDIR", "READDIR", "READDIR", "READDIR", "CLOSE"], 3),
    "delete": (lambda s: s.delete("dir/a.txt"), ["REMOVE"], 1),
    "url": (lambda s: s.url("dir/a.txt"), [], 0),
}


def replacing(storage):
    storage.file_overwrite = True
    return storage


def write(storage, name):
    with storage.open(name, "wb") as file:
        file.write(b"content")


@pytest.fixture
def waits(monkeypatch, requests):
    """How many requests there were at each time that a client began to wait for the server."""
    noted = []
    receive = paramiko.SFTPClient._read_response

    def waiting(self, *arguments):
        if len(requests) not in noted:
            noted.append(len(requests))
        return receive(self, *arguments)

    monkeypatch.setattr(paramiko.SFTPClient, "_read_response", waiting)
    return noted


@pytest.mark.parametrize(("deed", "sent", "round_trips"), COSTS.values(), ids=COSTS)
def test_verb_costs(storage, requests, waits, deed, sent, round_trips):
    save(storage, "dir/a.txt")
    requests.clear()
    waits.clear()
    deed(storage)
    assert requests == sent
    assert len(waits) == round_trips


def test_many_verbs_cost_as_much_as_each(storage, requests, waits):
    for number in range(200):
        save(storage, f"dir/{number}.txt")
    assert len(waits) <= 610
    assert len(requests) <= 810
    requests.clear()
    storage.delete_many([f"dir/{number}.txt" for number in range(200)])
    assert requests == ["REMOVE"] * 200


def test_server_renames_what_it_could_not_write(storage, openssh):
    # Which is why the rename waits for the answers to the writes.
    session = storage._account().connect()
    (openssh.files / "full").symlink_to("/dev/full")
    upload = session.create("full")
    upload.write(b"content")
    upload._ask(paramiko.sftp.CMD_CLOSE, upload._handle)
    session.client.rename("full", "a.txt")
    with pytest.raises(OSError, match="Failure"):
        upload._settle(0)
    assert (openssh.files / "a.txt").is_symlink()
    session.close()


def test_large_files_take_little_memory(make, openssh, tmp_path):
    storage = make(file_overwrite=True)
    assert peak_of(lambda: move_large_files(storage, openssh.files, tmp_path)) <= 32 * MIB


def test_a_little_of_a_large_file_moves_a_little(storage, openssh, requests):
    storage.exists("a.bin")
    requests.clear()
    assert peak_of(lambda: read_a_little(storage, openssh.files)) <= 2 * MIB
    assert collections.Counter(requests) == {"OPEN": 1, "FSTAT": 1, "READ": 8, "CLOSE": 1}  # 8 of 32 KiB


def test_packets_are_not_held_back(storage):
    transport = storage.client.get_channel().get_transport()
    assert transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    assert transport.packetizer._Packetizer__keepalive_interval == 30


# Connections


def test_closed_storage_can_be_used_again(storage):
    save(storage, "a.txt")
    client = storage.sftp
    storage.close()
    assert client.get_channel().closed
    assert content_of(storage, "a.txt") == b"content"
    with storage as same:
        assert same is storage
        assert storage.sftp.listdir() == ["a.txt"]
    assert content_of(storage, "a.txt") == b"content"


def test_storages_and_threads_share_a_few_connections(make, openssh):
    with Proxy(HOST, openssh.port, http=False) as wire:
        storages = [make(port=wire.port, connections=3) for _ in range(4)]

        def work(number):
            storage = storages[number % 4]
            save(storage, f"{number}.bin", bytes([number]) * 100_000)
            return content_of(storage, f"{number}.bin")

        with ThreadPoolExecutor(12) as pool:
            assert list(pool.map(work, range(48))) == [bytes([number]) * 100_000 for number in range(48)]
        assert wire.connections <= 12
        assert len(storages[0]._pool._idle) <= 3
        storages[0].close()


def test_holders_of_all_connections_do_not_wait_for_each_other(make, monkeypatch):
    monkeypatch.setattr(connections, "PATIENCE", 0.1)
    storage = make(connections=1)
    save(storage, "a.bin", bytes(3 * MIB))
    with storage.open_range("a.bin", 0) as body:
        body.read(1)
        with storage.open("b.bin", "wb") as file:
            file.write(bytes(3 * MIB))
    assert storage.size("b.bin") == 3 * MIB


def test_idle_connections_are_closed_after_a_while(storage, monkeypatch):
    pool = storage._pool
    (first, _), (second, _) = pool._take(), pool._take()
    pool.give_back(first)
    monkeypatch.setattr(connections, "MOST_IDLE", -1)
    pool.give_back(second)
    assert (first.is_alive(0), second.is_alive(0)) == (False, True)
    assert storage.exists("a.txt") is False


def test_reader_that_nobody_closes_does_not_keep_its_connection(make):
    storage = make(connections=1)
    save(storage, "a.bin", bytes(3 * MIB))
    body = storage._open_range("a.bin", 0, None)
    body.read(1)
    del body
    assert storage._pool._open == {}


def test_stale_uploads_are_only_those_below_the_root(make, openssh):
    for name in ("inside/.storages-" + "0" * 32 + ".part", ".storages-" + "1" * 32 + ".part", "inside/.storages-x"):
        path = openssh.files / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
        os.utime(path, (0, 0))
    storage = make(root_path="inside")
    assert storage.listdir("") == ([], [".storages-x"])
    assert storage.abort_stale_uploads(datetime.timedelta(days=1)) == 1
    assert sorted(path.name[:11] for path in openssh.files.rglob("*.part")) == [".storages-1"]


def test_urls_need_a_base(make):
    assert make().url("a b.txt") == "/a%20b.txt"
    with override_settings(MEDIA_URL="https://media.example.com/m/"):
        assert make().url("ä?.txt", parameters={"v": 1}) == "https://media.example.com/m/%C3%A4%3F.txt?v=1"
    with pytest.raises(ValueError, match="base_url"):
        SFTPStorage(host=HOST, base_url=None).url("a.txt")
