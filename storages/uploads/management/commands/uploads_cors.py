"""``manage.py uploads_cors``: from which sites browsers may send files to the buckets."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import CommandError, CommandParser

from storages.uploads.management.commands._rules import RulesCommand
from storages.uploads.services import Rules, Service


class Command(RulesCommand):
    help = "Print the CORS rules that direct uploads need, or apply them. Rules that a bucket has already stay."
    what = "cors"

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--origin", action="append", required=True, metavar="URL",
            help="Of the pages that upload: https://example.com. May be repeated.",
        )  # fmt: skip
        parser.add_argument(
            "--any-origin", action="store_true", help="Let --origin '*' be: any page may then use a grant it got."
        )

    def handle(self, **options: Any) -> None:
        for origin in options["origin"]:
            _check(origin, any_origin=options["any_origin"])
        super().handle(**options)

    def wanted(self, service: Service, storage: Any, before: Rules, options: dict[str, Any]) -> Rules:
        return service.cors(storage, list(dict.fromkeys(options["origin"])), before)


def _check(origin: str, *, any_origin: bool) -> None:
    if origin == "*":
        if not any_origin:
            raise CommandError("'*' lets every site upload with a grant it has got: say --any-origin if that is meant")
        return
    try:
        parts = urlsplit(origin)
        is_one = f"{parts.scheme}://{parts.netloc}" == origin and parts.scheme in ("http", "https")
        is_one = is_one and bool(parts.hostname) and "*" not in origin and "@" not in origin and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one or origin != origin.lower():
        raise CommandError(f"{origin!r} is no origin: https://example.com, in lower case and without a path")
