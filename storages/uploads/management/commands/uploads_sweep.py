"""``manage.py uploads_sweep``: what uploads have left that no form has taken is removed; let it run every hour."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from storages.uploads.sweep import Report, sweep


class Command(BaseCommand):
    help = "Remove expired uploads that no form has taken: their objects, parts, spool files and rows."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Only say what there is.")

    def handle(self, *, dry_run: bool, **options: Any) -> None:
        progress = self._progress if self.stdout.isatty() and options["verbosity"] else None
        report = sweep(dry_run=dry_run, progress=progress)
        self.stdout.write(_told(report, dry_run=dry_run))
        for problem in report.problems:
            self.stderr.write(problem)
        if report.problems:
            raise CommandError("Something was left; what stays is tried again by the next sweep")

    def _progress(self, done: int, total: int) -> None:
        self.stdout.write(f"\r{done} of {total} uploads", ending="\n" if done == total else "")
        self.stdout.flush()


def _told(report: Report, *, dry_run: bool) -> str:
    told = (
        f"{report.rows} uploads, {report.objects} names of objects, {report.parts} sent in parts, "
        f"{report.orphans} orphans, {report.files} spool files " + ("to remove" if dry_run else "removed")
    )
    return told + (f"; {report.kept} objects named after their content stay" if report.kept else "")
