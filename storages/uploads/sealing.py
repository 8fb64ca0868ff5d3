"""Secrets in the database: the URL of a resumable upload opens it to whoever has it, for a week."""

from __future__ import annotations

import base64
from importlib.util import find_spec
from typing import Any

from django.conf import settings as django_settings
from django.utils.encoding import force_bytes

INFO = b"storages.uploads.secret"  # no other key is made of SECRET_KEY with this

# Of other kinds the state is an id, which without the storage's own credentials opens nothing.
SECRET_KINDS = frozenset({"resumable"})


def is_possible() -> bool:
    """Whether there is what encrypts; Google's libraries bring it."""
    return find_spec("cryptography") is not None


def seal(kind: str, state: str) -> str:
    """Return ``state`` as the database may have it."""
    return _fernet().encrypt(state.encode()).decode() if kind in SECRET_KINDS else state


def unseal(kind: str, sealed: str) -> str:
    """Return what was sealed, also under a key of SECRET_KEY_FALLBACKS. Raises ValueError."""
    if kind not in SECRET_KINDS:
        return sealed
    from cryptography.fernet import InvalidToken

    try:
        return _fernet().decrypt(sealed.encode()).decode()
    except InvalidToken as error:
        raise ValueError("The state of an upload was sealed with a SECRET_KEY that is gone") from error


def _fernet() -> Any:
    from cryptography.fernet import Fernet, MultiFernet

    secrets = [django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([Fernet(_key(force_bytes(secret))) for secret in secrets])


def _key(secret: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return base64.urlsafe_b64encode(HKDF(SHA256(), 32, salt=None, info=INFO).derive(secret))
