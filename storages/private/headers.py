"""Headers that every answer with a private file has, whichever way it is delivered."""

from __future__ import annotations

from django.http.response import HttpResponseBase

from storages.private.models import PrivateFile


def protect(response: HttpResponseBase, private_file: PrivateFile) -> None:
    """Give ``response`` the headers that keep a private file private, and harmless."""
