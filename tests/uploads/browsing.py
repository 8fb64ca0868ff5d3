"""What a browser sends for a grant, byte by byte, so that a test can also send something else."""

from __future__ import annotations

import base64
import hashlib
import http.client
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from storages.contract import SignedRequest

_BOUNDARY = "----WebKitFormBoundaryU5xQ"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def refused(self) -> bool:
        return 400 <= self.status < 500


@dataclass(frozen=True)
class Sending:
    """One request, before it is sent; ``but()`` returns a changed one."""

    method: str
    url: str
    body: bytes
    headers: dict[str, str | None] = field(default_factory=dict)
    fields: dict[str, str | None] = field(default_factory=dict)
    file_field: str = "file"

    def but(self, **changes: Any) -> Sending:
        """Return the request with other attributes; ``headers`` and ``fields`` are merged, None removes one."""
        for name in ("headers", "fields"):
            changes[name] = {**getattr(self, name), **changes.get(name, {})}
        return replace(self, **changes)

    def query(self, **changes: str | None) -> Sending:
        """Return the request with other parameters in its query, whose names have _ for -; None removes one."""
        parts = urlsplit(self.url)
        pairs = dict(parse_qsl(parts.query, keep_blank_values=True))
        pairs.update({name.replace("_", "-"): value for name, value in changes.items()})
        text = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in pairs.items() if value is not None)
        return replace(self, url=parts._replace(query=text).geturl())

    def parameter(self, name: str) -> str:
        return dict(parse_qsl(urlsplit(self.url).query))[name]

    def at(self, old: str, new: str) -> Sending:
        """Return the request with another path."""
        parts = urlsplit(self.url)
        assert old in parts.path
        return replace(self, url=parts._replace(path=parts.path.replace(old, new)).geturl())

    def send(self) -> Answer:
        headers = {name: value for name, value in self.headers.items() if value is not None}
        body = self.body
        if self.fields:
            body = self._form()
            headers["Content-Type"] = f"multipart/form-data; boundary={_BOUNDARY}"
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=20)
        try:
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request(self.method, target, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        except (BrokenPipeError, ConnectionResetError):  # refused before all was sent
            return Answer(400, {}, b"")
        finally:
            connection.close()

    def _form(self) -> bytes:
        lines = [
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in self.fields.items()
            if value is not None
        ]
        # The type of the file is what the browser thinks, which nobody may rely on.
        file = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{self.file_field}"; filename="a.html"\r\n'
        head = "".join([*lines, file, "Content-Type: text/html\r\n\r\n"])
        return head.encode() + self.body + f"\r\n--{_BOUNDARY}--\r\n".encode()


def sending(grant: SignedRequest, body: bytes) -> Sending:
    """Return what a browser sends with ``body`` for ``grant``."""
    return Sending(grant.method, grant.url, body, dict(grant.headers), dict(grant.fields), grant.file_field)


def sha256(content: bytes) -> str:
    """Return a checksum as the protocol has it."""
    return base64.b64encode(hashlib.sha256(content).digest()).decode()
