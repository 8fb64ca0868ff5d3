"""A web server over a directory, as it stands beside a file server."""

from __future__ import annotations

import functools
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .process import HOST
from .thread import ThreadServer

if TYPE_CHECKING:
    pass


class Web(ThreadServer):
    """``with Web(directory) as web`` serves the files below ``directory`` below ``web.url``."""

    def __init__(self, directory: Path):
        super().__init__(ThreadingHTTPServer((HOST, 0), functools.partial(_Quiet, directory=str(directory))))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass
