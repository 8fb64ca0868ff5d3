"""Who uploads: a user who is logged in, or else one session."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django.http import HttpRequest

from storages import visitors
from storages.visitors import active_user

if TYPE_CHECKING:
    from storages.uploads.models import Upload

SALT = "storages.uploads.session"


class Audience(NamedTuple):
    """For whom a token is; one of the two is empty."""

    user: str  # primary key
    session: str  # a salted hash

    @property
    def rows(self) -> dict[str, str]:
        """What the rows of this audience have, as arguments of filter()."""
        return {"user_id": self.user} if self.user else {"session": self.session}


def of(request: HttpRequest) -> Audience:
    """Return who asks; the session of somebody who is not logged in is begun if there is none.

    Raises ValueError where there are no sessions either.
    """
    user = active_user(request)
    if user is not None:
        return Audience(visitors.user_key(user), "")
    session = getattr(request, "session", None)
    if session is None:
        raise ValueError("Nobody is logged in, and there is no session: add SessionMiddleware to MIDDLEWARE")
    if not visitors.session_key(request):
        session.create()
    return Audience("", visitors.hashed(SALT, session.session_key))


def is_it(request: HttpRequest, user: str, session: str) -> bool:
    """Whether it is for the one who asks: the user, or without one the session, which has to live."""
    if user:
        return visitors.is_user(request, user)
    return bool(session) and active_user(request) is None and visitors.is_session(request, SALT, session)


def has(request: HttpRequest, upload: Upload) -> bool:
    """Whether an upload is of the one who asks."""
    return is_it(request, "" if upload.user_id is None else str(upload.user_id), upload.session)
