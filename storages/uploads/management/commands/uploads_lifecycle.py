"""``manage.py uploads_lifecycle``: how long buckets keep what no form has taken."""

from __future__ import annotations

import math
import posixpath
from typing import Any

from django.core.management.base import CommandError, CommandParser

from storages.uploads import settings
from storages.uploads.management.commands._rules import RulesCommand
from storages.uploads.services import Rules, Service

DAY = 24 * 3600  # seconds


class Command(RulesCommand):
    help = (
        "Print the lifecycle rules that remove what was uploaded and never used, or apply them: a safety net below "
        "uploads_sweep. Rules that a bucket has already stay."
    )
    what = "lifecycle"

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--days", type=int, help="Age of what is removed; default: UPLOADS_EXPIRE and a day.")

    def handle(self, **options: Any) -> None:
        least = math.ceil(settings.get("UPLOADS_EXPIRE") / DAY)
        options["days"] = least + 1 if options["days"] is None else options["days"]
        if options["days"] < least:
            raise CommandError(f"--days: uploads take up to {least} (UPLOADS_EXPIRE)")
        if not settings.get("UPLOADS_STAGING").strip("/"):
            raise CommandError("UPLOADS_STAGING is empty: a rule for it would remove the whole bucket")
        super().handle(**options)

    def wanted(self, service: Service, storage: Any, before: Rules, options: dict[str, Any]) -> Rules:
        prefix = posixpath.join(storage.location, settings.get("UPLOADS_STAGING").strip("/"), "").lstrip("/")
        return service.lifecycle(storage, prefix, options["days"], before)
