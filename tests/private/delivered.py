"""A project whose files are delivered in every way: URLs, a view, storages, and a client that changes nothing."""

from __future__ import annotations

import http.client
from email.message import Message
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from django.core.files.storage import storages
from django.http import Http404
from django.urls import re_path

from storages.backends.s3 import S3Storage
from storages.private import servers
from storages.private.storage import PrivateFileSystemStorage, PrivateStorageMixin
from storages.private.views import PrivateStorageView


class DiskStorage(PrivateFileSystemStorage):
    """A disk whose files are below another directory than the first one's."""


class CloudStorage(PrivateStorageMixin, S3Storage):
    """A bucket."""


class EachView(PrivateStorageView):
    """/server/storage/name; what is below denied/ is nobody's."""

    def setup(self, request: Any, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        self.server_class = kwargs["server"]
        if kwargs["alias"] not in storages.backends:
            raise Http404
        self.storage = storages[kwargs["alias"]]

    def can_access_file(self, private_file: Any) -> bool:
        return not private_file.relative_name.startswith("denied/")


_SERVERS = "|".join(servers.SERVERS)
urlpatterns = [re_path(rf"^(?P<server>{_SERVERS})/(?P<alias>\w+)/(?P<path>.*)$", EachView.as_view())]


class Answer(NamedTuple):
    status: int
    headers: Message
    body: bytes


def ask(url: str, method: str = "GET", **headers: str) -> Answer:
    """Send one request to the letter, and follow nothing; in names of headers, an underscore is a hyphen."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        target = url.partition(parts.netloc)[2]
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def below(start: str, server: str, alias: str, name: str) -> str:
    """Return the URL of a name, quoted as browsers do it."""
    return f"{start}/{server}/{alias}/{quote(name)}"
