"""What a bucket has to be told of direct uploads: by CORS rules who may send, by lifecycle rules what is kept how long.

A service is a module beside this one; it is found by the class of a storage, so that no SDK is loaded for another.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol

# Modules of storages.backends to those here.
_SERVICES = {"s3": "s3", "gcloud": "gcs", "azure_storage": "azure"}

Rules = list[dict[str, Any]]  # as the service's own API has them

MAX_AGE = 3600  # seconds that a browser remembers an answer to a preflight


class Unsupported(Exception):
    """The service has no such rules, or none that can be set here; the message says what there is to do."""


class Service(Protocol):
    """What a module here has. Rules are merged: what others have set stays, but for what we have set ourselves."""

    def cors(self, storage: Any, origins: list[str], before: Rules) -> Rules: ...

    def read_cors(self, storage: Any) -> Rules: ...

    def write_cors(self, storage: Any, rules: Rules) -> None: ...

    def lifecycle(self, storage: Any, prefix: str, days: int, before: Rules) -> Rules: ...

    def read_lifecycle(self, storage: Any) -> Rules: ...

    def write_lifecycle(self, storage: Any, rules: Rules) -> None: ...

    def shown(self, storage: Any, what: str, rules: Rules, form: str) -> str: ...


def service_of(storage: Any) -> Service:
    """Return the Service of a storage. Raises Unsupported."""
    modules = [cls.__module__.rpartition(".") for cls in type(storage).__mro__]
    for package, _, name in modules:
        if package == "storages.backends" and name in _SERVICES:
            service: Any = importlib.import_module(f"{__name__}.{_SERVICES[name]}")
            return service
    if any(package == "storages.backends" and name == "dropbox" for package, _, name in modules):
        raise Unsupported("Dropbox answers every origin, and its links end after hours: there is nothing to do")
    raise Unsupported(
        "files come through this server (tus), which needs no rules: let manage.py uploads_sweep run now and then"
    )


def put_in(before: Rules, ours: Rules, is_it: Callable[[dict[str, Any], dict[str, Any]], bool]) -> Rules:
    """Return ``before`` with each of ``ours`` in the place of the one that it is, or else at the end."""
    rules, left = [], list(ours)
    for one in before:
        place = next((number for number, rule in enumerate(left) if is_it(one, rule)), None)
        rules.append(one if place is None else left.pop(place))
    return [*rules, *left]


def with_origins(rule: dict[str, Any], key: str, before: Rules) -> Rules:
    """Return ``before`` and ``rule``, made one with a rule that differs in nothing but the origins under ``key``."""

    def is_it(one: dict[str, Any], other: dict[str, Any]) -> bool:
        return is_same({**one, key: None}, {**other, key: None})

    known: list[str] = next((one[key] for one in before if is_it(one, rule)), [])
    return put_in(before, [{**rule, key: joined(known, rule[key])}], is_it)


def joined(known: list[str], more: list[str]) -> list[str]:
    """Return both lists as one, without what is in it twice."""
    return list(dict.fromkeys([*known, *more]))


def is_same(one: Any, other: Any) -> bool:
    """Whether rules say the same: services give lists back in an order of their own."""
    return bool(_sorted(one) == _sorted(other))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(said) for name, said in sorted(value.items())}
    return sorted((_sorted(one) for one in value), key=repr) if isinstance(value, (list, tuple)) else value
