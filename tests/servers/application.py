"""The project's WSGI application, in threads of this process."""

from __future__ import annotations

from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from .process import HOST
from .thread import ThreadServer


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


class Application(ThreadServer):
    """``with Application(app) as server`` serves a WSGI application below ``server.url``."""

    def __init__(self, application: Any):
        server = _Server((HOST, 0), _Quiet)
        server.set_app(application)
        super().__init__(server)
