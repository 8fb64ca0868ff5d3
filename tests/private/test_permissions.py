"""Policies: who may see a file."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest

from storages.private.models import PrivateFile
from storages.private.permissions import (
    all_of,
    allow_authenticated,
    allow_model_permission,
    allow_owner,
    allow_staff,
    allow_superuser,
    any_of,
    ask,
)
from storages.private.views import PrivateStorageView
from tests.private.conftest import PEOPLE


def yes(private_file):
    return True


def no(private_file):
    return False


async def slowly_yes(private_file):
    return True


async def slowly_no(private_file):
    return False


def broken(private_file):
    raise LookupError("the directory of people is away")


def private_file(request, name="users/7/a.txt", parent=None):
    return PrivateFile(request, None, name, parent)


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [
        (allow_authenticated, {"user", "staff", "superuser"}),
        (allow_staff, {"staff"}),
        (allow_superuser, {"superuser"}),
        (allow_owner(path="users/{pk}/"), {"user"}),
        (allow_model_permission("archive.view_secret"), {"superuser"}),
        (None, set()),
        ("storages.private.permissions.allow_staff", {"staff"}),
        ("private_storage.permissions.allow_staff", {"staff"}),
        (any_of(allow_staff, allow_superuser), {"staff", "superuser"}),
        (any_of("private_storage.permissions.allow_staff", None), {"staff"}),
        (all_of(allow_authenticated, allow_staff), {"staff"}),
        (all_of(allow_staff, None), set()),
        (all_of(allow_authenticated, any_of(allow_owner(path="users/{pk}/"), allow_staff)), {"user", "staff"}),
        (any_of(no, slowly_no), set()),
        (all_of(yes, slowly_yes), set(PEOPLE)),
        (slowly_no, set()),
        (slowly_yes, set(PEOPLE)),
    ],
)
@pytest.mark.threat("T-01")
@pytest.mark.django_db
def test_who_is_allowed(request_of, policy, allowed):
    assert {person for person in PEOPLE if ask(policy, private_file(request_of(person)))} == allowed


@pytest.mark.threat("T-01")
@pytest.mark.parametrize(
    "policy",
    [allow_authenticated, allow_staff, allow_superuser, allow_owner("owner"), allow_model_permission("a.b")],
)
def test_request_without_a_user_is_denied(policy):
    assert not ask(policy, private_file(HttpRequest(), parent=SimpleNamespace(owner=None)))


@pytest.mark.parametrize(
    ("field", "parent", "allowed"),
    [
        ("owner", SimpleNamespace(owner=User(pk=7)), True),
        ("owner", SimpleNamespace(owner=User(pk=8)), False),
        ("owner", SimpleNamespace(owner=None), False),
        ("owner", None, False),
        ("folder__owner", SimpleNamespace(folder=SimpleNamespace(owner=User(pk=7))), True),
        ("folder__owner", SimpleNamespace(folder=SimpleNamespace(owner=User(pk=8))), False),
        ("folder__owner", SimpleNamespace(folder=None), False),
    ],
)
def test_owner_is_whom_the_field_names(request_of, field, parent, allowed):
    assert ask(allow_owner(field), private_file(request_of("user"), parent=parent)) is allowed


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("users/7/a.txt", True),
        ("users/7/b/a.txt", True),
        ("users/77/a.txt", False),
        ("users/7", False),
        ("users/7.txt", False),
        ("other/users/7/a.txt", False),
    ],
)
def test_owner_is_whom_the_path_names(request_of, name, allowed):
    assert ask(allow_owner(path="users/{pk}/"), private_file(request_of("user"), name)) is allowed


def test_key_with_a_slash_owns_no_path(request_of):
    request = request_of()
    request.user = User(pk="7/b")
    assert not ask(allow_owner(path="users/{pk}/"), private_file(request, "users/7/b/a.txt"))


def test_user_who_is_not_saved_owns_nothing(request_of):
    request = request_of()
    request.user = User()
    assert not ask(
        allow_owner("owner", "users/{pk}/"), private_file(request, "users/None/a", SimpleNamespace(owner=None))
    )


class Backend:
    """Gives permissions of single objects, as django-guardian does."""

    def has_perm(self, user, permission, obj=None):
        return permission == "archive.view_secret" and obj == f"of {user.username}"


@pytest.mark.parametrize(("parent", "allowed"), [("of user", True), ("of staff", False), (None, False)])
def test_model_permission_may_be_of_the_parent_object(request_of, settings, parent, allowed):
    settings.AUTHENTICATION_BACKENDS = ["tests.private.test_permissions.Backend"]
    policy = allow_model_permission("archive.view_secret")
    assert ask(policy, private_file(request_of("user"), parent=parent)) is allowed


@pytest.mark.threat("T-01")
@pytest.mark.parametrize("policy", ["allow_owner", "allow_model_permission", "any_of", "all_of"])
def test_policy_that_wants_arguments_first_denies_and_says_so(request_of, policy):
    with pytest.raises(ImproperlyConfigured):
        ask(f"storages.private.permissions.{policy}", private_file(request_of()))


@pytest.mark.threat("T-01")
def test_answer_that_is_to_be_called_is_no_yes(request_of):
    with pytest.raises(ImproperlyConfigured, match="has to be called"):
        ask(lambda one: one.request.user.has_perm, private_file(request_of()))


@pytest.mark.parametrize(
    "wrong",
    [
        allow_owner,
        lambda: allow_owner(path="users/{pk}"),
        lambda: allow_owner(path="users/"),
        lambda: allow_owner(path="users/of-{pk}/"),
        lambda: allow_model_permission("view_secret"),
        any_of,
        all_of,
    ],
)
def test_policy_that_cannot_be_meant_is_refused(wrong):
    with pytest.raises(ImproperlyConfigured):
        wrong()


@pytest.mark.threat("T-01")
@pytest.mark.parametrize("policy", [broken, any_of(no, broken), all_of(yes, broken), any_of(broken, yes)])
def test_policy_that_breaks_serves_nothing(request_of, memory, policy):
    view = PrivateStorageView.as_view(storage=memory, can_access_file=policy)
    with pytest.raises(LookupError):
        view(request_of(), path="a.txt")
    assert memory.calls == []


def test_policies_are_asked_in_order_and_no_longer_than_needed(request_of):
    assert ask(any_of(yes, broken), private_file(request_of()))
    assert not ask(all_of(no, broken), private_file(request_of()))


def test_policy_may_be_an_attribute_of_a_view(request_of, memory):
    view = type("View", (PrivateStorageView,), {"can_access_file": any_of(allow_staff), "storage": memory})
    view.as_view()(request_of("staff"), path="a.txt").close()
