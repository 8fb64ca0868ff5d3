"""Storages that sign nothing for others to send: what is uploaded to them goes through the application."""

from __future__ import annotations

import pytest

from storages.backends.apache_libcloud import LibCloudStorage
from storages.backends.b2 import B2Storage
from storages.backends.ftp import FTPStorage
from storages.backends.ipfs import IPFSStorage
from storages.backends.sftpstorage import SFTPStorage
from storages.contract import UploadTerms
from storages.terms import PART_KINDS, SINGLE_KINDS

# B2's own upload URL takes any name in the bucket for a day, so that no browser may have one.
STORAGES = [B2Storage, FTPStorage, IPFSStorage, LibCloudStorage, SFTPStorage]
TERMS = UploadTerms(size=3, content_type="image/png", seconds=300)
IN_PARTS = UploadTerms(size=3, content_type="image/png", seconds=300, part_size=3)


def deeds(storage):
    yield from ((storage.presign_upload, kind, TERMS) for kind in SINGLE_KINDS)
    yield from ((storage.open_upload, kind, IN_PARTS) for kind in PART_KINDS)
    yield from ((storage.presign_part, kind, "state", 1, IN_PARTS) for kind in PART_KINDS)
    yield from ((storage.received_parts, kind, "state") for kind in PART_KINDS)
    yield from ((storage.close_upload, kind, "state", IN_PARTS) for kind in PART_KINDS)
    yield from ((storage.abandon_upload, kind, "state") for kind in PART_KINDS)


@pytest.mark.threat("T-33")
@pytest.mark.parametrize("cls", STORAGES)
def test_nothing_is_offered_and_nothing_is_signed(cls, monkeypatch):
    monkeypatch.setattr(cls, "client", property(lambda self: pytest.fail("nobody is asked")))
    storage = cls()
    assert storage.upload_kinds == {}
    for deed, *arguments in deeds(storage):
        with pytest.raises(ValueError, match="offers none"):
            deed("a.png", *arguments)
