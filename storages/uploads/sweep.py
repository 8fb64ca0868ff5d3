"""The sweep: what uploads have left that no form has taken, in the storages, in the spool and in the table.

An upload in parts whose process died before it could write down what the service calls it is found by its name, on S3.
Google lists no sessions, which end within a week, as Azure's blocks do; neither can be sent to by anybody then.

Every step may be done twice, and a claim and the sweep exclude each other by conditional updates; so two sweeps at a
time only share the work. What a storage did not delete keeps its row, for the next one.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from storages.base import batches
from storages.contract import DeleteError
from storages.lazy import unwrapped
from storages.terms import PART_KINDS
from storages.uploads import kinds, sealing, settings, spool, targets
from storages.uploads.errors import UploadError
from storages.uploads.limits import OVER, UNCLAIMED
from storages.uploads.models import State, Upload, free

BATCH = 500  # rows at a time, and objects of one delete_many()
# Beyond the life of an upload: another site may use the same bucket, and its clock may be another one.
MARGIN = datetime.timedelta(hours=2)
SESSION = datetime.timedelta(days=8)  # after which a resumable upload has ended by itself

logger = logging.getLogger("storages.uploads")

Progress = Callable[[int, int], None]  # rows done, of how many


@dataclasses.dataclass
class Report:
    """What was removed, or would be."""

    rows: int = 0
    objects: int = 0  # names that an upload may have written to, whether there was an object or not
    parts: int = 0  # uploads in parts that were given up
    orphans: int = 0  # objects under the staging prefix that no row knows
    files: int = 0  # of the spool
    kept: int = 0  # objects of a storage that names them after their content: nobody knows whose else they are
    problems: list[str] = dataclasses.field(default_factory=list)


def sweep(*, dry_run: bool = False, progress: Progress | None = None, now: datetime.datetime | None = None) -> Report:
    """Remove what is left of expired and ended uploads; what a form has taken stays, and its row.

    A storage that cannot be reached is told in ``problems``, and its rows stay.
    """
    now = now or timezone.now()
    report = Report()
    _sweep_rows(report, now, dry_run, progress)
    _sweep_copied(report, now, dry_run)
    for label, storage in targets.all_storages().items():
        _sweep_staging(report, label, storage, now, dry_run)
    _sweep_spool(report, now, dry_run)
    return report


# Rows


def _sweep_rows(report: Report, now: datetime.datetime, dry_run: bool, progress: Progress | None) -> None:
    rows = _expired(now)
    total, done, after = rows.count(), 0, None
    down: set[int] = set()  # storages that are not asked again
    while batch := list((rows.filter(pk__gt=after) if after else rows).order_by("pk")[:BATCH]):
        after = batch[-1].pk
        for storage, uploads in _by_storage(batch, report):
            if dry_run:
                _count(report, uploads)
            elif id(storage) not in down and not _sweep_uploads(report, storage, _ended(uploads, now)):
                down.add(id(storage))
        done += len(batch)
        if progress:
            progress(done, total)


def _expired(now: datetime.datetime) -> QuerySet[Upload]:
    """Return the rows whose time is over, but for those that a request is just finishing."""
    return Upload._base_manager.filter(free(now), expires__lt=now).exclude(state=State.CLAIMED)


def _ended(uploads: list[Upload], now: datetime.datetime) -> list[Upload]:
    """Return those of the uploads that nobody can take any more: from here on a claim finds them expired."""
    numbers = [upload.pk for upload in uploads]
    _expired(now).filter(pk__in=numbers, state__in=UNCLAIMED).update(state=State.EXPIRED)
    return list(_expired(now).filter(pk__in=numbers, state__in=OVER))


def _by_storage(uploads: list[Upload], report: Report) -> Iterator[tuple[Any, list[Upload]]]:
    grouped: dict[int, tuple[Any, list[Upload]]] = {}
    for field, ones in _by_field(uploads).items():
        try:
            storage = unwrapped(kinds.storage_of(ones[0]))
        except UploadError:
            report.problems.append(f"{len(ones)} uploads to {field} stay: there is no such field any more")
            continue
        grouped.setdefault(id(storage), (storage, []))[1].extend(ones)
    yield from grouped.values()


def _by_field(uploads: list[Upload]) -> dict[str, list[Upload]]:
    grouped: dict[str, list[Upload]] = defaultdict(list)
    for upload in uploads:
        grouped[upload.field].append(upload)
    return grouped


def _count(report: Report, uploads: list[Upload]) -> None:
    report.rows += len(uploads)
    report.parts += sum(_has_parts(upload) for upload in uploads)
    report.objects += len({name for upload in uploads for name in _names(upload)})


def _sweep_uploads(report: Report, storage: Any, uploads: list[Upload]) -> bool:
    """Remove the uploads of one storage, and their rows; whether it is worth to ask the storage for more."""
    try:
        kept = _give_up(report, storage, uploads)
        left = [upload for upload in uploads if upload.pk not in kept]
        kept |= _delete_objects(report, storage, left)
    except Exception as error:  # noqa: BLE001 -- of any SDK: the other storages have their turn
        report.problems.append(f"{len(uploads)} uploads stay, {_why(storage, error)}")
        return False
    for upload in uploads:
        if upload.pk not in kept:
            spool.discard(upload)
    over = Upload._base_manager.filter(pk__in=[one.pk for one in uploads if one.pk not in kept], state__in=OVER)
    report.rows += over.delete()[1].get(Upload._meta.label, 0)  # not counting those of their parts
    return True


def _give_up(report: Report, storage: Any, uploads: list[Upload]) -> set[Any]:
    """Give up what was sent in parts; return the numbers of the uploads where that failed."""
    failed = set()
    for upload in filter(_has_parts, uploads):
        try:
            storage.abandon_upload(upload.target, upload.kind, kinds.state_of(upload))
            report.parts += 1
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:  # noqa: BLE001 -- of any SDK: the others have their turn
            if upload.kind in sealing.SECRET_KINDS and upload.created < timezone.now() - SESSION:
                continue  # what opened it may be sealed with a key that is gone
            report.problems.append(f"upload {upload.pk} stays: {type(error).__name__}: {error}")
            failed.add(upload.pk)
    return failed


def _delete_objects(report: Report, storage: Any, uploads: list[Upload]) -> set[Any]:
    """Delete what the uploads may have stored; return the numbers of those that still have something."""
    if getattr(getattr(storage, "capabilities", None), "content_addressed", False):
        report.kept += sum(bool(_names(upload)) for upload in uploads)
        return set()  # the same bytes may be somebody else's file too
    owner = {name: upload.pk for upload in uploads for name in _names(upload)}
    errors = _deleted(storage, owner)
    report.objects += len(owner) - len(errors)
    report.problems += [f"{name!r} stays: {type(error).__name__}: {error}" for name, error in errors.items()]
    return {owner[name] for name in errors}


def _deleted(storage: Any, names: Iterable[str]) -> dict[str, BaseException]:
    """Delete objects, in few requests where the storage can; return what is still there, and why.

    Raises what the storage raises where no other request would do better.
    """
    if not hasattr(storage, "delete_many"):
        return _deleted_singly(storage, names)
    left: list[str] = []
    for batch in batches(names, BATCH):
        try:
            storage.delete_many(batch)
        except DeleteError as error:
            left += error.errors
    return _deleted_singly(storage, left)


def _deleted_singly(storage: Any, names: Iterable[str]) -> dict[str, BaseException]:
    """Delete objects with what hangs on them, one by one."""
    errors: dict[str, BaseException] = {}
    for name in names:
        try:
            kinds.delete(storage, name)
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:  # noqa: BLE001 -- of a storage of somebody else
            errors[name] = error
    return errors


def _sweep_copied(report: Report, now: datetime.datetime, dry_run: bool) -> None:
    """Delete what was sent once more, by a form that was still signed, to where a taken file was copied from.

    Only a name outside the staging prefix, as S3FileField's forms have: inside, it is an orphan like any other.
    """
    prefix = settings.get("UPLOADS_STAGING").strip("/") + "/"
    rows = Upload._base_manager.filter(state=State.CLAIMED, expires__lt=now).exclude(staging="")
    rows, after = rows.exclude(staging__startswith=prefix), None
    while batch := list((rows.filter(pk__gt=after) if after else rows).order_by("pk")[:BATCH]):
        after = batch[-1].pk
        for storage, uploads in _by_storage(batch, report):
            names = {upload.staging for upload in uploads if upload.staging != upload.name}
            try:
                errors = {} if dry_run else _deleted(storage, names)
            except Exception as error:  # noqa: BLE001 -- likewise
                report.problems.append(f"{len(names)} names stay, {_why(storage, error)}")
                continue
            report.objects += len(names) - len(errors)
            report.problems += [f"{name!r} stays: {type(error).__name__}: {error}" for name, error in errors.items()]
            if not dry_run:
                done = [upload.pk for upload in uploads if upload.staging not in errors]
                Upload._base_manager.filter(pk__in=done).update(staging="")


def _has_parts(upload: Upload) -> bool:
    return upload.kind in PART_KINDS


def _names(upload: Upload) -> set[str]:
    """Return the names that an upload may have written to; one that has not come whole through here has none."""
    if upload.kind == spool.KIND and upload.offset < upload.size:
        return set()
    return {name for name in (upload.staging, upload.name) if name}


# Objects without a row


def _sweep_staging(report: Report, label: str, storage: Any, now: datetime.datetime, dry_run: bool) -> None:
    """Delete what lies under the staging prefix for longer than any upload may take."""
    prefix = settings.get("UPLOADS_STAGING").strip("/")
    if not prefix or not targets.kinds_of(storage):  # nobody but this server writes there
        return
    before = _before(now)
    try:
        for batch in batches(storage.walk(prefix), BATCH):
            old = [entry.name for entry in batch if entry.modified and entry.modified < before]
            orphans = set(old) - _known(old)
            errors = {} if dry_run else _deleted(storage, orphans)
            report.orphans += len(orphans) - len(errors)
            report.problems += [f"{name!r} stays: {type(error).__name__}: {error}" for name, error in errors.items()]
    except Exception as error:  # noqa: BLE001 -- of any SDK: the other storages have their turn
        report.problems.append(f"{label}: {prefix}/ was not looked at: {type(error).__name__}: {error}")


def _before(now: datetime.datetime) -> datetime.datetime:
    """Return before when what no row knows is of no upload under way; aware, as times of objects are."""
    aware = timezone.make_aware(now) if timezone.is_naive(now) else now
    return aware - datetime.timedelta(seconds=settings.get("UPLOADS_EXPIRE")) - MARGIN


def _known(names: list[str]) -> set[str]:
    """Return those of the names that a row still has: they go with it."""
    rows = Upload._base_manager.filter(staging__in=names).exclude(state=State.CLAIMED)
    return set(rows.values_list("staging", flat=True))


def _sweep_spool(report: Report, now: datetime.datetime, dry_run: bool) -> None:
    """Remove the files of uploads that take no more bytes, and old ones of none: another site may have them here."""
    before = _before(now).timestamp()
    for batch in batches(spool.files(), BATCH):
        rows = Upload._base_manager.filter(pk__in=[number for number, _ in batch])
        states = dict(rows.values_list("pk", "state"))
        for number, path in batch:
            if (states[number] in spool.WAITING) if number in states else (spool.written(path) > before):
                continue
            report.files += 1
            if not dry_run:
                spool.remove(path)


def _why(storage: Any, error: Exception) -> str:
    name = type(storage).__name__
    if isinstance(error, (ConnectionError, TimeoutError)):
        return f"{name} cannot be reached: {error}"
    return f"{name} does not delete: {type(error).__name__}: {error}"
