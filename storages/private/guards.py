"""Ask the view that guards a file whether a link to it may be used."""

from __future__ import annotations

import dataclasses
from typing import Any
from urllib.parse import unquote

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import NoReverseMatch, Resolver404, get_script_prefix, resolve, reverse

from storages.private.models import PrivateFile
from storages.private.views import PrivateStorageView


class NoGuardError(ValueError):
    """There is no such view, or it guards no files."""


@dataclasses.dataclass(frozen=True)
class Guard:
    """A view by its URL name and the arguments in its URL; the default asks PRIVATE_STORAGE_AUTH_FUNCTION."""

    view: str | None = None
    kwargs: dict[str, str] | None = None


def guard_of(private_file: PrivateFile, view: str | None, kwargs: dict[str, Any] | None) -> Guard:
    """Return the guard that is named; else the view that handles the request, if it is one. Raises NoGuardError."""
    if view is None:
        match = getattr(private_file.request, "resolver_match", None)
        if match is not None and _is_guard(match.func):
            view, kwargs = match.view_name, match.captured_kwargs
        elif private_file.parent_object is not None or kwargs is not None:
            raise NoGuardError("Name the view whose permission is asked when the link is used: view=, kwargs=")
        else:
            return Guard()
    if kwargs is None:
        kwargs = {"path": private_file.relative_name}
    guard = Guard(view, {name: str(value) for name, value in kwargs.items()})
    _match(guard)
    return guard


def set_up(guard: Guard, request: HttpRequest, storage: Any, name: str) -> PrivateStorageView:
    """Return the view of ``guard``, ready for ``request``. Raises NoGuardError."""
    if guard.view is None:
        view = PrivateStorageView(storage=storage)
        view.setup(request, path=name)
        return view
    match = _match(guard)
    view = match.func.view_class(**match.func.view_initkwargs)
    request.resolver_match = match
    view.setup(request, *match.args, **match.kwargs)
    return view


def admit(view: PrivateStorageView, name: str) -> PrivateFile | None:
    """Return the file called ``name`` if the whole of the view, but for what it sends, lets its request have it."""
    let: list[PrivateFile] = []
    answer = HttpResponse()

    def served(private_file: PrivateFile) -> HttpResponse:
        let.append(private_file)
        return answer

    view._served = served  # type: ignore[method-assign]
    try:
        response = view.dispatch(view.request, *view.args, **view.kwargs)
    except (PermissionDenied, Http404, SuspiciousOperation):
        return None
    finally:
        del view._served
    if response is not answer or [private_file.relative_name for private_file in let] != [name]:
        return None
    return let[0]


def as_user(request: HttpRequest, user: Any) -> HttpRequest:
    """Return a shallow copy of ``request`` that ``user`` makes."""

    async def auser() -> Any:
        return user

    copy = object.__new__(type(request))  # copy.copy() leaves out what cannot be pickled
    copy.__dict__.update(request.__dict__, user=user, auser=auser)
    return copy


def _match(guard: Guard) -> Any:
    try:
        path = reverse(str(guard.view), kwargs=guard.kwargs)
        match = resolve("/" + unquote(path).removeprefix(get_script_prefix()))
    except (NoReverseMatch, Resolver404) as error:
        raise NoGuardError(f"There is no URL of a view {guard.view!r} with {guard.kwargs}") from error
    if not _is_guard(match.func):
        raise NoGuardError(f"{guard.view!r} is no PrivateStorageView")
    if hasattr(match.func, "__wrapped__"):
        raise NoGuardError(
            f"A decorator is around the view {guard.view!r}, and would not be asked when the link is used: put it on "
            "dispatch() by method_decorator, or what it checks into can_access_file()"
        )
    return match


def _is_guard(function: Any) -> bool:
    return issubclass(getattr(function, "view_class", object), PrivateStorageView)
