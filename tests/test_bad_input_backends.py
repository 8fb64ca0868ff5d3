"""Bad input to every backend: which error, what it says to do, what it keeps to itself; and nothing is lost.

What the contract's cases hold for all backends (names, modes, sources) is in storages/testing; what only S3 has, in
tests/test_bad_input.py.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib
import io
import itertools
import logging
import os
import pwd
import resource
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import libcloud.security
import pytest
from azure.storage.blob import generate_container_sas
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files import File
from django.core.files.base import ContentFile
from google.auth.credentials import AnonymousCredentials

from storages.backends.apache_libcloud import LibCloudStorage
from storages.backends.azure_storage import AzureStorage
from storages.backends.b2 import B2Storage
from storages.backends.dropbox import DropboxStorage
from storages.backends.ftp import FTPStorage
from storages.backends.gcloud import GoogleCloudStorage
from storages.backends.ipfs import IPFSStorage
from storages.backends.s3 import S3Storage
from storages.backends.sftpstorage import SFTPStorage
from storages.testing.sources import BrokenPipe, Pipe, SourceError
from tests.conftest import running
from tests.servers.azurite import Azurite
from tests.servers.b2 import B2
from tests.servers.certificates import write_certificate
from tests.servers.dropbox import TOKEN as DROPBOX_TOKEN
from tests.servers.dropbox import FakeDropbox, Refusal
from tests.servers.ftpd import Pyftpdlib, PyftpdlibTLS
from tests.servers.gcs import FakeGCS
from tests.servers.google import Answer, Google, Scripted, private_pem
from tests.servers.ipfs import FakeIPFS
from tests.servers.openssh import OpenSSH
from tests.servers.process import HOST

# Libcloud and Dropbox's SDK call it for each request.
pytestmark = pytest.mark.filterwarnings("ignore:.*utcnow.. is deprecated:DeprecationWarning")

MIB = 1024**2
OLD = b"the old version"
SECRET = "planted-secret"


def save(storage, name, content=b"new"):
    return storage.save(name, ContentFile(content))


def read(storage, name):
    with storage.open(name) as file:
        return file.read()


def write(storage, name, mode="wb", content=b"new"):
    with storage.open(name, mode) as file:
        file.write(content)


def told(error):
    """Return all that an error says, its causes included."""
    return repr(error) + "".join(traceback.format_exception(error))


READS = {
    "exists": lambda storage, name: storage.exists(name),
    "open": read,
    "open_range": lambda storage, name: storage.open_range(name, 0, 1).read(),
    "size": lambda storage, name: storage.size(name),
    "listdir": lambda storage, name: storage.listdir(""),
    "walk": lambda storage, name: list(storage.walk()),
}
WRITES = {
    "save": lambda storage, name: save(storage, "new.txt"),
    "long save": lambda storage, name: save(storage, "new.bin", bytes(9 * MIB)),
    "handle": lambda storage, name: write(storage, "new.txt"),
    "replace": lambda storage, name: write(storage, name, content=bytes(9 * MIB)),
}
CHANGES = {
    "copy": lambda storage, name: storage.copy(name, "new.txt"),
    "move": lambda storage, name: storage.move(name, "new.txt"),
    "delete": lambda storage, name: storage.delete(name),
}
VERBS = {**READS, **WRITES, **CHANGES}
NAMED = {"handle", "replace", "copy", "move"}  # which choose a name


class Plight:
    """What the cases need beside the backends' own servers."""

    def __init__(self, certificate, key):
        self.front = Scripted(self._answer)  # plain HTTP, answers as it is told
        self.stranger = Scripted(self._answer)  # over TLS, with a certificate that nobody vouches for
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server = self.stranger._server
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.handle_error = lambda *_: None  # a client that goes is what the test is about
        self.answer = Answer(500)
        self.certificate = certificate

    def _answer(self, request):
        return self.answer._replace(body=b"") if request.method == "HEAD" else self.answer

    @property
    def stranger_port(self):
        return self.stranger._server.server_address[1]

    def says(self, status, body=b"", **headers):
        """Make ``front`` answer everything so, and return its URL."""
        self.answer = Answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return self.front.url


@pytest.fixture(scope="module")
def plight(tmp_path_factory):
    directory = tmp_path_factory.mktemp("stranger")
    write_certificate(directory / "certificate.pem", directory / "key.pem")
    plight = Plight(directory / "certificate.pem", directory / "key.pem")
    with plight.front, plight.stranger:
        yield plight


def xml(code, message="no"):
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


def close_to_others(directory, *, closed=True):
    """Let nobody but root write in ``directory``, or read the file there; or open both again."""
    directory.chmod(0o555 if closed else 0o755)
    (directory / "old.txt").chmod(0 if closed else 0o644)


class Backend:
    """How to get a storage on a server of the tests, and into each plight: the methods have the names of the cases."""

    secrets: ClassVar[tuple[str, ...]] = (SECRET,)
    overwrite: ClassVar[str] = "file_overwrite"

    def __init__(self):
        self.storage = self.make()
        self.name = save(self.storage, "old.txt", OLD)

    def make(self, **options) -> Any:
        raise NotImplementedError

    def stored(self):
        """Return all that there is: equal before and after means that nothing was lost, or left behind."""
        return {entry.name: read(self.storage, entry.name) for entry in self.storage.walk()}

    def heal(self):
        pass


class OnS3(Backend):
    def __init__(self, server):
        self.server, self.bucket_name = server, server.make_bucket()
        self.secrets = (server.secret_key, SECRET)
        super().__init__()

    def make(self, **options):
        given = {
            "bucket_name": self.bucket_name,
            "endpoint_url": self.server.endpoint_url,
            "region_name": self.server.region,
            "access_key": self.server.access_key,
            "secret_key": self.server.secret_key,
            "addressing_style": "path",
            "create_only": True,
            "file_overwrite": True,
            "max_attempts": 1,
        }
        return S3Storage(**{**given, **options})

    def stranger(self, plight):
        return self.make(endpoint_url=plight.stranger.url.replace("http:", "https:"))

    def quota(self, plight):
        return self.make(endpoint_url=plight.says(403, xml("QuotaExceeded")))

    def rate(self, plight):
        return self.make(
            endpoint_url=plight.says(503, xml("SlowDown", "Please reduce your request rate."), Retry_After="1")
        )


class OnAzure(Backend):
    def __init__(self, server):
        self.server, self.container = server, server.make_bucket()
        self.secrets = (server.account_key, SECRET)
        super().__init__()

    def make(self, **options):
        given = {
            "connection_string": self.server.connection_string(),
            "azure_container": self.container,
            "overwrite_files": True,
            "azure_ssl": False,
            "client_options": {"retry_total": 0},
        }
        return AzureStorage(**{**given, **options})

    def at(self, url):
        return self.make(connection_string=self.server.connection_string(f"{url}/{self.server.account}"))

    def credentials(self, plight):
        return self.make(connection_string=self.server.connection_string(account_key="cGxhbnRlZC1zZWNyZXQ="))

    def bucket(self, plight):
        return self.make(azure_container="not-there")

    def unreachable(self, plight):
        return self.at(f"http://{HOST}:1")

    def sas(self, permission, hours):
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=hours)
        start = end - datetime.timedelta(hours=9)
        account, key = self.server.account, self.server.account_key
        token = generate_container_sas(account, self.container, key, permission=permission, expiry=end, start=start)
        self.secrets = (*self.secrets, token.rpartition("sig=")[2])
        url = f"BlobEndpoint={self.server.endpoint_url};SharedAccessSignature={token}"
        return self.make(connection_string=url)

    def expired(self, plight):
        return self.sas("racwdl", -1)

    def permission(self, plight):
        return self.sas("t", 1)

    def stranger(self, plight):
        return self.at(plight.stranger.url.replace("http:", "https:"))

    def quota(self, plight):
        return self.at(plight.says(507, xml("InsufficientStorage"), x_ms_error_code="InsufficientStorage"))

    def rate(self, plight):
        said = "Ingress is over the account limit."
        return self.at(plight.says(503, xml("ServerBusy", said), x_ms_error_code="ServerBusy", Retry_After="1"))


class OnGCS(Backend):
    def __init__(self, server, google):
        self.server, self.google = server, google
        self.bucket_name = server.make_bucket()
        self.secrets = (private_pem(), private_pem().splitlines()[1], "ya29.token-of-the-test")
        super().__init__()

    def make(self, **options):
        given = {
            "bucket_name": self.bucket_name,
            "credentials": self.google.key(),
            "client_options": {"api_endpoint": self.server.endpoint_url},
            "file_overwrite": True,
            "retry_deadline": 0,
        }
        return GoogleCloudStorage(**{**given, **options})

    def at(self, url):
        return self.make(client_options={"api_endpoint": url})

    def says(self, plight, status, message, reason):
        errors = [{"message": message, "domain": "usageLimits", "reason": reason}]
        return self.at(
            plight.says(status, {"error": {"code": status, "message": message, "errors": errors}}, Retry_After="1")
        )

    def credentials(self, plight):
        return self.make(credentials=self.google.refused_key())

    def bucket(self, plight):
        return self.says(plight, 404, "The specified bucket does not exist.", "notFound")

    def unreachable(self, plight):
        return self.at(f"http://{HOST}:1")

    def expired(self, plight):
        return self.says(plight, 401, "Invalid Credentials", "authError")

    def permission(self, plight):
        return self.says(plight, 403, "storage@test-project does not have access.", "forbidden")

    def stranger(self, plight):
        return self.at(plight.stranger.url.replace("http:", "https:"))

    def quota(self, plight):
        return self.says(plight, 403, "The quota has been exceeded.", "quotaExceeded")

    def rate(self, plight):
        return self.says(plight, 429, "The rate of object mutations is too high.", "rateLimitExceeded")


class OnDropbox(Backend):
    secrets = (DROPBOX_TOKEN, SECRET)

    def __init__(self, server):
        self.server = server
        super().__init__()

    def make(self, **options):
        given = {
            "oauth2_access_token": DROPBOX_TOKEN,
            "ca_certs": str(self.server.certificate),
            "file_overwrite": True,
            "timeout": 5,
        }
        return DropboxStorage(**{**given, **options})

    def refusing(self, refusal):
        for route in ("upload", "upload_session/start", "upload_session/finish", "upload_session/append_v2"):
            self.server.refuse(f"files/{route}", refusal, 60)
        return self.storage

    def heal(self):
        self.server.refusals.clear()
        self.server.expired.clear()

    def credentials(self, plight):
        return self.make(oauth2_access_token=SECRET)

    def unreachable(self, plight):
        class Unreachable(DropboxStorage):
            def _make_client(self):
                client = super()._make_client()
                client._session.proxies = {"https": f"http://{HOST}:1"}
                return client

        return Unreachable(DROPBOX_TOKEN, ca_certs=str(self.server.certificate), timeout=7)

    def expired(self, plight):
        self.server.expired.add(DROPBOX_TOKEN)
        return self.storage

    def permission(self, plight):
        return self.refusing(Refusal(401, {".tag": "missing_scope", "required_scope": "files.content.write"}))

    def stranger(self, plight):
        return self.make(ca_certs=None)

    def quota(self, plight):
        full = {".tag": "insufficient_space"}
        self.server.refuse("files/upload", Refusal(409, {".tag": "path", "reason": full, "upload_session_id": "x"}))
        self.server.refuse("files/upload_session/finish", Refusal(409, {".tag": "path", "path": full}))
        return self.storage

    def rate(self, plight):
        reason = {"error_summary": "too_many", "error": {"reason": {".tag": "too_many_requests"}, "retry_after": 1}}
        return self.refusing(Refusal(429, reason))


class OnB2(Backend):
    overwrite = "allow_file_overwrites"

    def __init__(self, server):
        self.server, self.bucket_name = server, server.make_bucket()
        self.secrets = (server.key.secret, SECRET)
        super().__init__()

    def make(self, **options):
        given = {
            "realm": self.server.url,
            "application_key_id": self.server.key.id,
            "application_key": self.server.key.secret,
            "bucket": self.bucket_name,
            "account_info": {"type": "memory"},
            "allow_file_overwrites": True,
            "max_attempts": 1,
        }
        return B2Storage(**{**given, **options})

    def stored(self):
        return {**super().stored(), "unfinished": self.server.unfinished()}

    def heal(self):
        self.server._faults.clear()

    def credentials(self, plight):
        return self.make(application_key=SECRET)

    def bucket(self, plight):
        return self.make(bucket="not-there")

    def unreachable(self, plight):
        return self.make(realm=f"http://{HOST}:1")

    def expired(self, plight):
        """The key was taken back while the storage was logged in."""
        key = self.server.add_key(*self.server.key.capabilities)
        self.secrets = (*self.secrets, key.secret)
        storage = self.make(application_key_id=key.id, application_key=key.secret)
        storage.exists(self.name)
        self.server.expire_tokens()
        del self.server.keys[key.id]
        return storage

    def permission(self, plight):
        key = self.server.add_key("listBuckets", "shareFiles")
        self.secrets = (*self.secrets, key.secret)
        return self.make(application_key_id=key.id, application_key=key.secret)

    def stranger(self, plight):
        return self.make(realm=plight.stranger.url.replace("http:", "https:"))

    def refusing(self, status, code, **headers):
        for part in ("/upload/", "b2_upload_part", "upload", "b2_start_large_file"):
            self.server.refuse(part, status, code, times=60, **headers)
        return self.storage

    def quota(self, plight):
        return self.refusing(403, "storage_cap_exceeded")

    def rate(self, plight):
        return self.refusing(429, "too_many_requests", Retry_After="1")


class OnIPFS(Backend):
    def __init__(self, server):
        self.server = server
        super().__init__()

    def make(self, **options):
        given = {
            "api_url": self.server.api_url,
            "auth": SECRET,
            "max_attempts": 1,
            "lookup_timeout": 1,
        }
        return IPFSStorage(**{**given, **options})

    def at(self, url):
        return self.make(api_url=f"{url}/api/v0/")

    def credentials(self, plight):
        return self.make(auth="planted-secret-of-another")

    def bucket(self, plight):
        return self.make(api_url=self.server.api_url.replace("v0", "v1"))

    def unreachable(self, plight):
        return self.at(f"http://{HOST}:1")

    def expired(self, plight):
        return self.at(plight.says(401, b"token is expired"))

    def permission(self, plight):
        return self.at(plight.says(403, b"403 - Forbidden"))

    def stranger(self, plight):
        return self.at(plight.stranger.url.replace("http:", "https:"))

    def quota(self, plight):
        said = {"Message": "write /data/ipfs/blocks: no space left on device", "Code": 0, "Type": "error"}
        return self.at(plight.says(500, said))

    def rate(self, plight):
        return self.at(plight.says(429, b"too many requests", Retry_After="1"))


class OnLibcloudS3(Backend):
    def __init__(self, server):
        self.server, self.bucket_name = server, server.make_bucket()
        self.secrets = (server.secret_key, SECRET)
        super().__init__()

    def make(self, **options):
        given = {
            "type": "MINIO",
            "user": self.server.access_key,
            "key": self.server.secret_key,
            "bucket": self.bucket_name,
            "host": HOST,
            "port": self.server.port,
            "secure": False,
            "file_overwrite": True,
            "create_only": True,
        }
        return LibCloudStorage(**{**given, **options})

    def stored(self):
        # SeaweedFS takes the query of a listing by Libcloud for something else.
        with contextlib.closing(self.server.client()) as client:
            found = client.list_objects_v2(Bucket=self.bucket_name).get("Contents", [])
        return {item["Key"]: item["ETag"] for item in found}

    def at(self, url):
        return self.make(port=int(url.rpartition(":")[2]))

    def credentials(self, plight):
        return self.make(key=SECRET)

    def bucket(self, plight):
        return self.make(bucket="not-there")

    def unreachable(self, plight):
        return self.make(port=1)

    def expired(self, plight):
        return self.at(plight.says(400, xml("ExpiredToken", "The provided token has expired.")))

    def region(self, plight):
        said = "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-central-1'"
        return self.at(plight.says(400, xml("AuthorizationHeaderMalformed", said)))

    def permission(self, plight):
        return self.at(plight.says(403, xml("AccessDenied", "Access Denied")))

    def stranger(self, plight):
        return self.make(port=plight.stranger_port, secure=True)

    def quota(self, plight):
        return self.at(plight.says(507, xml("XMinioStorageFull", "Storage backend is full.")))

    def rate(self, plight):
        return self.at(plight.says(503, xml("SlowDown", "Please reduce your request rate."), Retry_After="1"))


class OnLocal(Backend):
    def __init__(self, directory):
        self.directory = directory
        (directory / "media").mkdir()
        directory.chmod(0o755)
        super().__init__()

    def make(self, **options):
        given = {"type": "LOCAL", "user": str(self.directory), "key": SECRET, "bucket": "media", "file_overwrite": True}
        return LibCloudStorage(**{**given, **options})

    def stored(self):
        return {path.name: path.read_bytes() for path in (self.directory / "media").rglob("*") if path.is_file()}

    def heal(self):
        os.seteuid(os.getuid())
        close_to_others(self.directory / "media", closed=False)
        most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    def bucket(self, plight):
        return self.make(bucket="not-there")

    def unreachable(self, plight):
        return self.make(user=f"{self.directory}/missing")

    def permission(self, plight):
        close_to_others(self.directory / "media")
        if os.getuid() == 0:  # to whom nothing is closed
            os.seteuid(pwd.getpwnam("nobody").pw_uid)
        return self.storage

    def quota(self, plight):
        resource.setrlimit(resource.RLIMIT_FSIZE, (2, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        return self.storage


class OnFTP(Backend):
    overwrite = "allow_overwrite"

    def __init__(self, server):
        self.server = server
        self.secrets = (server.password, server.location().partition("@")[0].rpartition(":")[2], SECRET)
        super().__init__()

    def make(self, location=None, **options):
        given = {"verify": str(self.server.certificate)} if self.server.secure else {}
        return FTPStorage(location or self.server.location(), allow_overwrite=True, **{**given, **options})

    def stored(self):
        return {path.name: path.read_bytes() for path in self.server.files.rglob("*") if path.is_file()}

    def credentials(self, plight):
        return self.make(self.server.location(password=SECRET))

    def unreachable(self, plight):
        return self.make(self.server.location(port=1))

    def stranger(self, plight):
        return self.make(verify=True)

    def permission(self, plight):
        self.server.serving.handler.authorizer.user_table[self.server.user]["perm"] = "el"
        return self.storage

    def quota(self, plight):
        self.server.serving.handler.verdict = "552 Requested file action aborted: exceeded storage allocation."
        return self.storage

    def rate(self, plight):
        self.server.serving.max_cons = 1
        return self.make(connections=3)

    def heal(self):
        self.server.serving.handler.verdict = None
        self.server.serving.handler.authorizer.user_table[self.server.user]["perm"] = "elradfmwMT"
        self.server.serving.max_cons = 512


class InThisProcess:
    """pyftpdlib in a thread, so that a test can change its mind."""

    def _serve(self):
        from pyftpdlib.authorizers import DummyAuthorizer
        from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
        from pyftpdlib.ioloop import IOLoop
        from pyftpdlib.servers import FTPServer

        class Handler(TLS_FTPHandler if self.secure else FTPHandler):
            authorizer = DummyAuthorizer()
            auth_failed_timeout = 0
            max_login_attempts = 20
            verdict = None  # on the next uploads
            storing = False

            def ftp_STOR(self, *arguments, **options):  # noqa: N802 -- as pyftpdlib calls it
                self.storing = True
                return super().ftp_STOR(*arguments, **options)

            def respond(self, resp, *arguments, **options):
                if resp.startswith("226"):
                    resp = self.verdict if self.storing and self.verdict else resp
                    self.storing = False
                super().respond(resp, *arguments, **options)

        Handler.authorizer.add_user(self.user, self.password, str(self.files), perm="elradfmwMT")
        if self.secure:
            Handler.certfile, Handler.keyfile = str(self.certificate), str(self.directory / "key.pem")
            Handler.tls_control_required = Handler.tls_data_required = True
        self.serving = FTPServer((HOST, self.port), Handler, ioloop=IOLoop())
        self._going = True
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def _loop(self):
        while self._going:
            self.serving.serve_forever(timeout=0.05, blocking=False, handle_exit=False)
        self.serving.close_all()

    def stop(self):
        self._going = False
        self._thread.join()
        super().stop()


class FTPHere(InThisProcess, Pyftpdlib):
    pass


class FTPSHere(InThisProcess, PyftpdlibTLS):
    pass


class FullOpenSSH(OpenSSH):
    """sshd, none of whose files gets longer than 8 MB, and that holds few logins at a time."""

    logins = 6

    @classmethod
    def unavailable(cls):
        missing = None if shutil.which("prlimit") else "no program 'prlimit'; apt-get install util-linux"
        return super().unavailable() or missing

    def _spawn(self, *argv, log):
        config = self.directory / "sshd_config"
        config.write_text(config.read_text().replace("MaxStartups 100", f"MaxStartups {self.logins}"))
        limit = ("env", "--ignore-signal=XFSZ", "prlimit", "--fsize=8000000")
        return super()._spawn(*limit, *argv, log=log)


class OnSFTP(Backend):
    def __init__(self, server):
        self.server = server
        self.held = contextlib.ExitStack()
        self.numbers = itertools.count()
        super().__init__()

    def make(self, host_fingerprint=None, **params):
        given = {
            "port": self.server.port,
            "username": self.server.user,
            "key_filename": self.server.key,
            "passphrase": SECRET,
            "allow_agent": False,
            "look_for_keys": False,
        }
        pin = host_fingerprint or self.server.host_key()
        return SFTPStorage(host=HOST, params={**given, **params}, host_fingerprint=pin, file_overwrite=True)

    def stored(self):
        return {path.name: path.read_bytes() for path in self.server.files.rglob("*") if path.is_file()}

    def heal(self):
        self.held.close()
        close_to_others(self.server.files, closed=False)

    def credentials(self, plight):
        return self.make(key_filename=self.server.strange_key)

    def unreachable(self, plight):
        return self.make(port=1)

    def stranger(self, plight):
        return self.make(host_fingerprint=f"SHA256:{'A' * 43}")

    def permission(self, plight):
        close_to_others(self.server.files)
        return self.make(username=self.server.weak_user)

    def quota(self, plight):
        return self.storage

    def rate(self, plight):
        accepted = 0
        while accepted < self.server.logins:  # those of the last test may not be over yet
            held = self.held.enter_context(socket.create_connection((HOST, self.server.port)))
            accepted += held.recv(4) == b"SSH-"
        return self.make(passphrase=f"{SECRET} {next(self.numbers)}")  # for a pool of its own


@pytest.fixture(autouse=True)
def _nobody_waits(monkeypatch):
    """Let the clock of what tries again jump on."""
    naps: list[float] = []
    clock = SimpleNamespace(sleep=naps.append, monotonic=lambda: time.monotonic() + sum(naps), time=time.time)
    monkeypatch.setattr("dropbox.dropbox_client.time", clock)
    monkeypatch.setattr("storages.backends.dropbox.time", clock)
    monkeypatch.setattr("b2sdk._internal.b2http.time", clock)
    monkeypatch.setattr("storages.backends.libcloud_drivers.time", clock)


@pytest.fixture(scope="module")
def s3(seaweedfs):
    return OnS3(seaweedfs)


@pytest.fixture(scope="module")
def azure(pytestconfig):
    for server in running(Azurite(), pytestconfig):
        yield OnAzure(server)


@pytest.fixture(scope="module")
def gcs(pytestconfig):
    with Google() as google:
        for server in running(FakeGCS(), pytestconfig):
            yield OnGCS(server, google)


@pytest.fixture(scope="module")
def dropbox():
    with FakeDropbox() as fake, fake.reached():
        yield OnDropbox(fake)


@pytest.fixture(scope="module")
def b2():
    with B2() as server:
        yield OnB2(server)


@pytest.fixture(scope="module")
def ipfs():
    with FakeIPFS(authorization=f"Bearer {SECRET}") as server:
        yield OnIPFS(server)


@pytest.fixture(scope="module")
def libcloud_s3(seaweedfs):
    return OnLibcloudS3(seaweedfs)


@pytest.fixture(scope="module")
def local():
    with tempfile.TemporaryDirectory() as directory:  # pytest's own are closed to other users
        yield OnLocal(Path(directory))


@pytest.fixture(scope="module")
def ftp(pytestconfig):
    for server in running(FTPHere(), pytestconfig):
        yield OnFTP(server)


@pytest.fixture(scope="module")
def ftps(pytestconfig):
    for server in running(FTPSHere(), pytestconfig):
        yield OnFTP(server)


@pytest.fixture(scope="module")
def sftp(pytestconfig):
    for server in running(FullOpenSSH(), pytestconfig):
        yield OnSFTP(server)


BACKENDS = ("s3", "azure", "gcs", "dropbox", "b2", "ipfs", "libcloud_s3", "local", "ftp", "ftps", "sftp")


@pytest.fixture
def backend(request):
    """The backend of a test, which is to leave it as it was."""
    backend = request.getfixturevalue(request.param)
    before = backend.stored()
    yield backend
    backend.heal()
    assert backend.stored() == before


def assert_keeps_secrets(backend, error, storage, caplog):
    said = told(error) + repr(storage) + "".join(record.getMessage() for record in caplog.records)
    assert [secret for secret in backend.secrets if secret in said] == []


# The service says no

LACKS = "lacks the permission"
TRUST = r"did not prove who it is; if it is the right one, name its authority's file in "
BUNDLE = TRUST + "the environment variable REQUESTS_CA_BUNDLE"
# Those that only writes are told.
LONG = {"long save", "replace"}
ADDS = {"save", "long save", "handle", "replace"}
# What else the account may do, or the service tells without being asked for bytes.
OPENS = {"open", "open_range", "copy", "move", *ADDS}

# Case, backend: the error, what it says to do, and the verbs that meet it, where those are not all.
REFUSALS = {
    "credentials": {
        "azure": (PermissionError, r"AZURE_ACCOUNT_KEY\) or 'sas_token'"),
        "gcs": (PermissionError, "renew option 'credentials'"),
        "dropbox": (PermissionError, "DROPBOX_OAUTH2_REFRESH_TOKEN"),
        "b2": (PermissionError, "Correct 'application_key_id' and 'application_key'"),
        "ipfs": (PermissionError, "Correct option 'auth'"),
        "libcloud_s3": (PermissionError, "Check 'user' and 'key'"),
        "ftp": (PermissionError, "check user and password in 'location'"),
        "ftps": (PermissionError, "check user and password in 'location'"),
        "sftp": (PermissionError, "Check the user and the key or password in 'params'"),
    },
    "bucket": {
        "azure": (ImproperlyConfigured, "create it, or correct 'azure_container'"),
        "gcs": (ImproperlyConfigured, "create it, or correct option 'bucket_name'"),
        "b2": (ImproperlyConfigured, "create it, correct 'bucket', or"),
        "ipfs": (ImproperlyConfigured, "There is no RPC API at .* correct option 'api_url'"),
        "libcloud_s3": (ImproperlyConfigured, "create the container 'not-there', or correct 'bucket'"),
        "local": (ImproperlyConfigured, "create the container 'not-there', or correct 'bucket'"),
    },
    "region": {"libcloud_s3": (PermissionError, "may have expired, or 'region' may be wrong")},
    "unreachable": {
        "azure": (ConnectionError, "Check option 'account_name'"),
        "gcs": (ConnectionError, "Check the network, and option 'client_options'"),
        "dropbox": (ConnectionError, "Check the network"),
        "b2": (ConnectionError, "Check the network, the service, and 'realm'"),
        "ipfs": (ConnectionError, "Check that the node runs, and option 'api_url'"),
        "libcloud_s3": (ConnectionError, "Check 'host' and 'port'"),
        "local": (ImproperlyConfigured, "base path is not a directory"),
        "ftp": (ConnectionError, "Check 'location'"),
        "ftps": (ConnectionError, "Check 'location'"),
        "sftp": (ConnectionError, "Check 'host'"),
    },
    "expired": {
        "azure": (PermissionError, r"AZURE_SAS_TOKEN\) is right and has not expired"),
        "gcs": (PermissionError, "renew option 'credentials'"),
        "dropbox": (PermissionError, "token may have expired: give option 'oauth2_refresh_token'"),
        "b2": (PermissionError, "Correct 'application_key_id' and 'application_key'"),
        "ipfs": (PermissionError, "Correct option 'auth'"),
        "libcloud_s3": (PermissionError, "token among the options may have expired"),
    },
    "permission": {
        "azure": (PermissionError, "lacks a permission for this"),
        "gcs": (PermissionError, r"credentials may lack storage\.objects\."),
        "dropbox": (PermissionError, "give the app the scope, and make a new token", ADDS),
        "b2": (PermissionError, "give the key the capability"),
        "ipfs": (PermissionError, "what the node's API.Authorizations allow"),
        "libcloud_s3": (PermissionError, "what the account may do with the container"),
        "local": (PermissionError, "Permission denied: '/", {*OPENS, "delete"}),
        "ftp": (PermissionError, LACKS, {*OPENS, "delete"}),
        "ftps": (PermissionError, LACKS, {*OPENS, "delete"}),
        "sftp": (PermissionError, LACKS, {*OPENS, "delete"}),
    },
    "stranger": {  # a certificate signed by itself, or another host key
        "s3": (ConnectionError, TRUST + "option 'verify'"),
        "azure": (ConnectionError, BUNDLE),
        "gcs": (ConnectionError, BUNDLE),
        "dropbox": (ConnectionError, TRUST + "option 'ca_certs'"),
        "b2": (ConnectionError, BUNDLE),
        "ipfs": (ConnectionError, TRUST + "option 'ca_certs'"),
        "libcloud_s3": (ConnectionError, TRUST + "the environment variable SSL_CERT_FILE"),
        "ftps": (ConnectionError, "name its authority's file in 'verify'"),
        "sftp": (ConnectionError, "none of 'host_fingerprint'.*somebody may be listening"),
    },
    "quota": {
        "s3": (OSError, "no room left for the bucket .* remove something", {*ADDS, "copy", "move"}),
        "azure": (OSError, "no room left in the account 'account1': remove something"),
        "gcs": (OSError, "quota of the project is used up: wait, or raise it"),
        "dropbox": (OSError, "Dropbox is full; remove something or buy space", ADDS),
        "b2": (OSError, "reached a cap: raise it", ADDS),
        "ipfs": (OSError, "no room left at the node", {"save", "long save"}),
        "libcloud_s3": (OSError, "no room left for the container .* remove something"),
        "local": (OSError, "File too large", ADDS),
        "ftp": (OSError, "no room left on the server, or in the account's quota: remove something", ADDS),
        "ftps": (OSError, "no room left on the server, or in the account's quota: remove something", ADDS),
        "sftp": (OSError, "its disk may be full, or the account's quota used up", LONG),
    },
    "rate": {  # after as many tries as the options allow; the SDK's own error passes where it says what is wrong
        "s3": (Exception, "Please reduce your request rate|503"),
        "azure": (Exception, "ServerBusy"),
        "gcs": (Exception, "429"),
        "dropbox": (Exception, "too_many_requests", ADDS),
        "b2": (Exception, "Too many requests", ADDS),
        "ipfs": (Exception, r"too many requests \(429\)"),
        "libcloud_s3": (ConnectionError, "too busy: try again later"),
        "ftp": (ConnectionError, "421 Too many connections.*lower 'connections'"),
        "ftps": (ConnectionError, "421 Too many connections.*lower 'connections'"),
        "sftp": (ConnectionError, "MaxStartups.*lower 'connections'"),
    },
}
CELLS = [
    pytest.param(name, case, verb, *row[:2], id=f"{name}-{case}-{verb}")
    for case, rows in REFUSALS.items()
    for name, row in rows.items()
    for verb in VERBS
    if verb in (row[2] if len(row) > 2 else VERBS) and not (name == "ipfs" and verb in NAMED)
]


@pytest.mark.parametrize(("backend", "case", "verb", "kind", "advice"), CELLS, indirect=["backend"])
def test_refusal_says_what_to_do(backend, plight, caplog, case, verb, kind, advice):
    caplog.set_level(logging.DEBUG, "storages")
    storage = getattr(backend, case)(plight)
    with pytest.raises(kind, match=f"(?s){advice}") as caught:
        VERBS[verb](storage, backend.name)
    assert not isinstance(caught.value, FileNotFoundError)
    backend.heal()
    assert_keeps_secrets(backend, caught.value, storage, caplog)


AUTHORITIES = {
    "s3": "verify",
    "azure": "REQUESTS_CA_BUNDLE",
    "gcs": "REQUESTS_CA_BUNDLE",
    "b2": "REQUESTS_CA_BUNDLE",
    "ipfs": "ca_certs",
    "libcloud_s3": "SSL_CERT_FILE",
}


@pytest.fixture
def trusting(monkeypatch):
    """Name an authority in an environment variable; Libcloud reads it when it is imported."""

    def trust(variable, file):
        for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(variable, str(file))
        importlib.reload(libcloud.security)

    yield trust
    monkeypatch.undo()
    importlib.reload(libcloud.security)


@pytest.mark.parametrize(("backend", "where"), AUTHORITIES.items(), ids=AUTHORITIES, indirect=["backend"])
def test_authority_that_is_named_as_the_message_says_is_trusted(backend, where, plight, trusting):
    before = len(plight.stranger.requests)
    storage = backend.stranger(plight)
    if where.isupper():
        trusting(where, plight.certificate)
        storage.connect_timeout = 7  # for a client of its own
    else:
        setattr(storage, where, str(plight.certificate))
    plight.says(403)
    with pytest.raises(Exception) as caught:
        storage.size(backend.name)
    assert "CERTIFICATE" not in str(caught.value)
    assert len(plight.stranger.requests) > before


# The caller is wrong

LONGEST = "x" * 1021 + ".txt"  # 1,025 bytes
BAD_NAMES = {
    "parent": ("../old.txt", "leaves the storage's location"),
    "parent inside": ("a/../../old.txt", "leaves the storage's location"),
    "absolute": ("/old.txt", "give a name relative to the storage's location"),
    "NUL": ("a\x00.txt", "control character; remove it"),
    "newline": ("a\nb.txt", "control character; remove it"),
}
NAME_VERBS = {
    "open": read,
    "open to write": write,
    "exists": lambda storage, name: storage.exists(name),
    "size": lambda storage, name: storage.size(name),
    "delete": lambda storage, name: storage.delete(name),
    "url": lambda storage, name: storage.url(name),
    "copy": lambda storage, name: storage.copy(name, "new.txt"),
}


@pytest.mark.parametrize("verb", NAME_VERBS)
@pytest.mark.parametrize(("name", "advice"), BAD_NAMES.values(), ids=BAD_NAMES)
@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
def test_bad_name_is_refused(backend, name, advice, verb):
    with pytest.raises(SuspiciousFileOperation, match=advice):
        NAME_VERBS[verb](backend.storage, name)


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "ipfs"], indirect=True)
def test_name_that_is_too_long_is_refused(backend):
    with pytest.raises(SuspiciousFileOperation, match=r"(?i)shorten (the name|it)|takes no such name"):
        save(backend.storage, LONGEST)


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "ipfs"], indirect=True)
def test_backslash_is_a_slash(backend):
    assert save(backend.storage, "dir\\new.txt") == "dir/new.txt"
    assert read(backend.storage, "dir\\new.txt") == b"new"
    backend.storage.delete("dir\\new.txt")


@pytest.mark.parametrize("mode", ["rw", "", "z", "U"])
@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
def test_unknown_mode_is_refused(backend, mode):
    with pytest.raises(ValueError, match="use one of r, w, x, a"):
        backend.storage.open(backend.name, mode)


@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
def test_write_on_a_reader_is_refused(backend):
    with backend.storage.open(backend.name) as file, pytest.raises(io.UnsupportedOperation, match="write"):
        file.write(b"x")


@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
def test_closed_source_is_refused(backend):
    content = io.BytesIO(b"x")
    content.close()
    with pytest.raises(ValueError, match="closed"):
        backend.storage.save("old.txt", File(content, "x"))


@pytest.mark.parametrize("size", [10, 7 * MIB])
@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
def test_source_that_fails_half_way_stores_nothing(backend, size):
    with pytest.raises(SourceError, match="the source broke half-way"):
        backend.storage.save("old.txt", File(BrokenPipe(bytes(size)), "source"))


@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
def test_source_that_reads_short_is_stored_whole(backend):
    content = bytes(range(256)) * 10
    name = backend.storage.save("short.bin", File(Pipe(content, most=7), "source"))
    assert read(backend.storage, name) == content
    backend.storage.delete(name)


# Options

GOOD: dict[type, dict[str, Any]] = {
    AzureStorage: {"account_name": "account", "account_key": "cGxhbnRlZC1zZWNyZXQ=", "azure_container": "files"},
    GoogleCloudStorage: {"bucket_name": "files", "credentials": AnonymousCredentials()},
    DropboxStorage: {"oauth2_access_token": SECRET},
    B2Storage: {"application_key_id": "id", "application_key": SECRET, "account_info": {"type": "memory"}},
    IPFSStorage: {},
    LibCloudStorage: {"type": "S3", "user": "AKID", "key": SECRET, "bucket": "files"},
    FTPStorage: {"location": f"ftp://user:{SECRET}@{HOST}:1/"},
    SFTPStorage: {"host": HOST, "params": {"password": SECRET}},
}
BAD_OPTIONS = [
    (AzureStorage, {"account_nam": "x"}, "did you mean 'account_name'"),
    (GoogleCloudStorage, {"bucket_nam": "x"}, "did you mean 'bucket_name'"),
    (DropboxStorage, {"root_pat": "x"}, "did you mean 'root_path'"),
    (B2Storage, {"buckets": "x"}, "did you mean 'bucket'"),
    (IPFSStorage, {"gateway": "x"}, "did you mean 'gateway_url'"),
    (LibCloudStorage, {"buckets": "x"}, "did you mean 'bucket'"),
    (FTPStorage, {"lokation": "x"}, "did you mean 'location'"),
    (SFTPStorage, {"hosts": "x"}, "did you mean 'host'"),
    (AzureStorage, {"expiration_secs": "1h"}, r"AZURE_URL_EXPIRATION_SECS\) expects int.*'1h'"),
    (GoogleCloudStorage, {"expiration": "1h"}, r"GS_EXPIRATION\) expects timedelta or datetime or int.*'1h'"),
    (DropboxStorage, {"timeout": "1h"}, r"DROPBOX_TIMEOUT\) expects int or float.*'1h'"),
    (B2Storage, {"querystring_expire": "1h"}, "'querystring_expire' expects int or timedelta.*'1h'"),
    (IPFSStorage, {"read_timeout": "1h"}, r"IPFS_STORAGE_READ_TIMEOUT\) expects int or float.*'1h'"),
    (LibCloudStorage, {"querystring_expire": "1h"}, r"LIBCLOUD_QUERYSTRING_EXPIRE\) expects int or timedelta.*'1h'"),
    (FTPStorage, {"read_timeout": "1h"}, r"FTP_READ_TIMEOUT\) expects int or float.*'1h'"),
    (SFTPStorage, {"read_timeout": "1h"}, r"SFTP_READ_TIMEOUT\) expects int or float.*'1h'"),
    (AzureStorage, {"account_key": [SECRET]}, r"AZURE_ACCOUNT_KEY\) expects str"),
    (DropboxStorage, {"oauth2_access_token": [SECRET]}, r"DROPBOX_OAUTH2_TOKEN\) expects str"),
    (B2Storage, {"application_key": [SECRET]}, "'application_key' expects str"),
    (LibCloudStorage, {"key": [SECRET]}, "'key' expects str"),
    (GoogleCloudStorage, {"location": "/media"}, "GS_LOCATION.*write 'media'"),
    (B2Storage, {"location": "/media"}, "'location'.*write 'media'"),
    (LibCloudStorage, {"location": "/media"}, "LIBCLOUD_LOCATION.*write 'media'"),
    (AzureStorage, {"account_name": None}, "AZURE_ACCOUNT_NAME"),
    (DropboxStorage, {"oauth2_access_token": None, "app_key": SECRET}, "DROPBOX_APP_SECRET.* together"),
    (B2Storage, {"application_key": None}, "set 'application_key_id' and 'application_key'"),
    (LibCloudStorage, {"key": None}, "'user' is given without its 'key'"),
    (IPFSStorage, {"auth": (SECRET,)}, "IPFS_STORAGE_AUTH"),
    (GoogleCloudStorage, {"credentials": "/no/such/file.json"}, "GS_CREDENTIALS.*path of a JSON file"),
    (GoogleCloudStorage, {"credentials": {"type": "service_account", "private_key": SECRET}}, "GS_CREDENTIALS"),
]


@pytest.mark.parametrize(("cls", "options", "advice"), BAD_OPTIONS)
def test_bad_option_is_refused(cls, options, advice, monkeypatch):
    monkeypatch.delenv("B2_APPLICATION_KEY", raising=False)
    with pytest.raises(ImproperlyConfigured, match=advice) as caught:
        cls(**{**GOOD[cls], **options}).exists("a.txt")
    assert SECRET not in told(caught.value)


SIGNING = (AzureStorage, GoogleCloudStorage, B2Storage, LibCloudStorage)


@pytest.mark.parametrize("cls", SIGNING)
@pytest.mark.parametrize(
    ("expire", "advice"),
    [
        (7 * 86400 + 1, r"at most 604800 seconds \(7 days\), not 604801"),
        (datetime.timedelta(days=8), "at most 604800 seconds"),
        (-5, "more than 0"),
        ("1h", "number of seconds, not '1h'"),
    ],
)
def test_bad_expire_is_refused(cls, expire, advice):
    options = {B2Storage: {"querystring_auth": True}, AzureStorage: {"account_key": None, "token_credential": object()}}
    with pytest.raises(ValueError, match=advice):
        cls(**{**GOOD[cls], **options.get(cls, {})}).url("a.txt", expire=expire)


WITHOUT_SDK = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        hidden = name == sys.argv[2] or name.startswith(sys.argv[2] + ".")
        return None if hidden else self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)

from django.conf import settings
settings.configure(STORAGES={"default": {"BACKEND": sys.argv[1]}})
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages
try:
    storages["default"]
except ImproperlyConfigured as error:
    print(error)
"""
SDKS = {
    AzureStorage: ("azure", "azure"),
    GoogleCloudStorage: ("google", "google"),
    DropboxStorage: ("dropbox", "dropbox"),
    B2Storage: ("b2sdk", "b2"),
    IPFSStorage: ("urllib3", "ipfs"),
    LibCloudStorage: ("libcloud", "libcloud"),
    SFTPStorage: ("paramiko", "sftp"),
}


@pytest.mark.parametrize(("cls", "sdk", "extra"), [(cls, *names) for cls, names in SDKS.items()])
def test_absent_sdk_is_told_when_the_storage_is_made(cls, sdk, extra):
    arguments = [sys.executable, "-c", WITHOUT_SDK, f"{cls.__module__}.{cls.__name__}", sdk]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    assert done.stdout == f"{cls.__name__} needs {sdk}: pip install 'django-storages-ng[{extra}]'\n"


# Libcloud

LISTING = """<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>false</IsTruncated>
<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"x"</ETag><Size>1</Size>
<Owner><ID>o</ID><DisplayName>o</DisplayName></Owner></Contents></ListBucketResult>"""


@pytest.mark.parametrize("backend", ["libcloud_s3"], indirect=True)
def test_encoding_of_a_listing_is_not_guessed(backend, plight):
    name = "é" * 49 + "y"
    url = plight.says(200, LISTING.format(name).encode(), Content_Type="application/xml")
    assert [entry.name for entry in backend.at(url).walk()] == [name]
