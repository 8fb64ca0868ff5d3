"""Who uploads: a user who is logged in, or else one session."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.conf import settings as django_settings
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare, salted_hmac

SALT = "storages.uploads.session"


class Audience(NamedTuple):
    """For whom a token is; one of the two is empty."""

    user: str  # primary key
    session: str  # a salted hash

    @property
    def rows(self) -> dict[str, str]:
        """What the rows of this audience have, as arguments of filter()."""
        return {"user_id": self.user} if self.user else {"session": self.session}


def active_user(request: HttpRequest) -> Any:
    """Return the user who asks, or None: not logged in, no longer active, or no such thing in this project."""
    user = getattr(request, "user", None)
    return user if user is not None and user.is_authenticated and user.is_active else None


def of(request: HttpRequest) -> Audience:
    """Return who asks; the session of somebody who is not logged in is begun if there is none.

    Raises ValueError where there are no sessions either.
    """
    user = active_user(request)
    if user is not None:
        return Audience(user._meta.pk.value_to_string(user), "")
    session = getattr(request, "session", None)
    if session is None:
        raise ValueError("Nobody is logged in, and there is no session: add SessionMiddleware to MIDDLEWARE")
    session.get("")  # loads it: until then the key is only what the client says
    if not session.session_key:
        session.create()
    return Audience("", _hash(session.session_key, django_settings.SECRET_KEY))


def is_it(request: HttpRequest, user: str, session: str) -> bool:
    """Whether it is for the one who asks: the user, or without one the session, which has to live."""
    asking = active_user(request)
    if user:
        return asking is not None and constant_time_compare(asking._meta.pk.value_to_string(asking), user)
    if asking is not None or not session:
        return False
    own = getattr(request, "session", None)
    if own is None:
        return False
    own.get("")
    secrets = [django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS]
    key = own.session_key
    return bool(key) and any(constant_time_compare(_hash(key, secret), session) for secret in secrets)


def _hash(key: str, secret: str | bytes) -> str:
    return salted_hmac(SALT, key, secret=secret, algorithm="sha256").hexdigest()
