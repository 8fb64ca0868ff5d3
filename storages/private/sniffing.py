"""What the first bytes of a file tell of its type: ``storages.sniffing``, by the name it had here first."""

from __future__ import annotations

from storages.sniffing import (
    ACTIVE_TYPES,
    ALIASES,
    HEAD,
    OCTETS,
    SIGNATURES,
    Signature,
    agrees,
    essence,
    fits,
    is_allowed,
)

__all__ = [
    "ACTIVE_TYPES",
    "ALIASES",
    "HEAD",
    "OCTETS",
    "SIGNATURES",
    "Signature",
    "agrees",
    "essence",
    "fits",
    "is_allowed",
]
