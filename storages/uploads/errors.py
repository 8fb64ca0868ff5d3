"""What is answered to a request of the protocol that cannot be met."""

from __future__ import annotations

from typing import NamedTuple


class Meaning(NamedTuple):
    status: int
    retryable: bool


# The table of the protocol; clients decide by the code.
CODES: dict[str, Meaning] = {
    "bad_request": Meaning(400, False),
    "bad_filename": Meaning(400, False),
    "unknown_field": Meaning(400, False),
    "not_authenticated": Meaning(401, False),
    "permission_denied": Meaning(403, False),
    "csrf_failed": Meaning(403, False),
    "slot_invalid": Meaning(403, False),
    "slot_expired": Meaning(403, False),
    "upload_not_found": Meaning(404, False),
    "method": Meaning(405, False),
    "state_conflict": Meaning(409, True),
    "offset_conflict": Meaning(409, True),
    "key_exists": Meaning(409, False),
    "already_claimed": Meaning(409, False),
    "upload_expired": Meaning(410, False),
    "upload_aborted": Meaning(410, False),
    "length_required": Meaning(411, False),
    "too_large": Meaning(413, False),
    "too_small": Meaning(413, False),
    "json_required": Meaning(415, False),
    "type_not_allowed": Meaning(415, False),
    "size_mismatch": Meaning(422, False),
    "checksum_mismatch": Meaning(422, False),
    "type_mismatch": Meaning(422, False),
    "parts_missing": Meaning(422, True),
    "content_rejected": Meaning(422, False),
    "rate_limited": Meaning(429, True),
    "quota_exceeded": Meaning(429, True),
    "too_many_open": Meaning(429, True),
    "kind_not_supported": Meaning(501, False),
    "storage_error": Meaning(502, True),
    "storage_unavailable": Meaning(503, True),
    "scanner_unavailable": Meaning(503, True),
}


class UploadError(Exception):
    """A refusal, as the protocol words it; ``detail`` is for developers and tells nothing of the storage."""

    def __init__(self, code: str, detail: str = "", *, field: str | None = None, retry_after: int | None = None):
        super().__init__(code, detail)
        self.code, self.detail, self.field, self.retry_after = code, detail, field, retry_after
        self.status, self.retryable = CODES[code]

    def as_json(self) -> dict[str, object]:
        """Return the body of the answer."""
        error = {"code": self.code, "detail": self.detail, "field": self.field, "retryable": self.retryable}
        return {"error": error}
