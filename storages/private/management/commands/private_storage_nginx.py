"""``manage.py private_storage_nginx``: the nginx locations from which private files are sent."""

from __future__ import annotations

import ssl
import textwrap
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from storages.lazy import unwrapped
from storages.private import locations, nginx, servers
from storages.private.servers import NginxProxyServer, NginxXAccelRedirectServer

DEBIAN = "/etc/ssl/certs/ca-certificates.crt"

ABOUT = """\
# Printed by manage.py private_storage_nginx; print it anew when the storages change.
# It goes inside server {}, beside the location that hands requests on to the application:
#     include /etc/nginx/private_storage.conf;
# A host of a cloud is looked up when nginx starts: let nginx reload now and then, such as once a day."""

FULL = """\
events {{}}
http {{
    server {{
        listen 80;
        location / {{
            proxy_pass http://127.0.0.1:8000;  # the application
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
{locations}
    }}
}}"""


class Command(BaseCommand):
    help = "Print the nginx locations of all private storages, for the deliveries 'nginx' and 'nginx-proxy'."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--storage", metavar="ALIAS", help="Only this storage, private or not.")
        parser.add_argument("--full", action="store_true", help="A whole configuration, to begin with or for nginx -t.")
        parser.add_argument(
            "--hide", action="append", default=[], metavar="HEADER",
            help="A header of a cloud, such as x-amz-meta-author, that no client is to see; may be repeated.",
        )  # fmt: skip
        parser.add_argument("--authorities", metavar="FILE", help="PEM file of who may vouch for a cloud's host.")

    def handle(self, *, storage: str | None, full: bool, **options: Any) -> None:
        try:
            self._hide = [nginx.header(name) for name in options["hide"]]
            self._authorities = options["authorities"] or ssl.get_default_verify_paths().cafile or DEBIAN
            nginx.text(self._authorities)
            text = self._text(storage)
        except (ImproperlyConfigured, ImportError, ValueError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(FULL.format(locations=textwrap.indent(text, " " * 8)) if full else text)

    def _text(self, alias: str | None) -> str:
        parts, seen = [ABOUT], set()
        wanted = {alias: locations.named(alias)} if alias else locations.private_storages()
        if not wanted:
            raise CommandError("There is no private storage: set PRIVATE_STORAGE_ROOT, or STORAGES['private']")
        for label, storage in wanted.items():
            uri = locations.internal_url(storage)
            if uri in seen:
                raise CommandError(f"Two storages have the location {uri}; give one of them another 'internal_url'")
            seen.add(uri)
            problem = None if alias else _problem_of(storage)
            found = f"# {problem}" if problem else nginx.location_of(storage, self._hide, self._authorities)
            parts.append(f"# {label}: {_class_name(storage)}\n{found}")
        return "\n\n".join(parts)


def _problem_of(storage: Any) -> str | None:
    """Return why nginx can send the files of ``storage`` in neither way, or None."""
    problems = [servers.problem_of(cls, storage) for cls in (NginxXAccelRedirectServer, NginxProxyServer)]
    return problems[-1] if all(problems) else None


def _class_name(storage: Any) -> str:
    return type(unwrapped(storage)).__name__
