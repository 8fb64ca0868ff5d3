"""A server in a thread of this process."""

from __future__ import annotations

import socketserver
import threading
from typing import TYPE_CHECKING

from .process import HOST

if TYPE_CHECKING:
    from typing_extensions import Self


class ThreadServer:
    """``with`` starts and stops it, as ``start()`` and ``stop()`` do; it listens from the beginning."""

    def __init__(self, server: socketserver.BaseServer):
        self._server = server
        name = type(self).__name__
        self._thread = threading.Thread(target=server.serve_forever, args=(0.05,), name=name, daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
