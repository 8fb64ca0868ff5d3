"""Who may see a private file: callables that are given a PrivateFile, for the setting and for views."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured

from storages.private import settings
from storages.private.models import PrivateFile
from storages.visitors import active_user

# A callable, sync or async; a dotted path to one; or None, which denies.
Policy = Callable[[PrivateFile], Any] | str | None


def allow_superuser(private_file: PrivateFile) -> bool:
    """Whether an active superuser asks; the default."""
    user = active_user(private_file.request)
    return bool(user and user.is_superuser)


def allow_staff(private_file: PrivateFile) -> bool:
    """Whether an active member of the staff asks; a superuser is one only if marked so."""
    user = active_user(private_file.request)
    return bool(user and user.is_staff)


def allow_authenticated(private_file: PrivateFile) -> bool:
    """Whether an active user asks."""
    return bool(active_user(private_file.request))


class allow_owner:  # noqa: N801, read as its function siblings are
    """Whether the user asks whose file it is.

    ``field`` leads from the parent object of the detail view to a user ("owner", "project__owner"). ``path`` is where
    the names of a user's files start, with the primary key in it: "users/{pk}/".
    """

    def __init__(self, field: Any = "", path: str = ""):
        if not isinstance(field, str) or not (field or path):  # a PrivateFile: the class was taken for a policy
            raise ImproperlyConfigured('allow_owner needs to know how: allow_owner("owner"), or path="users/{pk}/"')
        if path and not ("/{pk}/" in f"/{path}" and path.endswith("/")):
            raise ImproperlyConfigured(f'{path!r} has to hold "{{pk}}/" as a part of its own, and to end in a slash')
        self.field = field
        self.path = path

    def __call__(self, private_file: PrivateFile) -> bool:
        user = active_user(private_file.request)
        if user is None or user.pk is None:
            return False
        return self._owns(user, private_file.parent_object) or self._is_below(user, private_file.relative_name)

    def _owns(self, user: Any, owner: Any) -> bool:
        if not self.field:
            return False
        for attribute in self.field.split("__"):
            owner = getattr(owner, attribute) if owner is not None else None
        return owner is not None and owner == user

    def _is_below(self, user: Any, name: str) -> bool:
        key = str(user.pk)
        return bool(self.path) and "/" not in key and name.startswith(self.path.replace("{pk}", key))


class allow_model_permission:  # noqa: N801
    """Whether the user has the permission "app.codename", on all or on the parent object."""

    def __init__(self, permission: str):
        if "." not in str(permission) or isinstance(permission, PrivateFile):
            raise ImproperlyConfigured(f'allow_model_permission takes "app.codename", not {permission!r}')
        self.permission = permission

    def __call__(self, private_file: PrivateFile) -> bool:
        user = active_user(private_file.request)
        if user is None:
            return False
        parent = private_file.parent_object
        return user.has_perm(self.permission) or (parent is not None and user.has_perm(self.permission, parent))


class any_of:  # noqa: N801
    """Whether one of the policies says yes; asked in order."""

    def __init__(self, *policies: Policy):
        self.policies = _checked(policies)

    def __call__(self, private_file: PrivateFile) -> bool:
        return any(ask(policy, private_file) for policy in self.policies)


class all_of:  # noqa: N801
    """Whether all of the policies say yes; asked in order."""

    def __init__(self, *policies: Policy):
        self.policies = _checked(policies)

    def __call__(self, private_file: PrivateFile) -> bool:
        return all(ask(policy, private_file) for policy in self.policies)


def ask(policy: Policy, private_file: PrivateFile) -> bool:
    """Return what ``policy`` says. What it raises goes on to the caller, who then serves nothing.

    Raises ImproperlyConfigured for an answer that is itself to be called: a forgotten pair of parentheses.
    """
    called = settings.resolve(policy) if isinstance(policy, str) else policy
    if called is None:
        return False
    answer = called(private_file)
    if inspect.isawaitable(answer):  # true as it stands
        answer = async_to_sync(_awaited)(answer)
    if callable(answer):
        raise ImproperlyConfigured(f"{policy!r} answered {answer!r} and not yes or no; it has to be called first")
    return bool(answer)


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer


def _checked(policies: tuple[Policy, ...]) -> tuple[Policy, ...]:
    if not policies or any(isinstance(policy, PrivateFile) for policy in policies):
        raise ImproperlyConfigured("name the policies: any_of(allow_staff, allow_owner('owner'))")
    return policies
