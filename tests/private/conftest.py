"""What the tests of storages.private share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.files.base import ContentFile
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest
from django.test import RequestFactory

from tests.private import models
from tests.private.models import CountingStorage

PEOPLE = {
    "anonymous": AnonymousUser(),
    "user": User(pk=7, username="user"),
    "staff": User(pk=8, username="staff", is_staff=True),
    "superuser": User(pk=9, username="superuser", is_superuser=True),
    "former superuser": User(pk=10, username="former", is_superuser=True, is_staff=True, is_active=False),
}


@pytest.fixture(autouse=True)
def _no_end_of_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Close an answer in a test without a database: its connection, which an earlier test made, is left alone."""
    monkeypatch.setattr(BaseDatabaseWrapper, "close_if_unusable_or_obsolete", lambda self: None)


@pytest.fixture
def memory() -> Iterator[CountingStorage]:
    """The storage behind the tests' URLs, with two files and nothing counted."""
    models.memory.client.clear()
    models.memory.save("a.txt", ContentFile(b"the file"))
    models.memory.save("drawer/b.txt", ContentFile(b"another"))
    models.memory.calls.clear()
    yield models.memory
    models.memory.client.clear()


@pytest.fixture
def request_of() -> Callable[..., HttpRequest]:
    """Make a request as one of PEOPLE."""

    def make(person: str = "superuser", method: str = "GET", path: str = "/", **headers: str) -> Any:
        request = RequestFactory().generic(method, path, headers=headers)
        request.user = PEOPLE[person]
        return request

    return make
