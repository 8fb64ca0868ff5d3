"""How much one user or session may upload at a time."""

from __future__ import annotations

from typing import Any

from django.db.models import Sum
from django.http import HttpRequest
from django.utils import timezone

from storages.uploads import settings
from storages.uploads.audience import Audience
from storages.uploads.errors import UploadError
from storages.uploads.models import State, Upload
from storages.uploads.permissions import resolved

OPEN = (State.BEGUN, State.UPLOADED, State.QUARANTINED)
UNCLAIMED = (*OPEN, State.FINISHED)
OVER = (State.ABORTED, State.EXPIRED, State.REJECTED)
SOON = 60  # seconds to wait at most, where an upload may be over at any time


def check_rate(request: HttpRequest, field: Any) -> None:
    """Ask the project's own hook. Raises UploadError rate_limited."""
    hook = resolved(settings.get("UPLOADS_RATE"), "UPLOADS_RATE")
    seconds = hook(request, field) if hook else None
    if seconds:
        raise UploadError("rate_limited", "Too many uploads; try again later.", retry_after=max(1, round(seconds)))


def check_room(request: HttpRequest, field: Any, audience: Audience, slot: str, files: int) -> None:
    """Count what there is, with the row that was just made: of two that begin at once, none gets past a limit.

    Raises UploadError slot_expired, too_many_open, quota_exceeded.
    """
    rows = Upload._base_manager.filter(**audience.rows, expires__gt=timezone.now())
    if slot and rows.filter(slot=slot).exclude(state__in=OVER).count() > files:
        raise UploadError("slot_expired", "This form has taken all the files that it may.", field="slot")
    if rows.filter(state__in=OPEN).count() > settings.get("UPLOADS_MAX_OPEN"):
        raise UploadError("too_many_open", "Too many uploads are under way.", retry_after=_wait(rows, OPEN))
    quota = _quota(request, field)
    if quota is None:
        return
    total = rows.filter(state__in=UNCLAIMED).aggregate(total=Sum("size"))["total"] or 0
    if total > quota:
        wait = _wait(rows, UNCLAIMED)
        raise UploadError("quota_exceeded", "Your uploads are too large together.", field="size", retry_after=wait)


def _quota(request: HttpRequest, field: Any) -> int | None:
    quota = resolved(settings.get("UPLOADS_QUOTA"), "UPLOADS_QUOTA")
    return quota(request, field) if callable(quota) else quota


def _wait(rows: Any, states: tuple[str, ...]) -> int:
    """Return in how many seconds the first of the rows ends by itself, if that is soon."""
    first = rows.filter(state__in=states).order_by("expires").first()
    left = (first.expires - timezone.now()).total_seconds() if first else 0
    return max(1, min(SOON, round(left)))
