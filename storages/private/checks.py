"""System checks of private files: how they are kept, and by which views and deliveries they are served."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as Advice
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages
from django.db.models import FileField
from django.urls import NoReverseMatch, reverse
from django.utils.functional import empty
from django.utils.module_loading import import_string

from storages.private import servers, settings
from storages.private.storage import ALIAS, PrivateFileSystemStorage, PrivateStorageMixin, private_storage
from storages.routes import routes

TAG = "storages_private"

_BUCKET = "nothing is created from here: make the bucket once, by hand or by your deployment"
_BACKUP = "a deleted file is gone; switch versions on in the bucket instead"

# Settings of django-private-storage that say nothing here, and what to do about each.
DEAD_SETTINGS = {
    "AWS_PRIVATE_AUTO_CREATE_BUCKET": _BUCKET,
    "AWS_PRIVATE_BUCKET_ACL": "give the bucket its policy where it is created",
    "AWS_PRIVATE_PRELOAD_METADATA": "leave it out, nothing needs preloading",
    "AWS_PRIVATE_REDUCED_REDUNDANCY": ("use AWS_PRIVATE_S3_OBJECT_PARAMETERS = {'StorageClass': 'REDUCED_REDUNDANCY'}"),
    "AWS_PRIVATE_S3_REDUCED_REDUNDANCY": (
        "use AWS_PRIVATE_S3_OBJECT_PARAMETERS = {'StorageClass': 'REDUCED_REDUNDANCY'}"
    ),
    "MINIO_PRIVATE_STORAGE_ASSUME_MEDIA_BUCKET_EXISTS": "leave it out, nothing looks for the bucket",
    "MINIO_PRIVATE_STORAGE_AUTO_CREATE_MEDIA_BUCKET": _BUCKET,
    "MINIO_PRIVATE_STORAGE_AUTO_CREATE_MEDIA_POLICY": "give the bucket its policy where it is created",
    "MINIO_PRIVATE_STORAGE_MEDIA_BACKUP_BUCKET": _BACKUP,
    "MINIO_PRIVATE_STORAGE_MEDIA_BACKUP_FORMAT": _BACKUP,
    "MINIO_PRIVATE_STORAGE_MEDIA_URL": "URLs are signed for the host in MINIO_PRIVATE_STORAGE_ENDPOINT",
}

_DOTTED = ("PRIVATE_STORAGE_CLASS", "PRIVATE_STORAGE_AUTH_FUNCTION", "PRIVATE_STORAGE_SERVER")
_PUBLIC_ROOTS = ("MEDIA_ROOT", "STATIC_ROOT")


class _Kept(NamedTuple):
    """A private storage, and where it was found."""

    storage: Any
    where: Any  # for the message: a field, or text


class _Route(NamedTuple):
    """A view of private files in the project's URLs."""

    route: str
    view: type[Any]
    initkwargs: dict[str, Any]

    def value(self, name: str) -> Any:
        return self.initkwargs.get(name, getattr(self.view, name, None))

    @property
    def label(self) -> str:
        return f"{self.view.__name__} at {self.route!r}"


def check_storage_class(app_configs: Any, **kwargs: Any) -> Iterator[CheckMessage]:
    """Report a storage of private files that cannot be made."""
    if ALIAS not in django_settings.STORAGES and isinstance(settings.get("PRIVATE_STORAGE_CLASS"), str):
        try:
            settings.resolve(settings.get("PRIVATE_STORAGE_CLASS"))
        except ImportError as error:
            hint = "Name a class, such as storages.private.storage.PrivateS3Storage."
            yield _error("E001", f"PRIVATE_STORAGE_CLASS cannot be imported: {error}", hint, "settings")
            return
    if _is_default_used():
        try:
            _find_default()
        except (ImportError, ImproperlyConfigured) as error:
            yield _error("E001", f"The storage of private files cannot be made: {error}", None, "settings")


def check_roots(app_configs: Any, **kwargs: Any) -> Iterator[CheckMessage]:
    """Report directories of private files that are unset, or that a web server hands out."""
    for kept in _kept():
        if not isinstance(kept.storage, PrivateFileSystemStorage):
            continue
        try:
            root = os.path.realpath(kept.storage.location)
        except ImproperlyConfigured as error:
            yield _error("E002", str(error), "It has no default, so that private files get nowhere else.", kept.where)
            continue
        for setting, public in _public_roots():
            if os.path.commonpath((root, public)) in (root, public):
                yield _error(
                    "E003",
                    f"The private files in {root!r} and the public ones of {setting}, {public!r}, are not apart",
                    "Give private files a directory of their own beside it.",
                    kept.where,
                )


def check_urls(app_configs: Any, **kwargs: Any) -> Iterator[CheckMessage]:
    """Report fields whose files have URLs that lead nowhere; those with a detail view of their own need none."""
    own = {(route.value("model"), route.value("model_file_field")) for route in _routes()}
    fields = [field for field in _fields() if (field.model, field.name) not in own]
    for storage, field in {id(storage): (storage, field) for field, storage in map(_with_storage, fields)}.values():
        if not isinstance(storage, PrivateStorageMixin):
            continue
        if storage.base_url or getattr(storage, "_base_url", None) or not storage._is_served():
            continue
        try:
            reverse(storage.view_name, kwargs={"path": "x"})
        except NoReverseMatch:
            name = storage.view_name
            hint = "Add path('private-media/', include('storages.private.urls')) to the project's URLs."
            if name != PrivateStorageMixin.view_name.default:
                hint = f"Add a view with <path:path> under the name {name!r}, or correct 'view_name'."
            yield _error("E004", f"Private files have no URL: no view is named {name!r}", hint, field)


def check_permissions(app_configs: Any, **kwargs: Any) -> Iterator[CheckMessage]:
    """Report views without a permission, and permissions that are not there."""
    told = False
    for route in _routes():
        own = route.value("can_access_file")
        is_default = getattr(own, "__qualname__", "") == "PrivateStorageView.can_access_file"
        setting = settings.get("PRIVATE_STORAGE_AUTH_FUNCTION")
        policy, where = (setting, "PRIVATE_STORAGE_AUTH_FUNCTION") if is_default else (own, "can_access_file")
        if is_default and told:
            continue
        told = told or is_default
        if policy is None or policy == "":
            message = f"{route.label} has no permission: {where} is {policy!r}, which denies everybody"
            yield _error("E005", message, "Say who may: storages.private.permissions has functions for it.", None)
        elif isinstance(policy, str) and (problem := _problem_of_policy(policy)):
            yield _error("E006", f"{route.label}: {where} is {policy!r}, {problem}", None, None)


def check_deliveries(app_configs: Any, **kwargs: Any) -> Iterator[CheckMessage]:
    """Report deliveries that do not exist, or that cannot send the files of their storage."""
    told = set()
    for route in _routes():
        for storage in _storages_of(route):
            problem = _problem_of_delivery(route, storage)
            if problem and (route.view, problem) not in told:
                told.add((route.view, problem))
                yield _error("E007", f"{route.label}: {problem}", None, None)


def _problem_of_delivery(route: _Route, storage: Any) -> str | None:
    chosen = route.value("server_class")
    try:
        chosen = chosen or getattr(storage, "server", None) or settings.get("PRIVATE_STORAGE_SERVER")
        cls = servers.get_server_class(settings.modern(chosen)) if isinstance(chosen, str) else chosen
    except (ImportError, ImproperlyConfigured) as error:
        return f"there is no delivery {chosen!r}: {error}"
    try:
        problem = servers.problem_of(cls, storage)
    except ImproperlyConfigured:  # of the storage, about which other checks speak
        return None
    return f"{chosen!r} cannot deliver its files: {problem}" if problem else None


def check_old_names(app_configs: Any, **kwargs: Any) -> Iterator[CheckMessage]:
    """Report names and settings of django-private-storage, with what stands for them."""
    for alias, parameters in django_settings.STORAGES.items():
        path = parameters.get("BACKEND", "")
        if settings.modern(path) != path and not _is_there(path):
            yield _error("E008", f"{path} is not installed", f"Use {settings.modern(path)}.", f"STORAGES[{alias!r}]")
    for name in _DOTTED:
        value = getattr(django_settings, name, None)
        if isinstance(value, str) and settings.modern(value) != value:
            message = f"{name} has a name of an earlier package, which is understood as {settings.modern(value)}"
            yield Advice(message, f"Write {settings.modern(value)!r}.", id=f"{TAG}.W002")
    for name, advice in DEAD_SETTINGS.items():
        if getattr(django_settings, name, None) is not None:
            yield Advice(f"{name} is not read", f"Remove it: {advice}.", id=f"{TAG}.W001")


def check_b2(app_configs: Any, **kwargs: Any) -> Iterator[CheckMessage]:
    """Report B2's routes where the files of one audience are within reach of another."""
    views = {route.view.__name__ for route in _routes()}
    if not views & {"B2PublicView", "B2LoggedInView", "B2StaffView"}:
        return
    try:
        public, users, staff = (
            import_string(f"storages.backends.b2.B2{name}Storage")(authorize_on_init=False)
            for name in ("Public", "LoggedIn", "Staff")
        )
    except (ImportError, ImproperlyConfigured):  # they say so when they are used
        return
    if "B2PublicView" in views and not public.serves(f"{public.public_prefix}/x".lstrip("/")):
        yield _error(
            "E009",
            f"The route b2-public serves nothing: its bucket {public.bucket!r} is not named for the public alone",
            "In BACKBLAZE_CONFIG, give 'specific_bucket_names' a bucket under 'public', or set 'public_prefix'.",
            "settings",
        )
    if users.bucket == staff.bucket and {"B2LoggedInView", "B2StaffView"} <= views:
        yield Advice(
            f"The routes b2-logged-in and b2-staff share the bucket {staff.bucket!r}: users get the files of the staff",
            "Give each a bucket of its own in 'specific_bucket_names' of BACKBLAZE_CONFIG.",
            id=f"{TAG}.W003",
        )


CHECKS = (
    check_storage_class,
    check_roots,
    check_urls,
    check_permissions,
    check_deliveries,
    check_old_names,
    check_b2,
)


def _error(number: str, message: str, hint: str | None, where: Any) -> Error:
    return Error(message, hint, where, f"{TAG}.{number}")


# Storages


def _kept() -> list[_Kept]:
    """Return the private storages of the project, each once."""
    found = {id(kept.storage): kept for kept in _kept_by_settings() if kept.storage is not None}
    for field, storage in map(_with_storage, _fields()):
        if storage is not None:
            found[id(storage)] = _Kept(storage, field)  # which tells more than a setting
    return list(found.values())


def _with_storage(field: Any) -> tuple[Any, Any]:
    return field, _default() if field.storage is private_storage else field.storage


def _kept_by_settings() -> Iterator[_Kept]:
    if _is_default_used():
        yield _Kept(_default(), "private_storage")
    for alias, parameters in django_settings.STORAGES.items():
        cls = _imported(parameters.get("BACKEND", ""))
        if isinstance(cls, type) and issubclass(cls, PrivateStorageMixin):
            yield _Kept(_made(alias), f"STORAGES[{alias!r}]")


def _default() -> Any:
    """Return the storage behind ``private_storage``, or None where it cannot be made."""
    try:
        return _find_default()
    except (ImportError, ImproperlyConfigured):  # check_storage_class() says so
        return None


def _find_default() -> Any:
    if private_storage._wrapped is empty:
        private_storage._setup()
    return private_storage._wrapped


def _made(alias: str) -> Any:
    try:
        return storages[alias]
    except (ImportError, ImproperlyConfigured, TypeError):  # the checks of "storages" say so
        return None


def _is_default_used() -> bool:
    fields = any(field.storage is private_storage for field in _fields())
    return fields or any(_serves_default(route) for route in _routes())


def _serves_default(route: _Route) -> bool:
    if route.initkwargs.get("storage") is private_storage:
        return True
    is_own = getattr(route.view.get_storage, "__qualname__", "") == "PrivateStorageView.get_storage"
    storage = route.value("storage")
    return is_own and (storage is None or storage is private_storage)


def _fields() -> Iterator[Any]:
    """Yield the fields whose files are private."""
    for model in apps.get_models():
        for field in model._meta.local_fields:
            # Not isinstance() of the storage, which would set up default_storage.
            if isinstance(field, FileField) and (
                field.storage is private_storage or issubclass(type(field.storage), PrivateStorageMixin)
            ):
                yield field


def _public_roots() -> Iterator[tuple[str, str]]:
    for name in _PUBLIC_ROOTS:
        if getattr(django_settings, name, None):
            yield name, os.path.realpath(getattr(django_settings, name))
    for entry in getattr(django_settings, "STATICFILES_DIRS", ()):
        path = entry[1] if isinstance(entry, (list, tuple)) else entry
        yield "STATICFILES_DIRS", os.path.realpath(path)


# Views


def _routes() -> list[_Route]:
    from storages.private.views import PrivateStorageView  # which needs the apps to be there

    found = []
    for route, callback in routes():
        view = getattr(callback, "view_class", None)
        if isinstance(view, type) and issubclass(view, PrivateStorageView):
            found.append(_Route(route, view, getattr(callback, "view_initkwargs", {})))
    return found


def _storages_of(route: _Route) -> list[Any]:
    """Return the storage whose files a view serves; none where only a request tells."""
    if _serves_default(route):
        return [found] if (found := _default()) is not None else []
    model, field = route.value("model"), route.value("model_file_field")
    if model is not None and field:
        fields = [one for one in model._meta.fields if one.name == field and isinstance(one, FileField)]
        return [storage for _, storage in map(_with_storage, fields) if storage is not None]
    storage = route.value("storage")
    if isinstance(storage, str):
        storage = _made(storage)
    return [storage] if storage is not None else []


def _problem_of_policy(policy: str) -> str:
    try:
        found = settings.resolve(policy)
    except ImportError as error:
        return f"which cannot be imported: {error}"
    return "" if callable(found) else "which is no function"


def _is_there(path: str) -> bool:
    return _imported(path) is not None


def _imported(path: str) -> Any:
    try:
        return import_string(path)
    except ImportError:
        return None
