"""System checks: say what Django and Python would ignore in silence. Nothing is constructed and nothing is sent."""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import inspect
import json
import os
import pkgutil
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import django
from django.apps import apps
from django.conf import DEFAULT_STORAGE_ALIAS, STATICFILES_STORAGE_ALIAS
from django.conf import settings as django_settings
from django.contrib.staticfiles.storage import HashedFilesMixin
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as Advice
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from storages import backends
from storages.mixin import StorageMixin
from storages.settings import Setting, nearest

_BUCKET = "nothing is created from here: make the bucket once, by hand or by your deployment"
_PORT = "it is not read; give scheme, host and port in AWS_S3_ENDPOINT_URL"
_PROXY = "it is not read; use AWS_S3_PROXIES, as {'https': 'http://host:port'}"

# Django settings of earlier releases, by the backend whose they are, and what to do about each.
LEGACY_SETTINGS = {
    "storages.backends.s3": {
        "AWS_AUTO_CREATE_BUCKET": f"it is not read; {_BUCKET}",
        "AWS_BUCKET_ACL": "it is not read; give the bucket its ACL or policy where it is created",
        "AWS_HEADERS": "it is not read; use AWS_S3_OBJECT_PARAMETERS, with CacheControl for Cache-Control",
        "AWS_ORIGIN": "it is not read; use AWS_S3_REGION_NAME",
        "AWS_PRELOAD_METADATA": "it is not read; leave it out, nothing needs preloading",
        "AWS_REDUCED_REDUNDANCY": "it is not read; use AWS_S3_OBJECT_PARAMETERS = "
        "{'StorageClass': 'REDUCED_REDUNDANCY'}",
        "AWS_S3_CALLING_FORMAT": "it is not read; use AWS_S3_ADDRESSING_STYLE, 'virtual' for VHostCallingFormat and "
        "'path' for OrdinaryCallingFormat",
        "AWS_S3_ENCRYPTION": "it is not read; use AWS_S3_OBJECT_PARAMETERS = {'ServerSideEncryption': 'AES256'}",
        "AWS_S3_HOST": f"{_PORT}, or only the region in AWS_S3_REGION_NAME where the host is Amazon's",
        "AWS_S3_PORT": _PORT,
        "AWS_S3_PROXY_HOST": _PROXY,
        "AWS_S3_PROXY_PORT": _PROXY,
        "AWS_S3_SECURE_URLS": "it is still read; use AWS_S3_URL_PROTOCOL, 'http:' for False",
        "AWS_S3_USE_THREADS": "it is still read; use AWS_S3_TRANSFER_CONFIG with use_threads",
        "S3_USE_SIGV4": "it is not read; leave it out for version 4, set AWS_S3_SIGNATURE_VERSION = 's3' for 2",
    },
    "storages.backends.azure_storage": {
        "AZURE_CUSTOM_CONNECTION_STRING": "it is not read; use AZURE_CUSTOM_DOMAIN for the host of URLs",
        "AZURE_EMULATED_MODE": "it is still read; use AZURE_CONNECTION_STRING = 'UseDevelopmentStorage=true'",
    },
    "storages.backends.gcloud": {
        "GS_AUTO_CREATE_ACL": "it is not read; use GS_DEFAULT_ACL for objects",
        "GS_AUTO_CREATE_BUCKET": f"it is not read; {_BUCKET}",
        "GS_CACHE_CONTROL": "it is still read; use GS_OBJECT_PARAMETERS = {'cache_control': ...}",
        "GS_FILE_CHARSET": "it is not read; leave it out, names are UTF-8",
    },
    "storages.backends.ftp": {
        "ENCODING": "it is not read; use FTP_STORAGE_ENCODING",
    },
}

# Removed in Django 5.1, which takes no notice of them, by the alias that took their place.
_REMOVED_FROM_DJANGO = {
    DEFAULT_STORAGE_ALIAS: "DEFAULT_FILE_STORAGE",
    STATICFILES_STORAGE_ALIAS: "STATICFILES_STORAGE",
}

# Words that are left out or put in without a change of meaning: AWS_S3_LOCATION, AWS_BUCKET_NAME.
_FILLERS = {"S3", "STORAGE", "NAME"}
# Settings that resemble one of ours, but that a project has for other packages.
_NOT_OURS = {"AWS_REGION"}

# Names of one setting of which both are in use; most others are alternatives that a project may mean to differ.
_SYNONYMS = (("IPFS_STORAGE_GATEWAY_URL", "IPFS_GATEWAY_API_URL"),)

# S3's names, then Google's.
_PUBLIC_ACLS = (
    *("public-read", "public-read-write", "authenticated-read"),
    *("publicRead", "publicReadWrite", "authenticatedRead"),
)

# difflib's ratio from which on one word is taken for a slip of the other.
_SLIP = 0.75
_SLIP_OF_ATTRIBUTE = 0.85  # a project's own attributes may resemble ours


class _Use(NamedTuple):
    """One alias of ``STORAGES`` that has a class of ours."""

    alias: str
    cls: type[StorageMixin]
    options: dict[str, Any]

    @property
    def label(self) -> str:
        return _label(self.alias)

    @property
    def is_static(self) -> bool:
        """Whether the files are static ones: public, and replaced by every collectstatic."""
        hashed = issubclass(self.cls, HashedFilesMixin)
        return self.alias == STATICFILES_STORAGE_ALIAS or self.cls.url_without_name or hashed

    @property
    def decides_later(self) -> bool:
        """Whether a class of the project's own may take or give options when it is constructed."""
        return any(vars(base).keys() & {"__init__", "get_default_settings"} for base in _own_bases(self.cls))

    @property
    def declared(self) -> dict[str, Setting]:
        return self.cls.declared_settings()

    def is_given(self, option: str) -> bool:
        """Whether OPTIONS, a subclass, a Django setting or the environment gives ``option``."""
        declared = getattr(self.cls, option)
        return option in self.options or not isinstance(declared, Setting) or _is_set(declared)

    def value(self, option: str | None) -> Any:
        """Return what ``option`` will be, or None where only the constructed storage knows."""
        if option is None:
            return None
        if option in self.options:
            return self.options[option]
        declared = getattr(self.cls, option)
        if isinstance(declared, Setting):
            return declared.lookup()
        return None if hasattr(declared, "__get__") else declared

    def option_of(self, role: str) -> str | None:
        return next((option for option, setting in self.declared.items() if setting.role == role), None)


def check_backends(app_configs: Any, **kwargs: Any) -> Iterator[CheckMessage]:
    """Report backends that can't be imported, or whose SDK is not installed."""
    for alias, path, _ in _aliases():
        try:
            cls = import_string(path)
        except ImportError as error:
            close = difflib.get_close_matches(path, list(_backend_paths()), n=1, cutoff=_SLIP)
            yield Error(str(error), f"Did you mean {close[0]!r}?" if close else None, _label(alias), "storages.E001")
            continue
        sdk = getattr(cls, "sdk", None)
        if _is_ours(cls) and sdk is not None:
            try:
                sdk.require(cls.__name__)
            except ImproperlyConfigured as error:
                yield Error(str(error), obj=_label(alias), id="storages.E002")


def check_options(app_configs: Any, **kwargs: Any) -> Iterator[CheckMessage]:
    """Report OPTIONS that the class does not have, and values of a type that it does not take."""
    for use in _uses():
        known = {*use.declared, *use.cls.renamed, *_parameters(use.cls)}
        for option in use.options:
            if option in use.cls.renamed:
                advice = f"use {use.cls.renamed[option].option!r}"
                yield _legacy(f"{use.cls.__name__}: option {option!r} is deprecated; {advice}", use.label)
            elif option not in known and not use.decides_later:
                removed = use.cls.removed.get(option)
                advice = f"; {removed}" if removed else nearest(option, known)
                message = f"{use.cls.__name__} has no option {option!r}{advice}"
                yield Error(message, obj=use.label, id="storages.E003")
        for option, setting in use.declared.items():
            try:
                setting.check(use.value(option))
            except (TypeError, ValueError) as error:
                shown = setting.shown(use.value(option))
                message = f"{use.cls.__name__}: {use.cls._spelt(option)} {error}: {shown}"
                yield Error(message, setting.help or None, use.label, "storages.E004")


def check_attributes(app_configs: Any, **kwargs: Any) -> Iterator[CheckMessage]:
    """Report class attributes of a project's storages that look like options and are none."""
    for base, cls in {base: use.cls for use in _uses() for base in _own_bases(use.cls)}.items():
        for name in vars(base):
            if message := _about_attribute(cls, base, name):
                yield message


def check_legacy_settings(app_configs: Any, **kwargs: Any) -> Iterator[CheckMessage]:
    """Report Django settings of earlier releases, for the backends that are imported."""
    list(_uses())  # which imports them; a storage that is only in a model field is imported already
    for module, settings in LEGACY_SETTINGS.items():
        if module in sys.modules:
            for name, advice in settings.items():
                if getattr(django_settings, name, None) is not None:
                    yield _legacy(f"{name} is a setting of an earlier release: {advice}")


def check_spelling(app_configs: Any, **kwargs: Any) -> Iterator[CheckMessage]:
    """Report Django settings that look like one which a storage in use would have read, but that nothing reads."""
    known = {name for settings in LEGACY_SETTINGS.values() for name in settings} | _NOT_OURS
    wanted: set[str] = set()
    for use in _uses():
        for option, setting in use.declared.items():
            known.update(setting.names)
            if not use.decides_later and not use.is_given(option):
                wanted.update(setting.names)
    for name in dir(django_settings):
        if not name.isupper() or name in known:
            continue
        alike = [candidate for candidate in wanted if _are_alike(name, candidate)]
        # Only these are looked at: Django warns of reading some that it deprecates.
        if alike and getattr(django_settings, name) is not None:
            meant = max(sorted(alike), key=lambda candidate: _closeness(name, candidate))
            hint = f"Rename it if {meant} is meant; else this check can be silenced."
            yield Advice(f"Nothing reads {name}; did you mean {meant}?", hint, id="storages.W002")


def check_removed_from_django(app_configs: Any, **kwargs: Any) -> Iterator[CheckMessage]:
    """Report the settings in whose place Django 5.1 and later read ``STORAGES``, with the block to paste."""
    if django.VERSION < (5, 1):
        return
    paths = {alias: path for alias, path, _ in _aliases()}
    left = {
        alias: path for alias, name in _REMOVED_FROM_DJANGO.items() if (path := getattr(django_settings, name, None))
    }
    ignored = [alias for alias, path in left.items() if _imported(path) != _imported(paths.get(alias, ""))]
    if ignored:
        names = " and ".join(_REMOVED_FROM_DJANGO[alias] for alias in ignored)
        block = _storages_block({**paths, **{alias: left[alias] for alias in ignored}})
        yield Advice(
            f"Django {django.get_version()} does not read {names}: what is named there is not used",
            f"Use this, with OPTIONS as they are:\n\n{block}\n",
            id="storages.W003",
        )


def check_overwriting(app_configs: Any, **kwargs: Any) -> Iterator[CheckMessage]:
    """Report storages that replace files of the same name because nobody decided otherwise."""
    for use in _uses():
        option = use.option_of("overwrite")
        if option is None or use.is_static or use.decides_later or use.is_given(option):
            continue
        if use.declared[option].default:
            yield Advice(
                f"{use.cls.__name__}: a saved file replaces another one of the same name, because nothing gives "
                f"{use.cls._spelt(option)}",
                "Set it to False to keep both, or to True where replacing is meant.",
                use.label,
                "storages.W004",
            )


def check_installation(app_configs: Any, **kwargs: Any) -> Iterator[CheckMessage]:
    """Report django-storages beside this package: both are imported as ``storages``."""
    try:
        version = importlib.metadata.version("django-storages")
    except importlib.metadata.PackageNotFoundError:
        return
    yield Advice(
        f"django-storages {version} is installed too; both packages are imported as 'storages' and overwrite each "
        "other's files",
        "Uninstall both, then install this one alone: pip uninstall -y django-storages django-storages-ng; "
        "pip install django-storages-ng",
        id="storages.W005",
    )


def check_fields(app_configs: Any, **kwargs: Any) -> Iterator[CheckMessage]:
    """Report file fields whose storage was given secrets in code: they would have to be in the migrations."""
    models = apps.get_models() if app_configs is None else (m for config in app_configs for m in config.get_models())
    for model in models:
        for field in model._meta.local_fields:
            storage = getattr(field, "storage", None)
            # Not isinstance(), which would set up default_storage.
            if not _is_ours(type(storage)) or hasattr(field, "_storage_callable"):
                continue
            declared = storage.declared_settings()  # type: ignore[union-attr]
            given = storage._given_options()[1].items()  # type: ignore[union-attr]
            secrets = [repr(name) for name, value in given if name in declared and declared[name].hides(value)]
            if secrets:
                yield Advice(
                    f"The storage of this field was given {', '.join(secrets)} in code; migrations leave that out, so "
                    "the models in them have a storage without it",
                    'Give the field a callable: def media_storage(): return storages["alias"], then '
                    "FileField(storage=media_storage).",
                    field,
                    "storages.W006",
                )


def check_access(app_configs: Any, **kwargs: Any) -> Iterator[CheckMessage]:
    """Report storages other than of static files whose objects everybody may read."""
    for use in _uses():
        parameters = use.value(use.option_of("object_parameters"))
        in_parameters = parameters.get(use.cls.parameter_names["acl"]) if isinstance(parameters, dict) else None
        acl = in_parameters or use.value(use.option_of("acl"))
        if acl in _PUBLIC_ACLS and not use.is_static:
            yield Advice(
                f"{use.cls.__name__}: the ACL {acl!r} opens every uploaded file to strangers",
                "Leave the ACL out and let url() sign, or silence this check where uploads are meant to be public.",
                use.label,
                "storages.W007",
            )


def check_synonyms(app_configs: Any, **kwargs: Any) -> Iterator[CheckMessage]:
    """Report settings that mean the same and say different things, of which only the first is read."""
    read = {name for use in _uses() for setting in use.declared.values() for name in setting.names}
    for names in _SYNONYMS:
        given = [name for name in names if name in read and getattr(django_settings, name, None)]
        if len({str(getattr(django_settings, name)).rstrip("/") for name in given}) > 1:
            first, *others = given
            yield Advice(
                f"{first} and {' and '.join(others)} say different things; {first} is used",
                f"Keep {first} alone.",
                id="storages.W008",
            )


def check_audiences(app_configs: Any, **kwargs: Any) -> Iterator[CheckMessage]:
    """Report storages for different audiences whose files lie in one bucket."""
    labels: dict[str, dict[str, str]] = {}  # by bucket, by audience
    for use in _uses():
        audience = getattr(use.cls, "audience", None)
        if audience and not use.decides_later:
            labels.setdefault(_bucket_for(use, audience), {})[audience] = use.label
    for bucket, by_audience in labels.items():
        if len(by_audience) > 1:
            yield Advice(
                f"{' and '.join(by_audience.values())} share the bucket {bucket!r}: who may see the files of one can "
                "get those of the others",
                "Give each a bucket of its own in 'specific_bucket_names'.",
                id="storages.W009",
            )


CHECKS = (
    check_backends,
    check_options,
    check_attributes,
    check_legacy_settings,
    check_spelling,
    check_removed_from_django,
    check_overwriting,
    check_installation,
    check_fields,
    check_access,
    check_synonyms,
    check_audiences,
)


def _aliases() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for alias, parameters in django_settings.STORAGES.items():
        if "BACKEND" in parameters:
            yield alias, parameters["BACKEND"], parameters.get("OPTIONS") or {}


def _uses() -> Iterator[_Use]:
    for alias, path, options in _aliases():
        try:
            cls = import_string(path)
        except ImportError:  # check_backends() says so
            continue
        if _is_ours(cls):
            yield _Use(alias, cls, options)


def _imported(path: str) -> Any:
    try:
        return import_string(path)
    except ImportError:
        return path


def _is_ours(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, StorageMixin)


def _own_bases(cls: type) -> Iterator[type]:
    """Yield the classes of the project's own from which ``cls`` is made."""
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] not in ("builtins", "django", "storages"):
            yield base


def _label(alias: str) -> str:
    return f"STORAGES[{alias!r}]"


def _legacy(message: str, label: str | None = None) -> CheckMessage:
    return Advice(message, obj=label, id="storages.W001")


def _is_set(setting: Setting) -> bool:
    in_settings = any(getattr(django_settings, name, None) is not None for name in setting.names)
    return in_settings or any(os.environ.get(name) for name in setting.env)


def _bucket_for(use: _Use, audience: str) -> str:
    """Return the bucket of a storage whose class has options for several audiences in one dictionary."""
    bucket, own = str(use.declared["bucket"].default), None
    renamed = use.cls.renamed
    for layer in (use.declared["opts"].lookup(), use.options.get("opts"), use.options):
        given = {renamed[name].option if name in renamed else name: value for name, value in (layer or {}).items()}
        bucket = given.get("bucket") or bucket
        buckets = given.get("specific_bucket_names") or {}
        camel_case = audience[0] + audience.title().replace("_", "")[1:]
        own = buckets.get(audience) or buckets.get(camel_case) or own
    return own or bucket


def _parameters(cls: type) -> set[str]:
    """Return the named parameters of every constructor of ``cls``: mixins of Django take some too."""
    constructors = [vars(base)["__init__"] for base in cls.__mro__ if inspect.isfunction(vars(base).get("__init__"))]
    parameters = [one for constructor in constructors for one in inspect.signature(constructor).parameters.values()]
    return {one.name for one in parameters if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)} - {"self"}


def _about_attribute(cls: type[StorageMixin], base: type, name: str) -> CheckMessage | None:
    value = vars(base)[name]
    if name.startswith("_") or callable(value) or hasattr(value, "__get__"):
        return None
    if name in cls.removed:
        return _legacy(f"{base.__name__}.{name} is not read; {cls.removed[name]}")
    if name in cls.renamed:
        return _legacy(f"{base.__name__}.{name} is deprecated; use {cls.renamed[name].option!r}")
    if any(name in vars(other) for other in cls.__mro__ if other not in set(_own_bases(cls))):
        return None
    close = difflib.get_close_matches(name, cls.declared_settings(), n=1, cutoff=_SLIP_OF_ATTRIBUTE)
    if not close:
        return None
    return Advice(f"Nothing reads {base.__name__}.{name}; did you mean {close[0]!r}?", id="storages.W002")


def _closeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def _are_alike(name: str, declared: str) -> bool:
    """Whether the words of ``name`` are those of ``declared``, but for fillers, order, a slip, or one left out."""
    words, wanted = ([word for word in text.split("_") if word not in _FILLERS] for text in (name, declared))
    extra = [word for word in words if word not in wanted]
    missing = [word for word in wanted if word not in words]
    if not extra:  # the prefix and two others must be left to go by
        return not missing or (len(missing) == 1 and len(words) > 2 and words[0] == wanted[0])
    return len(extra) == len(missing) == 1 and _closeness(extra[0], missing[0]) >= _SLIP


def _storages_block(paths: dict[str, str]) -> str:
    lines = []
    for alias, path in paths.items():
        options = ', "OPTIONS": {...}' if django_settings.STORAGES.get(alias, {}).get("OPTIONS") else ""
        lines.append(f'    {json.dumps(alias)}: {{"BACKEND": {json.dumps(path)}{options}}},')
    return "\n".join(("STORAGES = {", *lines, "}"))


def _backend_paths() -> Iterator[str]:
    """Yield the dotted paths of all storages of this package."""
    for found in pkgutil.iter_modules(backends.__path__, f"{backends.__name__}."):
        for name, value in vars(importlib.import_module(found.name)).items():
            if _is_ours(value) and value.__module__.startswith(f"{backends.__name__}."):
                yield f"{found.name}.{name}"
