"""The table of what is measured: one side is a package, a delivery and the servers below them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OURS, DJANGO, PRIVATE, SENDFILE = "ours", "FileResponse", "django-private-storage", "django-sendfile2"
PACKAGES = ("gunicorn", "uvicorn", "django-private-storage", "django-sendfile2")
INTERNAL = "/private-x-accel-redirect/"


@dataclass(frozen=True)
class Side:
    """One way to serve a file. ``than`` are the sides that ours is not to be slower than."""

    package: str
    delivery: str
    view: str
    server: str = "gunicorn"
    front: str | None = None
    cloud: bool = False
    apps: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    than: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """How the side is called on the command line."""
        where = "s3" if self.cloud else "disk"
        return f"{self.package}:{self.delivery}:{self.front or self.server}:{where}".replace(" ", "-")

    @property
    def through(self) -> str:
        """What stands between the client and the file."""
        return " + ".join(filter(None, [self.front, self.server]))


def make_sides() -> list[Side]:
    """Return every side, those that are compared beside each other."""
    sides = []
    for server in ("gunicorn", "uvicorn"):
        plain = Side(DJANGO, "FileResponse", "serve_file", server)
        private = _private("django", server)
        sides += [plain, _sendfile("simple", server), private]
        sides += [_ours("django", server, than=(plain.id, private.id))]
    private = _private("nginx", front="nginx", PRIVATE_STORAGE_INTERNAL_URL=INTERNAL)
    sides += [_sendfile("nginx", front="nginx"), private, _ours("nginx", front="nginx", than=(private.id,))]
    private = _private("apache", front="apache")
    sides += [_sendfile("xsendfile", front="apache"), private, _ours("apache", front="apache", than=(private.id,))]
    sides += [_ours("lighttpd", front="lighttpd")]
    for server in ("gunicorn", "uvicorn"):
        plain = Side(DJANGO, "FileResponse", "serve_from_storage", server, cloud=True)
        private = _private("django", server, cloud=True)
        sides += [plain, private, _ours("django", server, cloud=True, than=(plain.id, private.id))]
    sides += [_ours("nginx-proxy", front="nginx", cloud=True), _ours("redirect", cloud=True)]
    return sides


def _ours(delivery, server="gunicorn", than=(), **more):
    settings = {"PRIVATE_STORAGE_SERVER": delivery}
    app = "storages.private"
    return Side(OURS, delivery, f"{app}.urls", server, apps=(app,), settings=settings, than=than, **more)


def _private(delivery, server="gunicorn", front=None, cloud=False, **settings):
    settings["PRIVATE_STORAGE_SERVER"] = delivery
    return Side(PRIVATE, delivery, "private_storage.urls", server, front, cloud, ("private_storage",), settings)


def _sendfile(delivery, server="gunicorn", front=None):
    settings = {"SENDFILE_BACKEND": f"django_sendfile.backends.{delivery}", "SENDFILE_URL": INTERNAL}
    return Side(SENDFILE, delivery, "serve_by_sendfile", server, front, settings=settings)
