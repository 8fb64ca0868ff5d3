"""Who asks where no session tells: clients of an API, by the authenticators of UPLOADS_AUTHENTICATION."""

from __future__ import annotations

import inspect
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from storages.uploads import settings
from storages.uploads.errors import UploadError
from storages.uploads.permissions import resolved
from storages.visitors import active_user

NAME = "UPLOADS_AUTHENTICATION"


def identify(request: HttpRequest) -> bool:
    """Set the user whom the first of the authenticators knows; whether that needs no CSRF token.

    ``request.auth`` is what REST framework has beside the user. Raises UploadError not_authenticated,
    permission_denied for credentials that one of them refuses.
    """
    for authenticator in settings.get(NAME):
        try:
            found = _asked(resolved(authenticator, NAME), request)
        except PermissionDenied as error:
            raise UploadError("permission_denied", "You may not upload this file.") from error
        if found is not None:
            request.user, request.auth = found  # type: ignore[attr-defined]
            return active_user(request) is not None and not _may_be_of_a_browser(request)
    return False


def _asked(authenticator: Any, request: HttpRequest) -> tuple[Any, Any] | None:
    if inspect.isclass(authenticator):
        authenticator = authenticator()
    if hasattr(authenticator, "authenticate"):
        return _of_rest_framework(authenticator, request)
    user = authenticator(request)
    return None if user is None else (user, None)


def _of_rest_framework(authenticator: Any, request: HttpRequest) -> tuple[Any, Any] | None:
    from rest_framework import exceptions  # type: ignore[import-untyped]
    from rest_framework.request import Request  # type: ignore[import-untyped]

    try:
        found: tuple[Any, Any] | None = authenticator.authenticate(Request(request))
    except (exceptions.AuthenticationFailed, exceptions.NotAuthenticated) as error:
        raise UploadError("not_authenticated", str(error.detail)) from error
    except exceptions.PermissionDenied as error:
        raise UploadError("permission_denied", str(error.detail)) from error
    return found


def _may_be_of_a_browser(request: HttpRequest) -> bool:
    """Whether a browser may have sent by itself what the user is known by, so that another site can have asked it to.

    A cookie it does send. Credentials of its own in Authorization too, but then no JSON from another site.
    """
    if django_settings.SESSION_COOKIE_NAME in request.COOKIES:
        return True
    return bool(request.COOKIES) and "Authorization" not in request.headers
