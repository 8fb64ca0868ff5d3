"""The terms of an upload that somebody else makes, looked at before anything is signed or sent."""

from __future__ import annotations

import re

from storages.contract import UploadLimits, UploadTerms

SINGLE_KINDS = frozenset({"post", "put", "link"})  # one request
PART_KINDS = frozenset({"multipart", "resumable", "blocks"})  # begun, sent in pieces, and closed by the server

# A type and its parameters, in what an HTTP header can hold.
_CONTENT_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:;[\x20-\x7e]*)?")
_LONGEST_CONTENT_TYPE = 255  # characters
# Also of an app's own pages, capacitor://localhost, and of hosts that are none to DNS.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[0-9A-Za-z._:\[\]-]+")
_SHA256 = re.compile(r"[0-9A-Za-z+/]{42}[AEIMQUYcgkosw048]=")


def check_terms(terms: UploadTerms, limits: UploadLimits, *, in_parts: bool, longest: int | None = None) -> None:
    """Raise ValueError for terms that say nothing sound, or that the service's limits do not allow.

    ``longest`` is the longest life of a signature in seconds.
    """
    if type(terms.size) is not int or terms.size < (1 if in_parts else 0):
        raise ValueError(f"the size of an upload is a number of bytes, not {terms.size!r}")
    if limits.largest is not None and terms.size > limits.largest:
        raise ValueError(f"an upload of this kind has at most {limits.largest} bytes, not {terms.size}")
    if type(terms.seconds) is not int or terms.seconds < 1 or (longest and terms.seconds > longest):
        raise ValueError(f"a signature lives from 1 to {longest or 'any number of'} seconds, not {terms.seconds!r}")
    content_type = terms.content_type
    if len(content_type) > _LONGEST_CONTENT_TYPE or not _CONTENT_TYPE.fullmatch(content_type):
        raise ValueError(f"{content_type!r} is no content type")
    if terms.origin and not _ORIGIN.fullmatch(terms.origin):
        raise ValueError(f"{terms.origin!r} is no origin; it goes like https://example.com")
    check_checksum(terms.checksum)
    if in_parts:
        _check_parts(terms, limits)
    elif terms.part_size:
        raise ValueError("an upload of one request has no part_size")


def check_checksum(checksum: str) -> None:
    """Raise ValueError for what is neither empty nor a SHA-256 in base64."""
    if checksum and not _SHA256.fullmatch(checksum):
        raise ValueError("a checksum is a SHA-256 in base64, of 44 characters")


def _check_parts(terms: UploadTerms, limits: UploadLimits) -> None:
    size = terms.part_size
    if type(size) is not int or size < 1:
        raise ValueError(f"the size of a part is a number of bytes, not {size!r}")
    if terms.parts > 1 and (size < limits.smallest_part or size % limits.part_multiple):
        of = f", and a multiple of {limits.part_multiple}" if limits.part_multiple > 1 else ""
        raise ValueError(f"a part has at least {limits.smallest_part} bytes{of}, not {size}")
    if limits.largest_part is not None and min(size, terms.size) > limits.largest_part:
        raise ValueError(f"a part has at most {limits.largest_part} bytes, not {size}")
    if limits.most_parts is not None and terms.parts > limits.most_parts:
        raise ValueError(f"there are at most {limits.most_parts} parts, not {terms.parts}; make them larger")
