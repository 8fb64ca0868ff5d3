"""Requests that were signed for somebody else, made as a browser would: by the standard library, knowing nothing."""

from __future__ import annotations

import contextlib
import http.client
import ssl
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from storages.contract import SignedRequest


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]  # whatever the case of a name
    body: bytes


def send(
    request: SignedRequest,
    body: bytes = b"",
    *,
    url: str | None = None,
    method: str | None = None,
    headers: Mapping[str, str | None] | None = None,
    context: ssl.SSLContext | None = None,
) -> Answer:
    """Make the request with ``body``, or another one by what else is given; a header that is None is left out."""
    wanted = {**request.headers, **(headers or {})}
    kept = {name: value for name, value in wanted.items() if value is not None}
    parts = urlsplit(url or request.url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    with contextlib.closing(_connection(parts.scheme, parts.netloc, context)) as connection:
        connection.request(method or request.method, target, body, kept)
        with connection.getresponse() as answer:
            return Answer(answer.status, answer.headers, answer.read())


def break_off(request: SignedRequest, body: bytes, after: int, headers: Mapping[str, str]) -> None:
    """Promise ``body``, send ``after`` bytes of it, and hang up."""
    parts = urlsplit(request.url)
    with contextlib.closing(_connection(parts.scheme, parts.netloc, None)) as connection:
        connection.putrequest(request.method, f"{parts.path}?{parts.query}")
        for name, value in {**request.headers, **headers, "Content-Length": str(len(body))}.items():
            connection.putheader(name, value)
        connection.endheaders()
        connection.send(body[:after])


def _connection(scheme: str, host: str, context: ssl.SSLContext | None) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(host, timeout=20, context=context)
    return http.client.HTTPConnection(host, timeout=20)
