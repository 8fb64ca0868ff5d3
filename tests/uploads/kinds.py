"""A cloud in this process's memory that takes uploads of every kind, checks what was signed, and can be disturbed."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import hashlib
import itertools
import json
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from django.utils import timezone

from storages.backends.memory import MemoryStorage
from storages.contract import (
    Capabilities,
    Enforced,
    PartsMissing,
    Received,
    SignedRequest,
    Stat,
    UploadLimits,
    UploadTerms,
)
from storages.terms import PART_KINDS

KIB = 1024
LIMITS = UploadLimits(smallest_part=4, most_parts=10_000)

# What this cloud refuses by itself. "weak" stands for Azure's write SAS: it looks at nothing, and may be used again.
KINDS: dict[str, Enforced] = {
    "put": Enforced(size="exact", type="signed", checksum="signed", overwrite="denied"),
    "post": Enforced(size="range", type="signed", overwrite="promote"),
    "link": Enforced(overwrite="promote"),
    "multipart": Enforced(size="exact", type="signed", overwrite="denied", limits=LIMITS),
    "resumable": Enforced(size="exact", type="signed", overwrite="denied", limits=UploadLimits(part_multiple=4)),
    "blocks": Enforced(overwrite="promote", limits=LIMITS),
}


class Refused(Exception):
    """The cloud's answer to a client; ``args[0]`` is its status."""


class KindStorage(MemoryStorage):
    """Signs uploads; ``cloud`` is what a client sends them to."""

    capabilities = Capabilities(ranges=True, create_only=True, if_match=True, copy=True, content_type=True)

    def __init__(self, *kinds: str, **options: Any):
        super().__init__(**options)
        self.kinds = {kind: KINDS[kind] for kind in kinds}
        self.opened: dict[str, dict[str, Any]] = {}  # uploads in parts, by their state
        self.calls: list[str] = []
        self.failing: dict[str, BaseException] = {}  # hook to what it raises

    def _upload_kinds(self) -> Mapping[str, Enforced]:
        return self.kinds

    def _presign_upload(self, key: str, kind: str, terms: UploadTerms) -> SignedRequest:
        self._called("presign_upload")
        return _signed(kind, key, terms, terms.size)

    def _open_upload(self, key: str, kind: str, terms: UploadTerms) -> str:
        self._called("open_upload")
        state = f"id-{secrets.token_hex(8)}"
        self.opened[state] = {"key": key, "parts": {}, "type": terms.content_type, "sums": terms.part_checksums}
        return state

    def _presign_part(
        self, key: str, kind: str, state: str, number: int, terms: UploadTerms, checksum: str
    ) -> SignedRequest:
        self._called("presign_part")
        size = terms.size if kind == "resumable" else terms.size_of(number)
        return _signed(kind, key, terms, size, id=state, number=number, checksum=checksum)

    def _received_parts(self, key: str, kind: str, state: str) -> list[Received]:
        self._called("received_parts")
        parts = self._upload(key, state)["parts"]
        return [Received(number, len(parts[number])) for number in sorted(parts)]

    def _close_upload(self, key: str, kind: str, state: str, terms: UploadTerms, checksums: Mapping[int, str]) -> None:
        self._called("close_upload")
        if state not in self.opened and key in self.client and self.client[key][1].size == terms.size:
            return
        upload = self._upload(key, state)
        sizes = {number: len(part) for number, part in upload["parts"].items()}
        expected = {1: terms.size} if kind == "resumable" else {n: terms.size_of(n) for n in range(1, terms.parts + 1)}
        if wrong := [number for number in expected if sizes.get(number) != expected[number]]:
            raise PartsMissing(wrong)
        if upload["sums"] and (wrong := [n for n in expected if checksums.get(n) != _sha256(upload["parts"][n])]):
            raise PartsMissing(wrong)
        if key in self.client and KINDS[kind].overwrite == "denied":
            raise FileExistsError(key)
        body = b"".join(upload["parts"][number] for number in sorted(upload["parts"]))
        self.put(key, body, upload["type"])
        del self.opened[state]

    def _abandon_upload(self, key: str, kind: str, state: str) -> None:
        self._called("abandon_upload")
        for one in [state] if state else [one for one, upload in self.opened.items() if upload["key"] == key]:
            del self.opened[one]

    def _stat(self, key: str) -> Stat:
        self._called("stat")
        return super()._stat(key)

    def _open_range(self, key: str, start: int, end: int | None, if_match: str | None = None) -> Any:
        self._called(f"open_range {start}-{'' if end is None else end}")
        return super()._open_range(key, start, end, if_match)

    def _copy(self, source_key: str, key: str) -> None:
        self._called("copy")
        body, stat = self.client[source_key]
        self.put(key, body, stat.content_type)

    def _delete(self, key: str) -> None:
        self._called("delete")
        super()._delete(key)

    def _upload(self, key: str, state: str) -> dict[str, Any]:
        upload = self.opened[state]
        assert upload["key"] == key
        return upload

    def _called(self, hook: str) -> None:
        self.calls.append(hook)
        if error := self.failing.get(hook.partition(" ")[0]):
            raise error

    # The side that a client sees

    def put(self, key: str, body: bytes, content_type: str | None, encoding: str | None = None) -> None:
        """Store an object without asking."""
        etag = f"etag-{next(_numbers)}"
        self.client[key] = (
            body,
            Stat(
                len(body),
                timezone.now().astimezone(datetime.timezone.utc),
                etag=etag,
                content_type=content_type,
                content_encoding=encoding,
            ),
        )

    def send(self, request: dict[str, Any], body: bytes, **other: Any) -> None:
        """Be sent ``body`` by a client; ``other`` are headers that it has instead of those it was told."""
        grant = json.loads(request["url"].partition("#")[2])
        enforced = KINDS[grant["kind"]]
        if timezone.now().timestamp() >= grant["until"]:
            raise Refused(403, "expired")
        headers = {**request["headers"], **other}
        if enforced.type == "signed" and headers["Content-Type"] != grant["type"]:
            raise Refused(403, "type")
        if grant["kind"] == "resumable":
            self._go_on(grant, body)
            return
        if enforced.size != "finish" and len(body) != grant["size"]:
            raise Refused(400, "size")
        if grant.get("checksum") and grant["checksum"] != _sha256(body):
            raise Refused(400, "checksum")
        if grant["kind"] in PART_KINDS:
            if grant["id"] not in self.opened:
                raise Refused(404, "no such upload")
            self.opened[grant["id"]]["parts"][grant["number"]] = body
            return
        if enforced.overwrite == "denied" and grant["key"] in self.client:
            raise Refused(412, "taken")
        self.put(grant["key"], body, headers.get("Content-Type"), headers.get("Content-Encoding"))

    def _go_on(self, grant: dict[str, Any], body: bytes) -> None:
        if grant["id"] not in self.opened:
            raise Refused(404, "no such upload")
        parts = self.opened[grant["id"]]["parts"]
        whole = parts.get(1, b"") + body
        if len(whole) > grant["size"]:
            raise Refused(400, "size")
        parts[1] = whole


_numbers = itertools.count(1)


def _sha256(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def _signed(kind: str, key: str, terms: UploadTerms, size: int, **more: Any) -> SignedRequest:
    until = timezone.now().timestamp() + terms.seconds
    grant = {"kind": kind, "key": key, "size": size, "type": terms.content_type, "until": until, **more}
    fields = {"key": key, "policy": "signed"} if kind == "post" else {}
    method = "POST" if kind in ("post", "link") else "PUT"
    return SignedRequest(
        method, f"https://cloud.example/#{json.dumps(grant)}", {"Content-Type": terms.content_type}, fields
    )


@contextlib.contextmanager
def with_kinds(storage: KindStorage, *kinds: str, **changes: Any) -> Iterator[KindStorage]:
    """Let ``storage`` offer other kinds for a while, each with some ``changes`` of what it enforces."""
    before = storage.kinds
    storage.kinds = {kind: dataclasses.replace(KINDS[kind], **changes) for kind in kinds}
    try:
        yield storage
    finally:
        storage.kinds = before
