"""Answers whose bytes come from a storage, as WSGI and ASGI want them."""

from __future__ import annotations

from django.http import FileResponse
from django.http.response import HttpResponseBase

from storages.private.models import PrivateFile


def stream(private_file: PrivateFile) -> HttpResponseBase:
    """Return the answer to ``private_file.request``. Raises FileNotFoundError."""
    return FileResponse(private_file.open())
