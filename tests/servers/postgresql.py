"""PostgreSQL, as Debian packages it."""

from __future__ import annotations

import importlib.util
from typing import Any

from .database import DatabaseServer, newest
from .process import find_program, first_number

PORT = 5432  # names the socket, nothing more


class PostgreSQL(DatabaseServer):
    """One cluster in a new directory, whose data need not outlive a crash."""

    name = "PostgreSQL"
    user = "postgres"

    @classmethod
    def program(cls, name: str) -> str | None:
        """Return the path of one of its programs, which Debian has beside each other for several versions."""
        return newest(f"/usr/lib/postgresql/*/bin/{name}") or find_program(name)

    @classmethod
    def unavailable(cls) -> str | None:
        if not cls.program("postgres"):
            return "no program 'postgres'; apt-get install --no-install-recommends postgresql"
        return None if importlib.util.find_spec("psycopg") else "psycopg is not installed: pip install it"

    @classmethod
    def version(cls) -> str:
        return first_number(str(cls.program("postgres")), "--version")

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": "postgres",
            "HOST": str(self.directory),
            "PORT": str(PORT),
        }

    def is_ready(self) -> bool:
        return self._answers(str(self.program("pg_isready")), "-h", str(self.directory), "-p", str(PORT))

    def _launch(self) -> None:
        data = str(self.directory / "data")
        initdb = [str(self.program("initdb")), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        self._run(*self._as_user(*initdb, "--locale=C", "--no-sync", "--no-instructions"))
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.directory),
            "port": str(PORT),
            "max_connections": "50",
            "shared_buffers": "16MB",
            "dynamic_shared_memory_type": "mmap",
            **dict.fromkeys(["fsync", "synchronous_commit", "full_page_writes", "autovacuum"], "off"),
        }
        said = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self._spawn(*self._as_user(str(self.program("postgres")), "-D", data, *said), log="postgres.log")
