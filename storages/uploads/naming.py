"""Names of uploads: what the object is called is ours to say, what the client called it is only remembered."""

from __future__ import annotations

import posixpath
import re
import secrets
from typing import Any

from storages.uploads import settings
from storages.uploads.errors import UploadError

RANDOM = 24  # bytes, of which the object's name is made: 192 bits
LONGEST = 255  # characters of a file name that are kept

_EXTENSION = re.compile(r"\.[a-z0-9]{1,10}")
_UNSAFE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")

# What a web server may run instead of sending it: such an object has no extension.
_RUN_BY_SERVERS = frozenset(
    (
        *(".asa", ".asax", ".ascx", ".ashx", ".asmx", ".asp", ".aspx", ".cer", ".cfm", ".cgi", ".config", ".fcgi"),
        *(".htaccess", ".htpasswd", ".inc", ".jsp", ".jspx", ".jhtml", ".phar", ".php", ".php3", ".php4", ".php5"),
        *(".php7", ".php8", ".phps", ".pht", ".phtm", ".phtml", ".pl", ".py", ".rb", ".sh", ".shtm", ".shtml", ".stm"),
    )
)


def original(filename: str) -> str:
    """Return the file name as it is kept: without directories, cut before its extension. Raises UploadError."""
    last = filename.replace("\\", "/").rpartition("/")[2].strip()
    if _UNSAFE.search(filename) or last in ("", ".", ".."):
        raise UploadError("bad_filename", "The file has no name that could be kept.", field="filename")
    if len(last) <= LONGEST:
        return last
    root, extension = posixpath.splitext(last)
    extension = extension[:16]
    return root[: LONGEST - len(extension)] + extension


def extension_of(filename: str) -> str:
    """Return the extension that an object may have, with its dot, or nothing."""
    extension = posixpath.splitext(filename)[1].lower()
    return extension if _EXTENSION.fullmatch(extension) and extension not in _RUN_BY_SERVERS else ""


def final_name(field: Any, filename: str) -> str:
    """Return a new name for the file of ``field``, of which only the extension is the client's."""
    return posixpath.join(field.upload_prefix(), secrets.token_urlsafe(RANDOM) + extension_of(filename))


def staging_name() -> str:
    """Return a new name where a client may write what is then copied."""
    return posixpath.join(settings.get("UPLOADS_STAGING"), secrets.token_urlsafe(RANDOM))
