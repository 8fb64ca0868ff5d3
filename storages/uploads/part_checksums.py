"""The checksums that parts were signed with: one for each part, for as long as the upload is open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.db import router, transaction
from django.db.models import QuerySet

from storages.uploads.errors import UploadError
from storages.uploads.models import PartChecksum, State, Upload


def keep(upload: Upload, checksums: Mapping[int, str]) -> None:
    """Remember what is to be signed. The first checksum of a part is the only one, whoever else asks at the same time.

    So it is known which of two the service has compared. Raises UploadError checksum_mismatch, state_conflict.
    """
    # In one order for everybody: else two such inserts could each wait for a row of the other.
    ordered = sorted(checksums.items())
    rows = [PartChecksum(upload_id=upload.pk, number=number, checksum=one) for number, one in ordered]
    using = router.db_for_write(PartChecksum)
    with transaction.atomic(using=using):
        # An UPDATE locks the row, as no SELECT does on SQLite: a sweep deletes the upload before or after, whole.
        alive = Upload._base_manager.using(using).filter(pk=upload.pk, state=State.BEGUN)
        if alive.update(part_checksums=True):
            _rows().bulk_create(rows, ignore_conflicts=True)
    kept = of(upload, checksums)
    if checksums.keys() - kept.keys():
        raise UploadError("state_conflict", "Another request has changed this upload; ask again.", retry_after=1)
    if any(kept[number] != one for number, one in checksums.items()):
        detail = "The file has changed since its upload was begun; choose it again."
        raise UploadError("checksum_mismatch", detail, field="checksums")


def of(upload: Upload, numbers: Iterable[int] | None = None) -> dict[int, str]:
    """Return the checksums of some parts or all, by number."""
    if not upload.part_checksums:
        return {}
    return dict(_of(upload, numbers).values_list("number", "checksum"))


def forget(upload: Upload, numbers: Iterable[int] | None = None) -> None:
    """Let some parts, or all, be signed anew."""
    if upload.part_checksums:
        _of(upload, numbers).delete()


def _of(upload: Upload, numbers: Iterable[int] | None) -> QuerySet[PartChecksum]:
    rows = _rows().filter(upload_id=upload.pk)
    return rows if numbers is None else rows.filter(number__in=list(numbers))


def _rows() -> QuerySet[PartChecksum]:
    # Where they are written: what has just been kept is not yet with a replica.
    return PartChecksum._base_manager.using(router.db_for_write(PartChecksum))
