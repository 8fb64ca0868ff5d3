"""What happened to private files."""

from __future__ import annotations

import re

from django.dispatch import Signal
from django.http import HttpRequest
from django.http.response import HttpResponseBase

# sender: the view's class; private_file, request. Once per download, however many ranges it takes.
file_served = Signal()

# sender: the view's class; private_file, request.
file_denied = Signal()

_HANDED_OVER = ("X-Accel-Redirect", "X-Sendfile", "X-LIGHTTPD-send-file", "X-Sendfile2", "Location")
_CONDITIONS = ("HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE")  # as META has them
_ASKS_LESS = ("HTTP_RANGE", *_CONDITIONS)
# Of a list of ranges, one that begins at 0; 0-1 is how Safari asks whether there are ranges at all.
_FROM_START = re.compile(r"(?:^bytes\s*=|,)\s*0+\s*-(?!\s*1\s*(?:,|$))", re.IGNORECASE)
_SENT_FROM_START = re.compile(r"bytes 0-(?!1/(?!2$))")


def begins_download(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Whether ``response`` is where a download begins: all of the file, or a range from its first byte.

    What another server will answer is told from the request: a conditional one is most likely for what the client has.
    """
    if request.method != "GET":
        return False
    if response.status_code == 200 and not any(header in request.META for header in _ASKS_LESS):
        return True
    wanted = request.META.get("HTTP_RANGE", "")
    if any(header in response.headers for header in _HANDED_OVER):
        if any(header in request.META for header in _CONDITIONS):
            return False
        return not wanted.lower().lstrip().startswith("bytes") or bool(_FROM_START.search(wanted))
    if response.status_code == 206 and "Content-Range" in response.headers:
        return bool(_SENT_FROM_START.match(response.headers["Content-Range"]))
    return response.status_code == 200 or (response.status_code == 206 and bool(_FROM_START.search(wanted)))
