"""Signer of CloudFront URLs: botocore's, with the key parsed once and equal policies signed once."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from storages import process
from storages.optional import OptionalModule

_signers = OptionalModule("botocore.signers", "s3")
_serialization = OptionalModule("cryptography.hazmat.primitives.serialization", "cloudfront")
_hashes = OptionalModule("cryptography.hazmat.primitives.hashes", "cloudfront")
_padding = OptionalModule("cryptography.hazmat.primitives.asymmetric.padding", "cloudfront")
_rsa_keys = OptionalModule("cryptography.hazmat.primitives.asymmetric.rsa", "cloudfront")
_rsa = OptionalModule("rsa", "cloudfront")

# Signatures kept: one for each policy that is opted in, and the canned ones of URLs that stay the same for a window.
_SIGNATURES = 1024


class Signer:
    """A botocore CloudFrontSigner that can be pickled. Raises ImproperlyConfigured, without the key in it."""

    def __init__(self, key_id: str, key: str | bytes):
        self._made_of = (key_id, key)
        self.generate_presigned_url = make_signer(key_id, key).generate_presigned_url

    def __reduce__(self) -> tuple[Any, ...]:
        return signer, self._made_of


def signer(key_id: str, key: str | bytes) -> Signer:
    """Return this process's Signer for a key, which is parsed once."""
    return process.shared(("cloudfront", key_id, key), functools.partial(Signer, key_id, key))


def make_signer(key_id: str, key: str | bytes) -> Any:
    """Return a botocore CloudFrontSigner that signs equal policies once."""
    make = _with_cryptography if _serialization.is_installed() else _with_rsa
    try:
        sign = make(key.encode("ascii") if isinstance(key, str) else key)
    except (ValueError, TypeError):
        # Not chained: the cause may show what it could not read.
        raise ImproperlyConfigured(
            "The CloudFront key ('cloudfront_key', AWS_CLOUDFRONT_KEY) is no unencrypted RSA private key in PEM form"
        ) from None
    return _signers.CloudFrontSigner(key_id, functools.lru_cache(_SIGNATURES)(sign))


def custom_policy(resource: str, expires: int) -> str:
    """Return a policy that opens ``resource``, wildcards and all, until ``expires`` (seconds since the epoch)."""
    statement = {"Resource": resource, "Condition": {"DateLessThan": {"AWS:EpochTime": expires}}}
    return json.dumps({"Statement": [statement]}, separators=(",", ":"))


def expires_at(seconds: int, window: int) -> int:
    """Return the time ``seconds`` from now, rounded up to whole windows so that it is the same within each."""
    expires = int(time.time()) + seconds
    return expires if not window else -(-expires // window) * window


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
