"""For whom a link is: one user, one session, one network; what a token says of them is no secret."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from django.http import HttpRequest

from storages import visitors
from storages.private import settings

Network = IPv4Network | IPv6Network
SESSION_SALT = "storages.private.link.session"
CLIENT_SALT = "storages.private.link.client"


def user_key(user: Any) -> str:
    """Return the primary key of ``user`` as a token has it. Raises ValueError for nobody, and for an unsaved user."""
    if user is None or getattr(user, "pk", None) is None:
        raise ValueError("A link is bound to a user who is logged in, not to an anonymous or unsaved one")
    return visitors.user_key(user)


def session_hash(request: HttpRequest | None) -> str:
    """Return what a token says of the session of ``request``. Raises ValueError if it has none."""
    session = getattr(request, "session", None)
    if session is None or not session.session_key:
        raise ValueError("A link is bound to a session that is saved: log the user in, or call session.save() first")
    return visitors.hashed(SESSION_SALT, session.session_key)


def network(value: Any) -> str:
    """Return an address or a network, as text or of ``ipaddress``, in its one form. Raises ValueError."""
    if isinstance(value, (str, IPv4Address, IPv6Address, IPv4Network, IPv6Network)):
        return str(ip_network(value, strict=False))
    raise ValueError(f"ip is an address or a network, 192.0.2.0/24 or 2001:db8::/48, not {value!r}")


def is_session(request: HttpRequest, said: str) -> bool:
    """Whether the session is the one, and still lives."""
    return visitors.is_session(request, SESSION_SALT, said)


def is_in_network(request: HttpRequest, text: str) -> bool:
    """Whether the client's address is in the network."""
    try:
        address = ip_address(client_address(request))
    except ValueError:  # none, behind a Unix socket
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address in ip_network(text)


def client_address(request: HttpRequest) -> str:
    """Return the address that the setting's function finds, or that of the connection.

    X-Forwarded-For is never read here: only a project knows which of its proxies to believe.
    """
    dotted = settings.get("PRIVATE_STORAGE_LINK_IP_FUNCTION")
    return str(settings.resolve(dotted)(request) if dotted else request.META.get("REMOTE_ADDR", ""))


def client_hash(request: HttpRequest) -> str:
    """Return what tells the client of a download that goes on from any other."""
    session = getattr(request, "session", None)
    parts = [
        getattr(session, "session_key", None) or "",
        client_address(request),
        request.META.get("HTTP_USER_AGENT", ""),
    ]
    return visitors.hashed(CLIENT_SALT, "\n".join(parts))
