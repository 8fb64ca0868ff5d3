"""Apache with mod_xsendfile in front of the application."""

from __future__ import annotations

from pathlib import Path

from .fronts import Front
from .process import HOST, find_program, free_ports

MODULES = ["mpm_event", "authz_core", "authz_host", "proxy", "proxy_http", "xsendfile", "headers"]
MODULE_DIRECTORY = "/usr/lib/apache2/modules"
MAIN = """
ServerRoot {directory}
ServerName {host}
Listen {host}:{port}
PidFile {directory}/apache.pid
DefaultRuntimeDir {directory}
ErrorLog {directory}/error.log
CustomLog {directory}/access.log "%r %>s"
{user}
{modules}
StartServers 1
DocumentRoot {directory}/none
AllowEncodedSlashes NoDecode
ProxyPass / http://{host}:{application}/ nocanon
{config}
"""


class Apache(Front):
    """``config`` goes into the main server."""

    name = "Apache"
    program = "apache2"
    package = "apache2-bin libapache2-mod-xsendfile"

    @classmethod
    def unavailable(cls) -> str | None:
        there = Path(MODULE_DIRECTORY, "mod_xsendfile.so").exists()
        return super().unavailable() or (None if there else f"no mod_xsendfile; apt-get install {cls.package}")

    def _launch(self) -> None:
        (self.port,) = free_ports(1)
        (self.directory / "none").mkdir(exist_ok=True)
        path = self.directory / "apache.conf"
        modules = "\n".join(f"LoadModule {name}_module {MODULE_DIRECTORY}/mod_{name}.so" for name in MODULES)
        user = "User nobody\nGroup nogroup" if self.as_root() else ""
        path.write_text(MAIN.format(**vars(self), host=HOST, user=user, modules=modules))
        self._spawn(str(find_program("apache2")), "-f", str(path), "-DFOREGROUND", log="apache.log")
