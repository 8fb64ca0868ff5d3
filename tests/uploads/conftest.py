"""What the tests of storages.uploads share: a client that speaks the protocol, and people."""

from __future__ import annotations

import base64
import datetime
import hashlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from storages.uploads.models import Upload
from tests.uploads import models
from tests.uploads.form_models import nameless, paper
from tests.uploads.kinds import KINDS, KindStorage

ALL = [*KINDS, "tus"]
FIELD = "tests_uploads.Clip.file"


@pytest.fixture
def cloud(settings: Any) -> Iterator[KindStorage]:
    """The storage of the tests' models, empty, undisturbed and with nothing counted."""
    settings.ROOT_URLCONF = "tests.uploads.urls"
    models.cloud.kinds = dict(KINDS)
    for kept in (models.cloud.client, models.cloud.opened, models.cloud.calls, models.cloud.failing):
        kept.clear()
    yield models.cloud
    models.cloud.client.clear()


@pytest.fixture
def anna(db: None) -> User:
    return User.objects.create_user("anna")


@pytest.fixture
def ben(db: None) -> User:
    return User.objects.create_user("ben")


class Browser:
    """A client of the protocol, with somebody logged in."""

    def __init__(self, user: User | None = None, **options: Any):
        self.http = Client(**options)
        if user is not None:
            self.http.force_login(user)

    def call(self, what: str, said: Any, **headers: str) -> Any:
        """Post ``said`` and return the response."""
        return self.http.post(f"/uploads/{what}/", said, content_type="application/json", headers=headers)

    def slot(self, field: str = FIELD) -> str:
        return self.ok("slot", {"field": field})["slot"]

    def ok(self, what: str, said: Any) -> Any:
        """Post ``said``, and return the answer's JSON; it has to be a success."""
        response = self.call(what, said)
        assert response.status_code in (200, 201, 202, 204), (response.status_code, response.content)
        return response.json() if response.content else None

    def begin(self, body: bytes = b"the file", field: str = FIELD, accepts: Any = ALL, **said: Any) -> Any:
        """Return the response to begin for ``body``."""
        told = {"filename": "a.txt", "size": len(body), "content_type": "text/plain", "accepts": accepts, **said}
        if "slot" not in told:
            told["slot"] = self.slot(field)
        return self.call("begin", {key: value for key, value in told.items() if value is not None})

    def begun(self, *args: Any, **said: Any) -> Any:
        response = self.begin(*args, **said)
        assert response.status_code == 201, response.content
        return response.json()

    def send(self, begun: Any, body: bytes, **headers: Any) -> None:
        """Send the bytes as begin told."""
        if begun["kind"] == "tus":
            request = begun["request"]
            told = {**request["headers"], "Upload-Offset": "0", **headers}
            kind = told.pop("Content-Type")
            response = self.http.patch(request["url"], body, content_type=kind, headers=told)
            assert response.status_code == 204, response.content
            return
        if "parts" not in begun:
            models.cloud.send(begun["request"], body, **headers)
            return
        size, count = begun["parts"]["size"], begun["parts"]["count"]
        numbers = [1] if begun["kind"] == "resumable" else list(range(1, count + 1))
        for part in self.ok("parts", {"upload": begun["upload"], "numbers": numbers})["parts"]:
            piece = body if begun["kind"] == "resumable" else body[(part["number"] - 1) * size : part["number"] * size]
            models.cloud.send(part, piece, **headers)

    def upload(self, body: bytes = b"the file", **said: Any) -> Any:
        """Upload ``body`` and return the answer of finish."""
        begun = self.begun(body, **said)
        self.send(begun, body)
        return self.ok("finish", {"upload": begun["upload"]})


@pytest.fixture
def form_storages() -> Iterator[None]:
    """What the models of forms store is gone after the test."""
    yield
    paper.client.clear()
    nameless.client.clear()


@pytest.fixture
def browser(anna: User, cloud: KindStorage) -> Browser:
    """Anna's browser."""
    return Browser(anna)


def code_of(response: Any) -> tuple[int, str]:
    """Return the status and the code of a refusal, whose other parts are as the protocol has them."""
    error = response.json()["error"]
    assert error.keys() == {"code", "detail", "field", "retryable"}
    assert response["Cache-Control"] == "no-store"
    return response.status_code, error["code"]


def sha256(body: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": base64.b64encode(hashlib.sha256(body).digest()).decode()}


def row_of(begun: Any) -> Upload:
    """Return the row of what begin or finish answered."""
    from storages.uploads import tokens

    said = tokens.read_upload(begun["upload"]) if "upload" in begun else tokens.read_file(begun["token"])
    assert said is not None
    return Upload.objects.get(pk=said.row)


class Clock:
    """The time of this process, which tests put forward."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._time, self._now = time.time, timezone.now

    def time(self) -> float:
        return self._time() + self.seconds

    def now(self) -> datetime.datetime:
        return self._now() + datetime.timedelta(seconds=self.seconds)

    def forward(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock.time)
    monkeypatch.setattr(timezone, "now", clock.now)
    return clock


@pytest.fixture
def file_database(transactional_db: None, django_db_blocker: Any, tmp_path: Any, monkeypatch: Any) -> Iterator[None]:
    """A database in a file, which threads share as they do a server."""
    from django.core.management import call_command
    from django.db import connections

    before = connections["default"]
    new = {**before.settings_dict, "NAME": str(tmp_path / "db.sqlite3"), "OPTIONS": {"timeout": 30}}
    old = dict(connections.settings["default"])
    connections.settings["default"].update(new)
    del connections["default"]
    call_command("migrate", run_syncdb=True, verbosity=0)
    yield
    connections["default"].close()
    connections.settings["default"].clear()
    connections.settings["default"].update(old)
    connections["default"] = before
