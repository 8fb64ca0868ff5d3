"""Signed links to private files: they expire, are for whom they are for, and ask the permission again when used."""

from __future__ import annotations

import dataclasses
import datetime
import re
import time
from typing import Any
from urllib.parse import unquote

from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core import signing
from django.core.exceptions import ImproperlyConfigured, ObjectDoesNotExist, ValidationError
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from storages import visitors
from storages.private import audience, guards, settings, storage_names
from storages.private.link_models import LONGEST_NAME, Link, LinkUse
from storages.private.models import PrivateFile
from storages.private.names import is_canonical
from storages.private.views import PrivateStorageView

SALT = "storages.private.link"  # no token of another purpose is a link
LONGEST_TOKEN = 4096  # characters; what is longer is not even unsigned
DEFAULT: Any = object()
# A range, and whether it begins after the first byte; "-5" are the last five.
_LATER_RANGE = re.compile(r"\s*(?:0*[1-9][0-9]*-[0-9]*|-[0-9]+)\s*", re.ASCII)


class LinkError(Exception):
    """A link that opens nothing; ``private_file`` is the file it is for, if file_denied is still to be sent for it."""

    def __init__(self, message: str, private_file: PrivateFile | None = None):
        super().__init__(message)
        self.private_file = private_file


class BadLink(LinkError):
    """Forged, cut, of another purpose, of an earlier version, or of a storage or view that is gone."""


class ExpiredLink(LinkError):
    """Too old."""


class RevokedLink(LinkError):
    """Taken back, or its row is gone."""


class UsedUpLink(LinkError):
    """No use is left."""


class WrongAudience(LinkError):
    """For another user, session or network."""


class DeniedLink(LinkError):
    """The user who made it may not see the file any more, or is gone."""


@dataclasses.dataclass(frozen=True)
class Claims:
    """What a token says, all of it signed."""

    version: Any
    expires: int  # seconds since 1970
    name: str
    storage: str | None = None
    disposition: str | None = None
    filename: str | None = None
    issuer: str | None = None  # whose permission is asked; None: a bearer link
    view: str | None = None  # whose policy is asked; None: the setting's
    kwargs: dict[str, str] | None = None
    user: str | None = None
    session: str | None = None
    network: str | None = None
    row: str | None = None


@dataclasses.dataclass
class OpenedLink:
    """The link that led to a file: ``private_file.link``."""

    claims: Claims
    request: HttpRequest  # of the client; the file's own has the user who made the link
    view: PrivateStorageView  # that guards the file, and serves it
    use: LinkUse | None  # that this request took


def make_link(
    private_file: PrivateFile,
    *,
    expire: int = DEFAULT,
    user: Any = None,
    session: bool = False,
    ip: Any = None,
    uses: int | None = None,
    revocable: bool = False,
    bearer: bool = False,
    disposition: str | None = None,
    filename: str | None = None,
    view: str | None = None,
    kwargs: dict[str, Any] | None = None,
) -> str:
    """Return the path of a link to ``private_file``, which lives ``expire`` seconds: there are no eternal links.

    When it is used, the permission is asked again for ``private_file.request.user``, who makes it: of the view with the
    URL name ``view`` and its ``kwargs`` (the view that handles the request, if it guards files; else the function of
    PRIVATE_STORAGE_AUTH_FUNCTION). A view that then leads to another file, as of a changed object, opens nothing. A
    ``bearer`` link asks nobody, and its life is short.

    ``user``, ``session`` (that of the request) and ``ip`` (an address or a network) say who alone can use it. ``uses``
    is how often, and ``revocable`` lets revoke_links() end it: both keep a row. ``disposition`` (inline, attachment)
    and ``filename`` are signed too. The token can be read by who has it: it is signed, not encrypted.

    Raises ValueError, and ImproperlyConfigured for a storage that the settings do not name, or without the link's URL.
    """
    _check(private_file, uses, disposition)
    if bearer and (view is not None or kwargs is not None):
        raise ValueError("A bearer link asks no view")
    guard = guards.Guard() if bearer else guards.guard_of(private_file, view, kwargs)
    claims = Claims(
        version=settings.get("PRIVATE_STORAGE_LINK_VERSION"),
        expires=int(time.time()) + _life(expire, bearer),
        name=private_file.relative_name,
        storage=_storage_name(private_file, guard),
        disposition=disposition,
        filename=filename,
        issuer=None if bearer else _issuer(private_file),
        view=guard.view,
        kwargs=guard.kwargs,
        user=None if user is None else audience.user_key(user),
        session=audience.session_hash(private_file.request) if session else None,
        network=None if ip is None else audience.network(ip),
    )
    if uses is None and not revocable:
        return _path(claims)
    return _path_with_row(claims, private_file, uses)


def open_link(request: HttpRequest, token: str) -> PrivateFile:
    """Return the file that ``token`` leads to, once all that it asks for holds; ``link`` of it is an OpenedLink.

    A use is taken by a GET, but for the later ranges of a client who took one in the last minutes; a HEAD takes none.
    Nothing is asked of the storage. Raises LinkError.
    """
    claims = _read(token)
    asked = _asked_file(request, claims)
    if not _is_for(request, claims):
        raise WrongAudience("The link is for another user, session or network", asked)
    row = _row(claims, asked)
    view = _view(asked, _user(claims, asked), claims)
    private_file = _admitted(view, claims)
    use = None if row is None or row.uses_left is None else _take(row, asked)
    private_file.link = OpenedLink(claims, request, view, use)
    return private_file


def revoke_links(link: Any = None, *, storage: Any = None, name: str | None = None, user: Any = None) -> int:
    """End links that have a row, and return how many: one (its URL, token or Link), or those of a file or a maker.

    ``storage`` is a storage or its name in the settings; for one without a name there, the URL name of the view. Raises
    ValueError for a link without a row: it ends when it expires, or its maker may not see the file any more.
    """
    rows = Link.objects.filter(revoked=False)
    if link is None and storage is None and name is None and user is None:
        raise TypeError("Say which links: link, storage, name or user")
    if link is not None:
        rows = rows.filter(pk=link.pk if isinstance(link, Link) else _row_number(str(link)))
    if storage is not None:
        rows = rows.filter(storage=storage if isinstance(storage, str) else storage_names.name_of(storage))
    if name is not None:
        rows = rows.filter(name=name)
    if user is not None:
        rows = rows.filter(made_by=user)
    return rows.update(revoked=True)


def clear_links(dry_run: bool = False) -> int:
    """Delete the rows of expired links, and nothing else; return how many there are."""
    rows = Link.objects.filter(expires__lt=timezone.now())
    if dry_run:
        return rows.count()
    rows.update(revoked=True)  # from here on nobody takes a use, which would be left without its link
    return rows.delete()[1].get(Link._meta.label, 0)


# Making


def _check(private_file: PrivateFile, uses: Any, disposition: str | None) -> None:
    if not is_canonical(private_file.relative_name):
        raise ValueError(f"No link is made for the name {private_file.relative_name!r}: it is not canonical")
    if disposition not in (None, "inline", "attachment"):
        raise ValueError(f"disposition is inline or attachment, not {disposition!r}")
    if uses is not None and (isinstance(uses, bool) or not isinstance(uses, int) or not 0 < uses < 2**31):
        raise ValueError(f"uses is a whole number from 1, not {uses!r}")


def _life(expire: Any, bearer: bool) -> int:
    limit = "PRIVATE_STORAGE_LINK_BEARER_EXPIRE" if bearer else "PRIVATE_STORAGE_LINK_LONGEST_EXPIRE"
    longest = min(settings.get(limit), settings.get("PRIVATE_STORAGE_LINK_LONGEST_EXPIRE"))
    if expire is DEFAULT:
        return min(settings.get("PRIVATE_STORAGE_LINK_EXPIRE"), longest)
    if isinstance(expire, bool) or not isinstance(expire, int) or not 0 < expire <= longest:
        raise ValueError(f"expire is 1 to {longest} seconds ({limit}), not {expire!r}")
    return expire


def _storage_name(private_file: PrivateFile, guard: guards.Guard) -> str | None:
    try:
        return storage_names.name_of(private_file.storage)
    except ImproperlyConfigured:
        if guard.view is None:
            raise
        return None  # the view knows


def _issuer(private_file: PrivateFile) -> str:
    user = getattr(private_file.request, "user", None)
    if user is None or user.pk is None:
        raise ValueError("A link asks the permission of the user who makes it: log in, or make a bearer link")
    return audience.user_key(user)


def _path_with_row(claims: Claims, private_file: PrivateFile, uses: int | None) -> str:
    maker = getattr(private_file.request, "user", None)
    if len(claims.name) > LONGEST_NAME:
        raise ValueError("The name is too long for a link that is counted or can be revoked")
    zone = datetime.timezone.utc if django_settings.USE_TZ else None
    row = Link(
        storage=claims.storage or str(claims.view),
        name=claims.name,
        made_by_id=getattr(maker, "pk", None),  # of a bearer link too, to be revoked with the others
        expires=datetime.datetime.fromtimestamp(claims.expires, zone),
        uses_left=uses,
    )
    path = _path(dataclasses.replace(claims, row=str(row.pk)))
    row.save(force_insert=True)
    return path


def _path(claims: Claims) -> str:
    said = {field: value for field, value in dataclasses.asdict(claims).items() if value is not None}
    token = signing.dumps(said, salt=SALT, compress=True)
    if len(token) > LONGEST_TOKEN:
        raise ValueError(f"The link would have {len(token)} characters, more than {LONGEST_TOKEN}: shorten the names")
    try:
        return reverse("serve_private_link", kwargs={"token": token})
    except NoReverseMatch as error:
        raise ImproperlyConfigured(
            'Links have no URL: put path("...", include("storages.private.link_urls")) into urlpatterns, before '
            "storages.private.urls, which take every path below theirs"
        ) from error


# Opening


def _read(token: str) -> Claims:
    if len(token) > LONGEST_TOKEN:
        raise BadLink("The token is too long")
    try:
        said = signing.loads(token, salt=SALT, max_age=settings.get("PRIVATE_STORAGE_LINK_LONGEST_EXPIRE"))
        claims = Claims(**said)
    except signing.SignatureExpired as error:
        raise ExpiredLink("The link is older than any may be") from error
    except (signing.BadSignature, ValueError, TypeError) as error:  # the latter two: signed here, but no link
        raise BadLink("The token is not one of ours") from error
    if claims.version != settings.get("PRIVATE_STORAGE_LINK_VERSION"):
        raise BadLink("The link is of another PRIVATE_STORAGE_LINK_VERSION")
    if time.time() >= claims.expires:
        raise ExpiredLink("The link has expired")
    return claims


def _asked_file(request: HttpRequest, claims: Claims) -> PrivateFile:
    """Return the file as the client asks for it: for signals. A storage that only the view knows is None."""
    try:
        storage: Any = None if claims.storage is None else storage_names.storage_called(claims.storage)
    except ImproperlyConfigured as error:
        raise BadLink("The settings have no such storage any more") from error
    return PrivateFile(request, storage, claims.name)


def _view(asked: PrivateFile, user: Any, claims: Claims) -> PrivateStorageView:
    request = guards.as_user(asked.request, user)
    try:
        view = guards.set_up(guards.Guard(claims.view, claims.kwargs), request, asked.storage, claims.name)
    except guards.NoGuardError as error:
        raise BadLink("The project has no such view any more") from error
    filename = claims.filename
    if claims.disposition is not None:
        view.content_disposition = claims.disposition
    if filename is not None:
        view.get_content_disposition_filename = lambda private_file: filename  # type: ignore[method-assign]
    return view


def _is_for(request: HttpRequest, claims: Claims) -> bool:
    return (
        (claims.user is None or visitors.is_user(request, claims.user))
        and (claims.session is None or audience.is_session(request, claims.session))
        and (claims.network is None or audience.is_in_network(request, claims.network))
    )


def _row(claims: Claims, asked: PrivateFile) -> Link | None:
    if claims.row is None:
        return None
    row = Link.objects.filter(pk=claims.row).first()
    if row is None or row.revoked:
        raise RevokedLink("The link was revoked", asked)
    return row


def _user(claims: Claims, asked: PrivateFile) -> Any:
    """Return who asks: the user who made the link, as the database has it now; of a bearer link, the client."""
    if claims.issuer is None:
        return getattr(asked.request, "user", None)
    try:
        user = get_user_model()._default_manager.get(pk=claims.issuer)
    except (ObjectDoesNotExist, ValidationError, ValueError) as error:  # the latter two: another kind of key
        raise DeniedLink("Who made the link is gone", asked) from error
    if not user.is_active:
        raise DeniedLink("Who made the link is not active", asked)
    return user


def _admitted(view: PrivateStorageView, claims: Claims) -> PrivateFile:
    if claims.issuer is None:
        return view.get_private_file()
    private_file = guards.admit(view, claims.name)
    if private_file is None:  # and the view has said so by file_denied
        raise DeniedLink("Who made the link may not see the file")
    return private_file


def _take(row: Link, asked: PrivateFile) -> LinkUse | None:
    """Take a use, or None where the request costs none."""
    client = audience.client_hash(asked.request)
    wanted = asked.request.headers.get("Range", "").lower().replace(" ", "")
    only_asks = asked.request.method == "HEAD" or wanted == "bytes=0-1"  # the latter is how Safari begins a video
    if (only_asks or _is_later(wanted)) and row.is_known(client, settings.get("PRIVATE_STORAGE_LINK_RESUME")):
        return None
    if only_asks and row.uses_left:
        return None
    use = None if only_asks else row.take(client)
    if use is None:
        raise UsedUpLink("The link is used up", asked)
    return use


def _is_later(wanted: str) -> bool:
    """Whether these are ranges of which none begins at the first byte; what is no range is the whole file."""
    unit, _equals, ranges = wanted.partition("=")
    return unit == "bytes" and all(_LATER_RANGE.fullmatch(one) for one in ranges.split(","))


# Revoking


def _row_number(link: str) -> str:
    """Return the number of a link's row, however old the link is. Raises ValueError."""
    token = unquote(link.rstrip("/").rpartition("/")[2])
    try:
        row = signing.loads(token, salt=SALT).get("row")
    except signing.BadSignature as error:
        raise ValueError("This is no link of ours") from error
    if row is None:
        raise ValueError("Only a link with uses=... or revocable=True can be revoked")
    return row
