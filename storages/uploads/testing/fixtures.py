"""Fixtures for pytest: ``from storages.uploads.testing.fixtures import *`` in a conftest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storages.uploads.testing.storage import UPLOADS, FakeS3Storage

__all__ = ["create_file", "fake_s3", "make_dirs"]


@pytest.fixture
def make_dirs(tmp_path: Path, settings: Any) -> Path:
    """Have MEDIA_ROOT in a directory of the test's own, with that of the fake S3; return the latter."""
    settings.MEDIA_ROOT = str(tmp_path)
    directory = tmp_path / UPLOADS
    directory.mkdir(parents=True)
    return directory


@pytest.fixture
def fake_s3(make_dirs: Path, settings: Any) -> FakeS3Storage:
    """Return a fake S3 of the test's own, which answers."""
    settings.UPLOADS_FAKE = True
    return FakeS3Storage()


@pytest.fixture
def create_file(make_dirs: Path) -> Callable[..., Path]:
    """Return a function that puts a file of the name and content into the fake S3, and returns its path."""

    def create(name: str = "file.txt", content: bytes = b"content") -> Path:
        path = make_dirs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return create
