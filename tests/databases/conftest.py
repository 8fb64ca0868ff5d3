"""A server's database in the place of the tests' own, and threads that meet in it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, connections

from storages.uploads.errors import UploadError
from tests.conftest import running
from tests.servers.database import DatabaseServer
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL
from tests.uploads.conftest import browser, cloud  # noqa: F401
from tests.uploads.seed_fixtures import fake_s3, make_dirs  # noqa: F401

BLOCKED = {
    "postgresql": "SELECT count(*) FROM pg_locks WHERE NOT granted",
    "mysql": "SELECT variable_value + 0 FROM information_schema.global_status"
    " WHERE variable_name = 'Innodb_row_lock_current_waits'",
}
# The first of MariaDB is what Django makes of it; the second, what it is by itself, reads an old picture.
DATABASES: dict[str, dict[str, str]] = {
    "postgresql": {},
    "mariadb": {"isolation_level": "read committed"},
    "mariadb as it is": {"isolation_level": "repeatable read"},
}
USED = ("tests_uploads.Clip", "storages_uploads.Upload", "storages_private.Link", "sessions.Session", "auth.User")


@pytest.fixture(scope="session")
def postgresql(pytestconfig: pytest.Config, django_db_blocker: Any) -> Iterator[DatabaseServer]:
    for server in running(PostgreSQL(), pytestconfig):
        with django_db_blocker.unblock():
            _migrate(server)
        yield server


@pytest.fixture(scope="session")
def mariadb(pytestconfig: pytest.Config, django_db_blocker: Any) -> Iterator[DatabaseServer]:
    for server in running(MariaDB(), pytestconfig):
        __import__("pymysql").install_as_MySQLdb()  # Django asks for mysqlclient, which has to be compiled
        with django_db_blocker.unblock():
            _migrate(server)
        yield server


@pytest.fixture(params=["postgresql", "mariadb"])
def database(request: pytest.FixtureRequest, django_db_blocker: Any) -> Iterator[str]:
    """The default database of this test, in a project with ATOMIC_REQUESTS: the name that Django has for its kind."""
    server = request.getfixturevalue(request.param.partition(" ")[0])
    with django_db_blocker.unblock(), _default(server, DATABASES[request.param]):
        yield connection.vendor
        for label in USED:
            apps.get_model(label)._base_manager.all().delete()


@pytest.fixture
def db(database: str) -> None:
    """What the fixtures of tests/uploads ask for."""


@pytest.fixture
def anna(database: str) -> User:
    return User.objects.create_user("anna")


@contextlib.contextmanager
def _default(server: DatabaseServer, options: dict[str, Any]) -> Iterator[None]:
    before, old = connections["default"], dict(connections.settings["default"])
    new = {**server.settings, "ATOMIC_REQUESTS": True, "OPTIONS": {**server.settings.get("OPTIONS", {}), **options}}
    connections.settings["default"].update(new)
    del connections["default"]
    try:
        yield
    finally:
        connections["default"].close()
        connections.settings["default"].clear()
        connections.settings["default"].update(old)
        connections["default"] = before


def _migrate(server: DatabaseServer) -> None:
    with _default(server, {}):
        call_command("migrate", verbosity=0)
        call_command("migrate", run_syncdb=True, verbosity=0)  # the tests' own models, which lead to the others


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Make the calls at once, each with a connection of its own; return what they return, or the code of a refusal."""
    start = threading.Barrier(len(calls))

    def make(call: Callable[[], Any]) -> Any:
        connection.ensure_connection()
        start.wait()
        return answer_of(call)

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(make, calls))


def answer_of(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except UploadError as error:
        return error.code
    finally:
        connections.close_all()


@contextlib.contextmanager
def waiting_for_us(call: Callable[[], Any]) -> Iterator[Callable[[], Any]]:
    """Make the call elsewhere, until the database has it wait for what we have locked; yield what gives its answer."""
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(answer_of, call)
        deadline = time.monotonic() + 10
        while not _is_anybody_blocked():
            assert not answer.done(), f"it did not wait: {answer.result()}"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield lambda: answer.result(30)


def _is_anybody_blocked() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(BLOCKED[connection.vendor])
        return bool(cursor.fetchone()[0])
