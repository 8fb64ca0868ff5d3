"""``manage.py ipfs_backup DIRECTORY``: a CAR archive of every pinned file of an IPFS node."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from django.core.files.storage import InvalidStorageError, storages
from django.core.management.base import BaseCommand, CommandError, CommandParser

from storages.backends.ipfs import IPFSStorage


class Command(BaseCommand):
    help = "Write a CAR archive of every pinned file that DIRECTORY does not have yet; any IPFS node can import them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("directory", type=Path, help="Where the archives go; each is named after its CID.")
        parser.add_argument("--storage", default="default", help="Name of the storage in STORAGES (default: default).")

    def handle(self, *, directory: Path, storage: str, **options: Any) -> None:
        if not directory.is_dir():
            raise CommandError(f"There is no directory {str(directory)!r}: create it first")
        written = 0
        source = _ipfs_storage(storage)
        for entry in source.walk():
            archive = directory / f"{entry.name}.car"
            if archive.exists():  # what a CID names never changes
                continue
            unfinished = archive.with_suffix(".part")
            with source.client.export_car(entry.name) as car, unfinished.open("wb") as target:
                shutil.copyfileobj(car, target)
            unfinished.replace(archive)
            written += 1
        self.stdout.write(f"{written} archives written to {directory}")


def _ipfs_storage(alias: str) -> IPFSStorage:
    try:
        storage = storages[alias]
    except InvalidStorageError as error:
        raise CommandError(f"STORAGES has no {alias!r}; name one by --storage") from error
    if not isinstance(storage, IPFSStorage):
        raise CommandError(f"The storage {alias!r} is no IPFSStorage; name one by --storage")
    return storage
