"""Upload policies as S3 has them: signed for a form, and looked at when the form comes."""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

SALT = "storages.uploads.testing"
ALGORITHM = "AWS4-HMAC-SHA256"
ACCESS_KEY = "FAKE"
REGION = "local"

# Form fields that need no condition in the policy.
_FREE = frozenset({"policy", "x-amz-signature", "file"})


class Refusal(Exception):
    """What S3 answers to a form that it does not take: a status, a code and details for the XML."""

    def __init__(self, status: int, code: str, message: str, **details: object):
        super().__init__(code, message)
        self.status, self.code, self.message, self.details = status, code, message, details


def sign(fields: Mapping[str, str], smallest: int, largest: int, seconds: int) -> dict[str, str]:
    """Return the fields of a form that has all of ``fields``, exactly, and a file of so many bytes."""
    now = timezone.now().astimezone(datetime.timezone.utc)
    day = now.strftime("%Y%m%d")
    said = {
        **fields,
        "x-amz-algorithm": ALGORITHM,
        "x-amz-credential": f"{ACCESS_KEY}/{day}/{REGION}/s3/aws4_request",
        "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
    }
    conditions: list[Any] = [{name: value} for name, value in said.items()]
    conditions.append(["content-length-range", smallest, largest])
    expiration = (now + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    document = json.dumps({"expiration": expiration, "conditions": conditions})
    policy = base64.b64encode(document.encode()).decode()
    return {**said, "policy": policy, "x-amz-signature": _signature(policy, day)}


def check(fields: Mapping[str, str], size: int) -> None:
    """Refuse a form that is not exactly as it was signed. Raises Refusal."""
    names = {name.lower(): value for name, value in fields.items()}
    if len(names) != len(fields):
        raise Refusal(400, "InvalidArgument", "A field comes twice")
    for name in ("key", "policy", "x-amz-signature", "x-amz-credential", "x-amz-algorithm"):
        if not names.get(name):
            raise Refusal(403, "AccessDenied", f"The form has no field {name}")
    credential = names["x-amz-credential"].split("/")
    day = credential[1] if len(credential) == 5 else ""
    if not constant_time_compare(names["x-amz-signature"], _signature(names["policy"], day)):
        raise Refusal(403, "SignatureDoesNotMatch", "The signature is not that of this policy")
    policy = _read(names["policy"])
    if datetime.datetime.fromisoformat(policy["expiration"].replace("Z", "+00:00")) <= timezone.now().astimezone(
        datetime.timezone.utc
    ):
        raise Refusal(403, "AccessDenied", "Invalid according to Policy: Policy expired.")
    _check_conditions(policy["conditions"], names, size)


def _check_conditions(conditions: list[Any], names: Mapping[str, str], size: int) -> None:
    covered = set(_FREE)
    for condition in conditions:
        if isinstance(condition, dict):
            ((name, value),) = condition.items()
            covered.add(name.lower())
            if names.get(name.lower()) != value:
                raise Refusal(403, "AccessDenied", f'Invalid according to Policy: ["eq", "${name}"]')
        else:
            _check_size(condition, size)
    if extra := sorted(names.keys() - covered):
        raise Refusal(403, "AccessDenied", f"Invalid according to Policy: Extra input fields: {', '.join(extra)}")


def _check_size(condition: list[Any], size: int) -> None:
    _, smallest, largest = condition
    if size > largest:
        message = "Your proposed upload exceeds the maximum allowed size"
        raise Refusal(400, "EntityTooLarge", message, ProposedSize=size, MaxSizeAllowed=largest)
    if size < smallest:
        message = "Your proposed upload is smaller than the minimum allowed size"
        raise Refusal(400, "EntityTooSmall", message, ProposedSize=size, MinSizeAllowed=smallest)


def _read(policy: str) -> dict[str, Any]:
    try:
        return dict(json.loads(base64.b64decode(policy, validate=True)))
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, "InvalidPolicyDocument", "The policy cannot be read") from error


def _signature(policy: str, day: str) -> str:
    key = salted_hmac(SALT, "secret key", secret=settings.SECRET_KEY, algorithm="sha256").digest()
    for part in (day, REGION, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, policy.encode(), hashlib.sha256).hexdigest()
