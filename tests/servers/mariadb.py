"""MariaDB, as Debian packages it."""

from __future__ import annotations

import importlib.util
from typing import Any

from .database import DatabaseServer
from .process import find_program, first_number

PROGRAMS = ["mariadbd", "mariadb-install-db", "mariadb-admin", "mariadb"]


class MariaDB(DatabaseServer):
    """One server in a new directory, whose data need not outlive a crash."""

    name = "MariaDB"
    user = "mysql"

    @classmethod
    def unavailable(cls) -> str | None:
        missing = [program for program in PROGRAMS if not find_program(program)]
        if missing:
            return f"no program {missing[0]!r}; apt-get install --no-install-recommends mariadb-server"
        return None if importlib.util.find_spec("pymysql") else "PyMySQL is not installed: pip install it"

    @classmethod
    def version(cls) -> str:
        return first_number(str(find_program("mariadbd")), "--version")

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "ENGINE": "django.db.backends.mysql",
            "NAME": "tests",
            "USER": "root",
            "HOST": str(self._socket),  # a path is a socket
            # Django 4.2 sends no character of four bytes else; PyMySQL reads all certificates of the system each time.
            "OPTIONS": {"charset": "utf8mb4", "ssl_disabled": True},
        }

    @property
    def _socket(self) -> Any:
        return self.directory / "socket"

    def is_ready(self) -> bool:
        sql = "CREATE DATABASE IF NOT EXISTS tests CHARACTER SET utf8mb4"
        return self._answers(
            str(find_program("mariadb")), "--no-defaults", f"--socket={self._socket}", "-uroot", "-e", sql
        )

    def _launch(self) -> None:
        data = f"--datadir={self.directory / 'data'}"
        install = [str(find_program("mariadb-install-db")), "--no-defaults", data, "--skip-test-db"]
        self._run(*self._as_user(*install, "--auth-root-authentication-method=normal"))
        options = [
            data,
            f"--socket={self._socket}",
            f"--pid-file={self.directory / 'pid'}",
            "--skip-networking",
            "--skip-log-bin",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=32M",
            "--innodb-log-file-size=8M",
        ]
        self._spawn(*self._as_user(str(find_program("mariadbd")), "--no-defaults", *options), log="mariadbd.log")
