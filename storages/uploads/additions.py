"""What an object has that nobody granted: headers that a client may add where a signature does not name them all."""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from storages.contract import ANY, Stat

# Of Cache-Control: with these, caches keep less. Browsers send "no-cache" by themselves with a conditional request, and
# services tell "private, max-age=0" of an object that was given nothing.
_LESS = {"max-age=0", "must-revalidate", "no-cache", "no-store", "no-transform", "private", "proxy-revalidate", ""}


def of(stat: Stat, storage: Any, *names: str) -> list[str]:
    """Return the headers of an object that its storage gives to none of ``names``: where it was sent, or copied to."""
    found = {name: value for name, value in (stat.headers or {}).items() if not _is_harmless(name, value)}
    if not found:
        return []
    own: list[Mapping[str, str]] = [storage.own_headers(name) for name in dict.fromkeys(names)]
    return sorted(name for name, value in found.items() if all(one.get(name) not in (ANY, value) for one in own))


def _is_harmless(name: str, value: str) -> bool:
    if name == "cache-control":
        return {said.strip().lower() for said in value.split(",")} <= _LESS
    return name == "expires" and _is_past(value)


def _is_past(value: str) -> bool:
    try:
        return email.utils.parsedate_to_datetime(value).timestamp() <= timezone.now().timestamp()
    except (TypeError, ValueError):
        return True  # RFC 9111, 5.3: what is no date is in the past
