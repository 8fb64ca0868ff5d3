"""nginx in front of the application, with locations to which it redirects internally."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .fronts import Front
from .process import HOST, find_program, free_ports

MAIN = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
{user}
events {{ worker_connections 128; }}
http {{
    access_log {directory}/access.log;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    scgi_temp_path {directory}/scgi;
    uwsgi_temp_path {directory}/uwsgi;
    server {{
        listen {host}:{port};
        location / {{
            proxy_pass http://{host}:{application};
            proxy_set_header Host $http_host;
        }}
{config}
    }}
}}
"""


class Nginx(Front):
    """``config`` goes into its server{}."""

    name = "nginx"
    program = "nginx"
    package = "nginx-light"

    def _launch(self) -> None:
        (self.port,) = free_ports(1)
        self._spawn(*self._command(self._write(MAIN)), log="nginx.log")

    def check(self, whole: str = "") -> str:
        """Return what ``nginx -t`` has against the configuration, or ``whole`` instead of it; nothing if it is good."""
        self.directory = self._given or self.directory
        self.port = 8080
        path = self._write(MAIN)
        if whole:
            path.write_text(whole)
        command = [*self._command(path), "-t", "-q"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
        return done.stderr + ("" if done.returncode == 0 else f"exit status {done.returncode}")

    def _write(self, main: str) -> Path:
        path = self.directory / "nginx.conf"
        user = "user nobody nogroup;" if self.as_root() else ""
        path.write_text(main.format(**vars(self), host=HOST, user=user))
        return path

    def _command(self, path: Path) -> list[str]:
        log = f"{self.directory}/error.log"
        return [str(find_program("nginx")), "-p", str(self.directory), "-e", log, "-c", str(path)]
