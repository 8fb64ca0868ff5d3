"""uvicorn, with an application of a test in one process."""

from __future__ import annotations

from .gunicorn import AppServer
from .process import HOST


class Uvicorn(AppServer):
    """uvicorn with h11, which it brings along."""

    name = "uvicorn"
    package = "uvicorn"

    def _arguments(self) -> list[str]:
        return ["uvicorn", "--host", HOST, "--port", str(self.port), "--no-access-log", self._application]
