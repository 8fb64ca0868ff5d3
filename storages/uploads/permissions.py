"""Who may upload: callables that are given the request and the field, for the setting and for fields."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import HttpRequest
from django.utils.module_loading import import_string

from storages.uploads import settings
from storages.uploads.errors import UploadError
from storages.visitors import active_user

# A callable of request and field, sync or async; a dotted path to one; or None, which denies.
Policy = Callable[[HttpRequest, Any], Any] | str | None


def allow_authenticated(request: HttpRequest, field: Any) -> bool:
    """Whether an active user asks; the default."""
    return active_user(request) is not None


def allow_staff(request: HttpRequest, field: Any) -> bool:
    """Whether an active member of the staff asks."""
    user = active_user(request)
    return bool(user and user.is_staff)


def allow_superuser(request: HttpRequest, field: Any) -> bool:
    """Whether an active superuser asks."""
    user = active_user(request)
    return bool(user and user.is_superuser)


def allow_editors(request: HttpRequest, field: Any) -> bool:
    """Whether the user may add or change objects of the field's model, as Django's permissions say."""
    user = active_user(request)
    if user is None:
        return False
    meta = field.model._meta
    return any(user.has_perm(f"{meta.app_label}.{verb}_{meta.model_name}") for verb in ("add", "change"))


def allow_anybody(request: HttpRequest, field: Any) -> bool:
    """Let everybody upload, who then is known by the session; think of UPLOADS_RATE, UPLOADS_QUOTA."""
    return True


def check(request: HttpRequest, field: Any) -> None:
    """Refuse who may not upload to ``field``. Raises UploadError not_authenticated, permission_denied."""
    policy = field.permission if field.permission is not None else settings.get("UPLOADS_PERMISSION")
    if ask(policy, request, field):
        return
    if active_user(request) is None:
        raise UploadError("not_authenticated", "Log in to upload files.")
    raise UploadError("permission_denied", "You may not upload this file.")


def ask(policy: Policy, request: HttpRequest, field: Any) -> bool:
    """Return what ``policy`` says; PermissionDenied is a no.

    Raises ImproperlyConfigured for a path that leads nowhere, and for an answer that is itself to be called.
    """
    called = resolved(policy, "UPLOADS_PERMISSION")
    if called is None:
        return False
    try:
        answer = called(request, field)
        if inspect.isawaitable(answer):  # true as it stands
            answer = async_to_sync(_awaited)(answer)
    except PermissionDenied:
        return False
    if callable(answer):
        raise ImproperlyConfigured(f"{policy!r} answered {answer!r} and not yes or no; it has to be called first")
    return bool(answer)


def resolved(hook: Any, setting: str) -> Any:
    """Return what a dotted path names, anything else as it is. Raises ImproperlyConfigured."""
    if not isinstance(hook, str):
        return hook
    try:
        return import_string(hook)
    except ImportError as error:
        raise ImproperlyConfigured(f"There is no {hook!r}, which {setting} or a field names") from error


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer
