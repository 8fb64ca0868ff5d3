"""For whom a link is: one user, one session, one network; what a token says of them is no secret."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from django.conf import settings as django_settings
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare, salted_hmac

from storages.private import settings

Network = IPv4Network | IPv6Network
SESSION_SALT = "storages.private.link.session"
CLIENT_SALT = "storages.private.link.client"


def user_key(user: Any) -> str:
    """Return the primary key of ``user`` as a token has it. Raises ValueError for nobody, and for an unsaved user."""
    if user is None or getattr(user, "pk", None) is None:
        raise ValueError("A link is bound to a user who is logged in, not to an anonymous or unsaved one")
    return user._meta.pk.value_to_string(user)


def session_hash(request: HttpRequest | None) -> str:
    """Return what a token says of the session of ``request``. Raises ValueError if it has none."""
    session = getattr(request, "session", None)
    if session is None or not session.session_key:
        raise ValueError("A link is bound to a session that is saved: log the user in, or call session.save() first")
    return _hmac(SESSION_SALT, session.session_key, django_settings.SECRET_KEY)


def network(value: Any) -> str:
    """Return an address or a network, as text or of ``ipaddress``, in its one form. Raises ValueError."""
    if isinstance(value, (str, IPv4Address, IPv6Address, IPv4Network, IPv6Network)):
        return str(ip_network(value, strict=False))
    raise ValueError(f"ip is an address or a network, 192.0.2.0/24 or 2001:db8::/48, not {value!r}")


def is_user(request: HttpRequest, key: str) -> bool:
    """Whether an active user with this primary key asks."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated or not user.is_active:
        return False
    return constant_time_compare(user_key(user), key)


def is_session(request: HttpRequest, hashed: str) -> bool:
    """Whether the session is the one, and still lives."""
    session = getattr(request, "session", None)
    if session is None or not session.session_key:
        return False
    session.get("")  # loads it: until then the key is only what the client says
    own = session.session_key or ""
    secrets = [django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS]
    return any(constant_time_compare(_hmac(SESSION_SALT, own, secret), hashed) for secret in secrets)


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
    return _hmac(CLIENT_SALT, "\n".join(parts), django_settings.SECRET_KEY)


def _hmac(salt: str, value: str, secret: str | bytes) -> str:
    return salted_hmac(salt, value, secret=secret, algorithm="sha256").hexdigest()
