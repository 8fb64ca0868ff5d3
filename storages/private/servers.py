"""Deliveries: the ways in which the bytes of a private file reach the client."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from storages.private import responses
from storages.private.models import PrivateFile


class DjangoServer:
    """Stream the file from its storage."""

    @staticmethod
    def serve(private_file: PrivateFile) -> HttpResponseBase:
        """Return the answer. Raises FileNotFoundError before anything is sent."""
        return responses.stream(private_file)


# Setting to class.
SERVERS: dict[str, Any] = {
    "django": DjangoServer,
    "streaming": DjangoServer,
}


def get_server_class(name: str) -> Any:
    """Return the class behind a name of the settings, or a dotted path to one. Raises ImproperlyConfigured."""
    if name in SERVERS:
        return SERVERS[name]
    if "." in name:
        return import_string(name)
    raise ImproperlyConfigured(f"PRIVATE_STORAGE_SERVER is one of {', '.join(SERVERS)} or a dotted path, not {name!r}")
