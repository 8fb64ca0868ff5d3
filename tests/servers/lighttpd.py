"""lighttpd in front of the application."""

from __future__ import annotations

import shutil

from .fronts import Front
from .process import HOST, find_program, free_ports

MAIN = """
server.modules = ("mod_proxy", "mod_accesslog")
server.document-root = "{directory}/none"
server.bind = "{host}"
server.port = {port}
server.errorlog = "{directory}/error.log"
accesslog.filename = "{directory}/access.log"
server.upload-dirs = ("{directory}")
{user}
proxy.server = ("" => ((
    "host" => "{host}", "port" => {application}, "x-sendfile" => "enable", "x-sendfile-docroot" => ({config})
)))
"""


class Lighttpd(Front):
    """``config`` lists the roots of what it may send, in quotes."""

    name = "lighttpd"
    program = "lighttpd"
    package = "lighttpd"

    def _launch(self) -> None:
        (self.port,) = free_ports(1)
        (self.directory / "none").mkdir(exist_ok=True)
        path = self.directory / "lighttpd.conf"
        if self.as_root():  # it opens its logs as the other user
            shutil.chown(self.directory, "nobody", "nogroup")
        user = 'server.username = "nobody"\nserver.groupname = "nogroup"' if self.as_root() else ""
        path.write_text(MAIN.format(**vars(self), host=HOST, user=user))
        self._spawn(str(find_program("lighttpd")), "-D", "-f", str(path), log="lighttpd.log")
