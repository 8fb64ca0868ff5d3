"""Signer of CloudFront URLs, with the key parsed once and equal policies signed once."""

from __future__ import annotations

import base64
import datetime
import functools
import json
import time
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from storages import process
from storages.optional import OptionalModule

_serialization = OptionalModule("cryptography.hazmat.primitives.serialization", "cloudfront")
_hashes = OptionalModule("cryptography.hazmat.primitives.hashes", "cloudfront")
_padding = OptionalModule("cryptography.hazmat.primitives.asymmetric.padding", "cloudfront")
_rsa_keys = OptionalModule("cryptography.hazmat.primitives.asymmetric.rsa", "cloudfront")
_rsa = OptionalModule("rsa", "cloudfront")

# Signatures kept: one for each policy that is opted in, and the canned ones of URLs that stay the same for a window.
_SIGNATURES = 1024


class Signer:
    """What botocore's CloudFrontSigner is, but it can be pickled and adds nothing to the time that RSA takes.

    Raises ImproperlyConfigured, without the key in it.
    """

    def __init__(self, key_id: str, key: str | bytes):
        self._made_of = (key_id, key)
        self._key_id = key_id
        self._sign = make_signer(key)

    def generate_presigned_url(
        self, url: str, date_less_than: datetime.datetime | None = None, policy: str | bytes | None = None
    ) -> str:
        """Return ``url`` signed with a canned policy until ``date_less_than``, or with a policy of your own."""
        if (date_less_than is None) == (policy is None):
            raise ValueError("give either date_less_than or policy")
        if policy is None:
            expires = int(date_less_than.timestamp())  # type: ignore[union-attr]
            return self._signed(url, f"Expires={expires}", custom_policy(url, expires).encode())
        message = policy.encode() if isinstance(policy, str) else policy
        return self._signed(url, f"Policy={_encoded(message)}", message)

    def _signed(self, url: str, query: str, policy: bytes) -> str:
        mark = "&" if "?" in url else "?"
        return f"{url}{mark}{query}&Signature={_encoded(self._sign(policy))}&Key-Pair-Id={self._key_id}"

    def __reduce__(self) -> tuple[Any, ...]:
        return signer, self._made_of


def signer(key_id: str, key: str | bytes) -> Signer:
    """Return this process's Signer for a key, which is parsed once."""
    return process.shared(("cloudfront", key_id, key), functools.partial(Signer, key_id, key))


def make_signer(key: str | bytes) -> Callable[[bytes], bytes]:
    """Return a function that signs with a PEM private key, equal policies once."""
    make = _with_cryptography if _serialization.is_installed() else _with_rsa
    try:
        sign = make(key.encode("ascii") if isinstance(key, str) else key)
    except (ValueError, TypeError):
        # Not chained: the cause may show what it could not read.
        raise ImproperlyConfigured(
            "The CloudFront key ('cloudfront_key', AWS_CLOUDFRONT_KEY) is no unencrypted RSA private key in PEM form"
        ) from None
    return functools.lru_cache(_SIGNATURES)(sign)


def custom_policy(resource: str, expires: int) -> str:
    """Return a policy that opens ``resource``, wildcards and all, until ``expires`` (seconds since the epoch)."""
    condition = f'{{"DateLessThan":{{"AWS:EpochTime":{expires}}}}}'
    return f'{{"Statement":[{{"Resource":{json.dumps(resource)},"Condition":{condition}}}]}}'


def expires_at(seconds: int, window: int) -> int:
    """Return the time ``seconds`` from now, rounded up to whole windows so that it is the same within each."""
    expires = int(time.time()) + seconds
    return expires if not window else -(-expires // window) * window


def _encoded(message: bytes) -> str:
    # docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-creating-signed-url-canned-policy.html
    return base64.b64encode(message, b"-~").decode().replace("=", "_")


def _with_cryptography(pem: bytes) -> Callable[[bytes], bytes]:
    private_key = _serialization.load_pem_private_key(pem, password=None)
    if not isinstance(private_key, _rsa_keys.RSAPrivateKey):
        raise TypeError("not an RSA key")
    padding, sha1 = _padding.PKCS1v15(), _hashes.SHA1()  # what CloudFront verifies: SHA-1 with RSA, nothing else
    return lambda message: private_key.sign(message, padding, sha1)


def _with_rsa(pem: bytes) -> Callable[[bytes], bytes]:
    _rsa.require("CloudFront signing (or cryptography)")
    private_key = _rsa.PrivateKey.load_pkcs1(pem)
    return lambda message: _rsa.sign(message, private_key, "SHA-1")
