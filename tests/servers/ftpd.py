"""Three FTP servers of the tests, each with one account whose files lie in ``files``."""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import sys
import warnings
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from .certificates import write_certificate
from .openssh import await_banner
from .process import HOST, Server, find_program, first_number, free_ports, installing

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".servers"

USER, PASSWORD = "ftp", "s3cret:/@%&"  # needs quoting in a URL


class FTPServer(Server):
    """One FTP server, plain, or with TLS as the only way in."""

    secure: ClassVar[bool] = False
    implicit: ClassVar[bool] = False  # TLS begins with the connection, without a command
    owner: ClassVar[str] = "nobody"  # of the files, where root starts the server
    top: ClassVar[str] = ""  # path of ``files`` for the account
    user: ClassVar[str] = USER
    password: ClassVar[str] = PASSWORD

    @property
    def files(self) -> Path:
        return self.directory / "files"

    @property
    def certificate(self) -> Path:
        """The certificate of the server, which is its own authority."""
        return self.directory / "certificate.pem"

    def location(self, path: str = "", *, port: int | None = None, password: str | None = None) -> str:
        scheme = "ftps-implicit" if self.implicit else "ftps" if self.secure else "ftp"
        user, secret = quote(self.user, ""), quote(password or self.password, "")
        return f"{scheme}://{user}:{secret}@{HOST}:{port or self.port}/{self.top}{path}"

    def clean(self) -> None:
        """Remove all files and directories."""
        for path in self.files.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def _launch(self) -> None:
        self.directory.chmod(0o755)
        self.files.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:
            owner = pwd.getpwnam(self.owner)
            os.chown(self.files, owner.pw_uid, owner.pw_gid)
        if self.secure:
            write_certificate(self.certificate, self.directory / "key.pem")
        self.port = free_ports(1)[0]
        self._serve()

    def _serve(self) -> None:
        raise NotImplementedError

    def _await_ready(self) -> None:
        await_banner(self, b"220", self._unverified if self.implicit else None)

    def _unverified(self, client: socket.socket) -> socket.socket:
        return ssl._create_unverified_context().wrap_socket(client)


class Pyftpdlib(FTPServer):
    """A server in Python, which needs neither root nor a package of the system."""

    name = "pyftpdlib"

    @classmethod
    def unavailable(cls) -> str | None:
        try:
            import pyftpdlib  # noqa: F401
        except ImportError:
            return "no module 'pyftpdlib'; pip install pyftpdlib pyOpenSSL"
        return None

    @classmethod
    def version(cls) -> str:
        import pyftpdlib

        return pyftpdlib.__ver__

    def _serve(self) -> None:
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.servers.ftpd import main; main()"
        tls = ["--certificate", str(self.certificate)] if self.secure else []
        tls += ["--implicit"] if self.implicit else []
        arguments = ["--port", str(self.port), "--files", str(self.files), *tls]
        self._spawn(sys.executable, "-c", code, *arguments, log="pyftpdlib.log")


class PyftpdlibTLS(Pyftpdlib):
    secure = True


class PyftpdlibImplicit(PyftpdlibTLS):
    implicit = True


class Vsftpd(FTPServer):
    """A server without MLSD, MLST and their exact times; its one account is the anonymous one, with a password."""

    name = "vsftpd"
    owner = "daemon"  # it wants one whose home directory is there
    top = "files/"  # it wants no account's root to be writable
    user = "anonymous"
    password = "s3cret@example.com"

    @classmethod
    def unavailable(cls) -> str | None:
        if os.getuid() != 0:
            return "it has to be started by root"
        return None if cls._program() else "no program 'vsftpd'; apt-get install vsftpd"

    @classmethod
    def version(cls) -> str:
        return first_number("/bin/sh", "-c", f"exec '{cls._program()}' -v 0>&1")  # it writes to its input

    @classmethod
    def _program(cls) -> str | None:
        """Return the program; Debian's package, which cannot be installed beside proftpd's, is unpacked for it."""
        unpacked = CACHE / "vsftpd/usr/sbin/vsftpd"
        if found := find_program("vsftpd"):
            return found
        if not unpacked.exists() and find_program("apt-get") and find_program("dpkg"):
            cls._unpack(unpacked.parents[2])
        return str(unpacked) if unpacked.exists() else None

    @staticmethod
    def _unpack(home: Path) -> None:
        with installing(home):
            home.mkdir(exist_ok=True)
            subprocess.run(["apt-get", "download", "vsftpd"], check=False, cwd=home, capture_output=True, timeout=60)
            for package in home.glob("vsftpd_*.deb"):
                subprocess.run(["dpkg", "-x", str(package), str(home)], check=True)

    @property
    def files(self) -> Path:
        return self.directory / "jail/files"

    def _serve(self) -> None:
        passwords, config = self.directory / "passwords", self.directory / "vsftpd.conf"
        passwords.write_text(f"{self.password}\n")
        (self.directory / "empty").mkdir(exist_ok=True)
        options = {
            "listen": "YES",
            "listen_address": HOST,
            "listen_port": self.port,
            "background": "NO",
            "seccomp_sandbox": "NO",
            "secure_chroot_dir": self.directory / "empty",
            "pasv_address": HOST,
            "utf8_filesystem": "YES",
            "write_enable": "YES",
            "anonymous_enable": "YES",
            "ftp_username": self.owner,
            "anon_root": self.files.parent,
            "anon_upload_enable": "YES",
            "anon_mkdir_write_enable": "YES",
            "anon_other_write_enable": "YES",
            "anon_world_readable_only": "NO",
            "anon_umask": "022",
            "secure_email_list_enable": "YES",
            "email_password_file": passwords,
            "delay_failed_login": 0,
            "xferlog_enable": "NO",
        }
        if self.secure:
            options |= {
                "ssl_enable": "YES",
                "allow_anon_ssl": "YES",
                "force_anon_logins_ssl": "YES",
                "force_anon_data_ssl": "YES",
                "require_ssl_reuse": "YES",
                "implicit_ssl": "YES" if self.implicit else "NO",
                "rsa_cert_file": self.certificate,
                "rsa_private_key_file": self.directory / "key.pem",
            }
        config.write_text("".join(f"{option}={value}\n" for option, value in options.items()))
        self._spawn(str(self._program()), str(config), log="vsftpd.log")


class VsftpdTLS(Vsftpd):
    secure = True


class VsftpdImplicit(VsftpdTLS):
    implicit = True


class Proftpd(FTPServer):
    """A server that takes nothing but TLS, and data connections only where they resume the session."""

    name = "ProFTPD"
    secure = True
    modules: ClassVar[Path] = Path("/usr/lib/proftpd")

    @classmethod
    def unavailable(cls) -> str | None:
        if os.getuid() != 0:
            return "it has to be started by root"
        if not find_program("proftpd") or not (cls.modules / "mod_tls.so").exists():
            return "no program 'proftpd' with mod_tls; apt-get install proftpd-core proftpd-mod-crypto"
        return None

    @classmethod
    def version(cls) -> str:
        return first_number(str(find_program("proftpd")), "-v")

    def _serve(self) -> None:
        hashed = self._run("openssl", "passwd", "-6", self.password).strip()
        owner, users = pwd.getpwnam(self.owner), self.directory / "users"
        users.write_text(f"{self.user}:{hashed}:{owner.pw_uid}:{owner.pw_gid}::{self.files}:/bin/false\n")
        users.chmod(0o600)
        config = self.directory / "proftpd.conf"
        config.write_text(f"""
ModulePath {self.modules}
LoadModule mod_tls.c
ServerType standalone
DefaultAddress {HOST}
SocketBindTight on
Port {self.port}
UseIPv6 off
UseReverseDNS off
User nobody
Group nogroup
AuthUserFile {users}
AuthOrder mod_auth_file.c
RequireValidShell off
DefaultRoot ~
AllowStoreRestart on
AllowOverwrite on
MaxLoginAttempts 20
TimesGMT on
DelayEngine off
PidFile {self.directory}/proftpd.pid
ScoreboardFile {self.directory}/scoreboard
SystemLog {self.directory}/proftpd.log
WtmpLog off
TransferLog none
TLSEngine on
TLSRequired on
TLSRSACertificateFile {self.certificate}
TLSRSACertificateKeyFile {self.directory}/key.pem
TLSVerifyClient off
""")
        self._spawn(str(find_program("proftpd")), "-n", "-q", "-c", str(config), log="output.log")


def main() -> None:
    """Run pyftpdlib until it is killed."""
    warnings.simplefilter("ignore")
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
    from pyftpdlib.servers import FTPServer as Serving

    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--files")
    parser.add_argument("--certificate")
    parser.add_argument("--implicit", action="store_true")
    given = parser.parse_args()
    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, PASSWORD, given.files, perm="elradfmwMT")

    class Implicit(TLS_FTPHandler):  # type: ignore[misc]
        def handle(self):
            self.secure_connection(self.ssl_context)

        def handle_ssl_established(self):
            super().handle()  # greets

    base = Implicit if given.implicit else TLS_FTPHandler if given.certificate else FTPHandler
    handler = type("Handler", (base,), {})
    handler.authorizer = authorizer
    handler.auth_failed_timeout = 0
    handler.max_login_attempts = 20
    if given.certificate:
        handler.certfile = given.certificate
        handler.keyfile = str(Path(given.certificate).with_name("key.pem"))
        handler.tls_control_required = handler.tls_data_required = True
    Serving((HOST, given.port), handler).serve_forever()
