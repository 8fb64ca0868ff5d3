"""Who asks: a user or a session, as tokens and rows of the apps have them, of which a session's opens nothing."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare, salted_hmac


def active_user(request: HttpRequest) -> Any:
    """Return the user who asks, or None: not logged in, no longer active, or no such thing in this project."""
    user = getattr(request, "user", None)
    return user if user is not None and user.is_authenticated and user.is_active else None


def user_key(user: Any) -> str:
    """Return the primary key of a user as text."""
    return str(user._meta.pk.value_to_string(user))


def is_user(request: HttpRequest, key: str) -> bool:
    """Whether an active user with this primary key asks."""
    user = active_user(request)
    return user is not None and constant_time_compare(user_key(user), key)


def session_key(request: HttpRequest) -> str:
    """Return the key of the session, or nothing where there is none that lives."""
    session = getattr(request, "session", None)
    if session is None or not session.session_key:
        return ""
    session.get("")  # loads it: until then the key is only what the client says
    return session.session_key or ""


def is_session(request: HttpRequest, salt: str, said: str) -> bool:
    """Whether ``said``, from hashed(), is the session's, which has to live."""
    key = session_key(request)
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return bool(key) and any(constant_time_compare(_hashed(salt, key, secret), said) for secret in secrets)


def hashed(salt: str, value: str) -> str:
    """Return what can be told of ``value`` to anybody."""
    return _hashed(salt, value, settings.SECRET_KEY)


def _hashed(salt: str, value: str, secret: str | bytes) -> str:
    return salted_hmac(salt, value, secret=secret, algorithm="sha256").hexdigest()
