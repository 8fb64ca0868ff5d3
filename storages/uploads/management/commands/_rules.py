"""What the commands for rules of buckets have in common."""

from __future__ import annotations

from typing import Any

from django.core.files.storage import InvalidStorageError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from storages.uploads import targets
from storages.uploads.services import Rules, Service, Unsupported, is_same, service_of


class _Missing(Exception):
    """A bucket has not the rules that it should have; the message says how many."""


class RulesCommand(BaseCommand):
    """Print the rules of buckets, or apply them: those that are there stay, and ours are put beside them."""

    requires_system_checks: list[str] = []
    what = ""  # cors or lifecycle

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--storage", action="append", metavar="ALIAS", help="Of STORAGES; default: all of fields. May be repeated."
        )
        parser.add_argument("--format", choices=("json", "xml", "cli"), default="json", help="What is printed.")
        parser.add_argument("--apply", action="store_true", help="Set the rules, with the storage's own credentials.")
        parser.add_argument(
            "--check", action="store_true", help="Change and print nothing; end with status 1 where a rule is missing."
        )
        parser.add_argument(
            "--offline", action="store_true", help="Ask no service: print our rules without those that it has."
        )

    def handle(self, **options: Any) -> None:
        if options["apply"] and options["check"]:
            raise CommandError("--check changes nothing, so that it cannot be with --apply")
        if (options["apply"] or options["check"]) and options["offline"]:
            raise CommandError("--apply merges with what is there, and --check compares: neither can be --offline")
        chosen, failed = self._chosen(options["storage"]), []
        if not chosen:
            raise CommandError("No field is uploaded to directly: name an alias of STORAGES with --storage")
        for label, storage in chosen.items():
            try:
                self._handle_one(label, storage, options)
            except Unsupported as reason:
                self.stderr.write(f"{label}: {reason}")
                failed += [label] if options["apply"] and _has_rules(storage) else []
            except _Missing as reason:
                self.stderr.write(f"{label}: {reason}")
                failed.append(label)
            except Exception as error:  # noqa: BLE001 -- of any SDK; the next storage has its turn
                self.stderr.write(f"{label}: {type(error).__name__}: {error}")
                failed.append(label)
        if failed:
            raise CommandError(f"Not {'as it should be' if options['check'] else 'done'} for {', '.join(failed)}")

    def wanted(self, service: Service, storage: Any, before: Rules, options: dict[str, Any]) -> Rules:
        """Return the rules that there should be, of which those that are there already are a part."""
        raise NotImplementedError

    def _chosen(self, aliases: list[str] | None) -> dict[str, Any]:
        try:
            return {alias: targets.named(alias) for alias in aliases} if aliases else targets.all_storages()
        except InvalidStorageError as error:
            raise CommandError(str(error)) from error

    def _handle_one(self, label: str, storage: Any, options: dict[str, Any]) -> None:
        service = service_of(storage)
        if not targets.kinds_of(storage):
            raise Unsupported("as it is configured, it signs no uploads: files come through this server (tus)")
        before = [] if options["offline"] else getattr(service, f"read_{self.what}")(storage)
        after = self.wanted(service, storage, before, options)
        if not options["apply"] and not options["check"]:
            self.stderr.write(f"{label}: {_counted(before, after)}")
            self.stdout.write(service.shown(storage, self.what, after, options["format"]))
        elif is_same(after, before):
            self.stdout.write(f"{label}: the rules are as they should be")
        elif options["check"]:
            raise _Missing(f"{_counted(before, after)}; --apply sets them")
        else:
            getattr(service, f"write_{self.what}")(storage, after)
            self.stdout.write(f"{label}: applied; {_counted(before, after)}")


def _has_rules(storage: Any) -> bool:
    try:
        service_of(storage)
    except Unsupported:
        return False
    return True


def _counted(before: Rules, after: Rules) -> str:
    kept = sum(any(is_same(one, rule) for rule in after) for one in before)
    return f"rules: {len(after)}, of which it has {kept}, and {len(after) - kept} are new or changed"
