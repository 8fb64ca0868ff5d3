"""System checks of direct uploads: what fields promise, what storages keep, and what the project still lacks."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as Advice
from django.core.exceptions import ImproperlyConfigured
from django.template.defaultfilters import filesizeformat
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string

from storages.contract import Enforced
from storages.lazy import unwrapped
from storages.routes import routes
from storages.terms import SINGLE_KINDS
from storages.uploads import authentication, kinds, permissions, sealing, settings, targets
from storages.uploads.fields import PROMISES

TAG = "storages_uploads"
MIDDLEWARE = "storages.uploads.middleware.UploadsMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"

_DETOUR = (
    "S3 with an 'endpoint_url' signs parts once 'unsigned_headers' says what the service does with headers that no "
    "signature names. Or raise UPLOADS_PARTS_ABOVE: larger files are one request then, which cannot go on later. "
    "Silence this if it is meant."
)
_HOOKS = ("UPLOADS_SCANNER", "UPLOADS_RATE", "UPLOADS_QUOTA")


def check_promises(app_configs: Any, **options: Any) -> Iterator[CheckMessage]:
    """Report fields that promise what their storage does not keep."""
    for field in _fields():
        found = _kinds(field) if field.enforce else None
        for size, possible in _sizes(field, found) if found else ():
            if problem := _problem_of(field, possible):
                text = f"{field.label} wants {_said(field.enforce)} enforced, and {_storage(field)} does not: {problem}"
                hint = f"This is of {size}. Take another storage, or leave out of 'enforce' what finish then looks at."
                if field.keeps(kinds.OURS):
                    hint += " Silenced, it is no obstacle: such files come through this server, by tus."
                yield _error("E001", text, hint, field)


def check_secrets(app_configs: Any, **options: Any) -> Iterator[CheckMessage]:
    """Report kinds that are not used because what opens such an upload cannot be kept secret."""
    if sealing.is_possible():
        return
    for field in _fields():
        if lost := sealing.SECRET_KINDS & set(getattr(field.storage, "upload_kinds", {})):
            text = f"{field.label} has no {_said(lost)} uploads: what opens them can't be encrypted in the database"
            yield Advice(text, "pip install cryptography", field, f"{TAG}.W002")


def check_detours(app_configs: Any, **options: Any) -> Iterator[CheckMessage]:
    """Report large files that come through this server though the storage signs small ones."""
    above = settings.get("UPLOADS_PARTS_ABOVE")
    for field in _fields():
        is_small = field.max_size is not None and field.max_size <= above
        found = _kinds(field)
        if found and not is_small and SINGLE_KINDS.issuperset(found) and not getattr(field, "signs_forms", False):
            text = f"Files of {field.label} above {filesizeformat(above)} come through this server (tus)"
            text = f"{text}: {_storage(field)} signs no uploads in parts, but {_said(found)} alone"
            yield Advice(text, _DETOUR, field, f"{TAG}.W004")


def check_middleware(app_configs: Any, **options: Any) -> Iterator[CheckMessage]:
    """Report that forms cannot know who asks."""
    if not _fields():
        return
    used = list(django_settings.MIDDLEWARE)
    places = [place for place, path in enumerate(used) if _is_ours(path)]
    if not places:
        hint = f"Add {MIDDLEWARE!r} to MIDDLEWARE, below AuthenticationMiddleware; without it forms take no token."
        yield _error("E002", "Forms cannot tell whose upload a token is: UploadsMiddleware is missing", hint, None)


def check_urls(app_configs: Any, **options: Any) -> Iterator[CheckMessage]:
    """Report that browsers have nowhere to begin an upload."""
    fields = [field for field in _fields() if not getattr(field, "signs_forms", False)]  # these have a URL of their own
    if not fields or not getattr(django_settings, "ROOT_URLCONF", None):
        return
    try:
        reverse("storages_uploads:begin")
    except NoReverseMatch:
        hint = "Add path('uploads/', include('storages.uploads.urls')) to the project's URLs."
        yield _error("E003", "Nothing can be uploaded directly: the protocol has no URLs", hint, None)


def check_permissions(app_configs: Any, **options: Any) -> Iterator[CheckMessage]:
    """Report permissions that deny everybody, admit everybody, or are not there."""
    fields = _fields()
    by_setting = [field for field in fields if field.permission is None]
    if by_setting or not fields:
        yield from _check_permission(settings.get("UPLOADS_PERMISSION"), "UPLOADS_PERMISSION", None)
    for field in fields:
        if field.permission is not None:
            yield from _check_permission(field.permission, f"permission of {field.label}", field)


def _check_permission(policy: Any, where: str, field: Any) -> Iterator[CheckMessage]:
    if policy is None or policy == "":
        hint = "Say who may: storages.uploads.permissions has functions for it."
        yield _error("E004", f"{where} is {policy!r}, so that nobody may upload", hint, field)
    elif problem := _problem_of_hook(policy):
        yield _error("E005", f"{where} is {policy!r}, {problem}", None, field)
    elif _resolved(policy) is permissions.allow_anybody:
        text = f"{where} lets everybody upload, logged in or not"
        hint = "Bound it: UPLOADS_RATE, UPLOADS_QUOTA. Silence this if it is meant."
        yield Advice(text, hint, field, f"{TAG}.W001")
        if SESSIONS not in django_settings.MIDDLEWARE:
            yield _error(
                "E006", f"{where} needs sessions, which are missing", f"Add {SESSIONS!r} to MIDDLEWARE.", field
            )


def check_hooks(app_configs: Any, **options: Any) -> Iterator[CheckMessage]:
    """Report scanners, limits and authenticators that are not there: a scanner that is down refuses every file."""
    for name in _HOOKS:
        hook = settings.get(name)
        is_number = name == "UPLOADS_QUOTA" and isinstance(hook, int)
        if hook is not None and not is_number and (problem := _problem_of_hook(hook)):
            yield _error("E007", f"{name} is {hook!r}, {problem}", None, None)
    yield from _check_authentication(settings.get(authentication.NAME))
    for field in _fields():
        if field.must_scan and settings.get("UPLOADS_SCANNER") is None:
            yield _error("E007", f"{field.label} is to be scanned, and UPLOADS_SCANNER names no scanner", None, field)
        elif field.scan not in (None, False) and (problem := _problem_of_hook(field.scan)):
            yield _error("E007", f"scan of {field.label} is {field.scan!r}, {problem}", None, field)


def _check_authentication(authenticators: Any) -> Iterator[CheckMessage]:
    if isinstance(authenticators, str) or not isinstance(authenticators, Iterable):
        text = f"{authentication.NAME} is {authenticators!r}, which is no list"
        yield _error("E007", text, "It is a list of authenticators, by their dotted paths.", None)
        return
    for authenticator in authenticators:
        if problem := _problem_of_authenticator(authenticator):
            yield _error("E007", f"{authentication.NAME} has {authenticator!r}, {problem}", None, None)


def check_fake(app_configs: Any, **options: Any) -> Iterator[CheckMessage]:
    """Report the fake S3 where it could be reached in production."""
    found = [route for route, module in _modules_of_views() if module.startswith("storages.uploads.testing")]
    if settings.get("UPLOADS_FAKE") and not django_settings.DEBUG:
        text = "UPLOADS_FAKE is set and DEBUG is not: the fake S3 answers to whoever finds it"
        yield _error("E008", text, "Set it in the settings of tests only.", None)
    elif found and not django_settings.DEBUG and settings.get("UPLOADS_FAKE") is None:
        text = f"The fake S3 is among the URLs, at {found[0]!r}, and DEBUG is off: it answers 404"
        yield _error("E008", text, "Include storages.uploads.testing.urls in development only.", None)


def check_staging(app_configs: Any, **options: Any) -> Iterator[CheckMessage]:
    """Report a prefix under which the bucket's rule would sweep more than what was left behind."""
    prefix = str(settings.get("UPLOADS_STAGING") or "")
    parts = prefix.strip("/").split("/")
    if not prefix.strip("/") or prefix.startswith("/") or {"", ".", ".."} & set(parts):
        text = f"UPLOADS_STAGING is {prefix!r}: what is below it is swept, so it has to be a directory of its own"
        yield _error("E009", text, "Give it a name, such as 'uploads-staging'.", None)
        return
    for field in _fields():
        if f"{_prefix_of(field)}/".startswith(f"{prefix.strip('/')}/"):
            text = f"The files of {field.label} are below {prefix!r}, where everything is swept"
            yield _error("E010", text, "Give one of the two another prefix.", field)


def check_spool(app_configs: Any, **options: Any) -> Iterator[CheckMessage]:
    """Advise a place for what comes through this server, of which ``check --deploy`` cannot know how many there are."""
    if settings.get("UPLOADS_SPOOL"):
        return
    for field in _fields():
        if not getattr(field.storage, "upload_kinds", {}):
            text = f"{field.label} is uploaded through this server, and UPLOADS_SPOOL is not set"
            hint = (
                "What has come lies in the system's temporary directory: another machine has another one, it may be "
                "emptied, and it may be memory. Name a directory that all machines share."
            )
            yield Advice(text, hint, field, f"{TAG}.W003")


DEPLOY_CHECKS = (check_spool,)
CHECKS = (
    check_promises,
    check_secrets,
    check_detours,
    check_middleware,
    check_urls,
    check_permissions,
    check_hooks,
    check_fake,
    check_staging,
)


def _error(number: str, message: str, hint: str | None, where: Any) -> Error:
    return Error(message, hint, where, f"{TAG}.{number}")


def _fields() -> list[Any]:
    return list(targets.fields())


def _prefix_of(field: Any) -> str:
    try:
        return field.upload_prefix()
    except Exception:  # noqa: BLE001  # a function of the project; the field's own check tells
        return ""


# Promises


def _kinds(field: Any) -> Mapping[str, Enforced] | None:
    """Return what can be signed; None where the storage cannot be made, about which other checks speak."""
    try:
        offered = dict(kinds.offered(field.storage))
    except (ImportError, ImproperlyConfigured):
        return None
    ours = {kinds.TUS: offered.pop(kinds.TUS)}
    # begin() falls back on tus, which keeps more. But where the storage signs, it is the service that was meant, and
    # not that every file goes through this server: who wants that has to silence the check.
    return offered or ours


def _sizes(field: Any, found: Mapping[str, Enforced]) -> Iterator[tuple[str, Mapping[str, Enforced]]]:
    """Yield the sizes that the field's files may have, and what each can be sent by."""
    above = settings.get("UPLOADS_PARTS_ABOVE")
    whole = {kind: enforced for kind, enforced in found.items() if kind in SINGLE_KINDS}
    parts = {kind: enforced for kind, enforced in found.items() if kind not in SINGLE_KINDS}
    if field.min_size <= above:
        yield "small files", whole or parts
    if field.max_size is None or field.max_size > above:
        yield "large files", parts or whole


def _problem_of(field: Any, found: Mapping[str, Enforced]) -> str:
    """Return what is wrong if none of the kinds keeps all; begin() takes only those that do."""
    if any(field.keeps(enforced) for enforced in found.values()):
        return ""
    broken = {
        kind: [promise for promise in sorted(field.enforce) if not PROMISES[promise](enforced)]
        for kind, enforced in found.items()
    }
    return "; ".join(f"{kind} does not refuse by {_said(promises)}" for kind, promises in broken.items())


def _said(words: Any) -> str:
    return ", ".join(sorted(words))


def _storage(field: Any) -> str:
    return type(unwrapped(field.storage)).__name__


# Dotted paths


def _is_ours(path: str) -> bool:
    found = _resolved(path)
    if inspect.isclass(found):
        from storages.uploads.middleware import UploadsMiddleware

        return issubclass(found, UploadsMiddleware)
    return False


def _resolved(hook: Any) -> Any:
    try:
        return import_string(hook) if isinstance(hook, str) else hook
    except ImportError:
        return None


def _problem_of_hook(hook: Any) -> str:
    if isinstance(hook, str):
        try:
            hook = import_string(hook)
        except ImportError as error:
            return f"which cannot be imported: {error}"
    return "" if callable(hook) else "which is no function"


def _problem_of_authenticator(hook: Any) -> str:
    if not hasattr(_resolved(hook), "authenticate") and (problem := _problem_of_hook(hook)):
        return problem
    if inspect.iscoroutinefunction(getattr(_resolved(hook), "authenticate", _resolved(hook))):
        return "which is asynchronous; it has to answer at once"
    return ""


def _modules_of_views() -> list[tuple[str, str]]:
    """Return the project's routes, and the modules of their views."""
    return [(route, getattr(getattr(view, "view_class", None) or view, "__module__", "")) for route, view in routes()]
