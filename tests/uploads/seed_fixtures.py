"""What the tests of the package that is replaced share."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from storages.uploads.testing.fixtures import create_file, fake_s3, make_dirs

__all__ = ["create_file", "fake_s3", "make_dirs", "other", "people", "somebody"]

BACKEND = "storages.uploads.testing.storage.FakeS3Storage"
STATIC = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}


class Browser(Client):
    """Somebody who is logged in, and does what the widget's script does."""

    def sign(self, key: str, **said: str) -> Any:
        return self.post("/s3/signed-url/", json.dumps({"key": key, **said}), content_type="application/json")

    def send(self, form: dict[str, Any], content: bytes, **changes: Any) -> Any:
        fields = {**form["fields"], **changes}
        return self.post(form["url"], {**fields, "file": SimpleUploadedFile("x", content)})

    def upload(self, key: str, content: bytes = b"some text", **said: str) -> str:
        form = self.sign(key, **said).json()
        assert self.send(form, content).status_code == 204
        return form["url"] + form["fields"]["key"]


@pytest.fixture
def people(db: None, fake_s3: Any, settings: Any) -> Any:
    """Return a function that makes users, in a project of django-buckets with the fake storage as the default."""
    settings.ROOT_URLCONF = "tests.uploads.seed_site.urls"
    settings.STORAGES = {"default": {"BACKEND": BACKEND}, "staticfiles": STATIC}

    def make(name: str) -> Browser:
        browser = Browser()
        browser.force_login(User.objects.create_user(name))
        return browser

    return make


@pytest.fixture
def somebody(people: Any) -> Browser:
    return people("somebody")


@pytest.fixture
def other(people: Any) -> Browser:
    return people("other")
