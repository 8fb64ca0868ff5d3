"""What a client may say; a key that is not here is refused, and nothing of the storage is ever the client's to say."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, NamedTuple

from storages import sniffing
from storages.sniffing import OCTETS, essence
from storages.uploads import naming
from storages.uploads.errors import UploadError

MOST_NUMBERS = 100  # parts of one call
MOST_ACCEPTS = 16
LARGEST = 2**53 - 1  # bytes; what a browser can say, and what a thousand of have a sum that a database holds

_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}")
_KIND = re.compile(r"[a-z]{1,16}")


class Begin(NamedTuple):
    slot: str
    filename: str  # as it is kept
    size: int
    content_type: str  # by its one name, without parameters
    checksum: str  # SHA-256 in base64, or nothing
    accepts: tuple[str, ...]
    part_checksums: bool  # whether the client can give one with every part


class Parts(NamedTuple):
    upload: str
    numbers: tuple[int, ...]
    checksums: dict[int, str]


def begin(data: object) -> Begin:
    """Read what begin is told. Raises UploadError bad_request, bad_filename, slot_invalid."""
    said = _object(data, "slot filename size content_type checksum accepts part_checksums")
    if not said.get("slot"):
        raise UploadError("slot_invalid", "There is no slot token.", field="slot")
    filename = naming.original(_text(said, "filename", longest=4096))
    return Begin(
        slot=_text(said, "slot"),
        filename=filename,
        size=_whole(said.get("size"), "size", 0, LARGEST),
        content_type=_type(said, filename),
        checksum=_checksum(said.get("checksum")),
        accepts=_accepts(said.get("accepts")),
        part_checksums=_truth(said, "part_checksums"),
    )


def parts(data: object) -> Parts:
    """Read what parts is told. Raises UploadError bad_request."""
    said = _object(data, "upload numbers checksums")
    numbers = said.get("numbers")
    if not isinstance(numbers, list) or not 1 <= len(numbers) <= MOST_NUMBERS:
        raise _bad("numbers", f"numbers is a list of 1 to {MOST_NUMBERS} numbers of parts.")
    wanted = tuple(dict.fromkeys(_whole(number, "numbers", 1, LARGEST) for number in numbers))
    given = said.get("checksums") or {}
    if not isinstance(given, dict) or given.keys() - {str(number) for number in wanted}:
        raise _bad("checksums", "checksums is an object of some of the numbers and their SHA-256 digests.")
    checksums = {number: _sha256(given[str(number)], "checksums") for number in wanted if str(number) in given}
    return Parts(_text(said, "upload"), wanted, checksums)


def upload(data: object) -> str:
    """Read what status, finish and abort are told: an upload token. Raises UploadError bad_request."""
    return _text(_object(data, "upload"), "upload")


def field(data: object) -> str:
    """Read what slot is told: the name of a field. Raises UploadError bad_request."""
    return _text(_object(data, "field"), "field", longest=255)


def _object(data: object, keys: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise _bad(None, "The body is not a JSON object.")
    for key in data:
        if key not in keys.split():
            raise _bad(str(key)[:64], "There is no such key in this request.")
    return data


def _text(said: dict[str, Any], key: str, longest: int = 4096) -> str:
    value = said.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise _bad(key, f"{key} is a text of up to {longest} characters.")
    return value


def _truth(said: dict[str, Any], key: str) -> bool:
    value = said.get(key, False)
    if not isinstance(value, bool):
        raise _bad(key, f"{key} is true or false.")
    return value


def _whole(value: object, key: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _bad(key, f"{key} is a whole number from {least}.")
    return value


def _type(said: dict[str, Any], filename: str) -> str:
    """Return the type; browsers that know none leave it empty, and then the extension tells."""
    given = said.get("content_type", "")
    if not isinstance(given, str) or len(given) > 255:
        raise _bad("content_type", "content_type is a text such as image/png.")
    guess, encoding = sniffing.type_of(filename)
    kind = essence(given or (guess if not encoding else None) or OCTETS)
    if not _TYPE.fullmatch(kind):
        raise _bad("content_type", "content_type is a text such as image/png.")
    return kind


def _checksum(given: object) -> str:
    if given is None:
        return ""
    if not isinstance(given, dict) or set(given) != {"algorithm", "value"} or given["algorithm"] != "sha256":
        raise _bad("checksum", 'checksum is {"algorithm": "sha256", "value": its base64}.')
    return _sha256(given["value"], "checksum")


def _sha256(value: object, key: str) -> str:
    try:
        digest = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != 32:
        raise _bad(key, "A checksum is a SHA-256 in base64, of 44 characters.")
    return base64.b64encode(digest).decode()


def _accepts(given: object) -> tuple[str, ...]:
    if not isinstance(given, list) or len(given) > MOST_ACCEPTS:
        raise _bad("accepts", "accepts is a list of the kinds that the client can send.")
    if not all(isinstance(kind, str) and _KIND.fullmatch(kind) for kind in given):
        raise _bad("accepts", "accepts is a list of the kinds that the client can send.")
    return tuple(given)


def _bad(key: str | None, detail: str) -> UploadError:
    return UploadError("bad_request", detail, field=key)
