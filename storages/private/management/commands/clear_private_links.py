"""``manage.py clear_private_links``: the rows of expired links are deleted."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from storages.private.links import clear_links


class Command(BaseCommand):
    help = "Delete the rows of links to private files that have expired, and nothing else."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Only say how many there are.")

    def handle(self, *, dry_run: bool, **options: Any) -> None:
        count = clear_links(dry_run)
        self.stdout.write(f"{count} expired links" + ("" if dry_run else " deleted"))
