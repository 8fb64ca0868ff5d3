"""A web server over a directory, as it stands beside a file server."""

from __future__ import annotations

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .process import HOST

if TYPE_CHECKING:
    from typing_extensions import Self


class Web:
    """``with Web(directory) as web`` serves the files below ``directory`` at ``web.url``."""

    def __init__(self, directory: Path):
        self._server = ThreadingHTTPServer((HOST, 0), functools.partial(_Quiet, directory=str(directory)))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://{HOST}:{self._server.server_address[1]}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass
