"""Count what a storage sends and receives while one HTTP request of the site is answered.

botocore tells all about its requests. Of the other clients Python itself tells, through its audit events, what goes
out by http.client or ftplib; nothing tells what an SFTP client does.
"""

import re
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.files.storage import default_storage

_thread = threading.local()
_REQUEST_LINE = re.compile(rb"([A-Z]+) \S+ HTTP/1\.[01]\r\n")


@dataclass
class Bill:
    """The requests of one action to the server of the files; bytes are those of the bodies, headers come on top."""

    calls: Counter = field(default_factory=Counter)  # (method, S3 operation or None, HTTP status) -> requests
    sent: int = 0  # bytes
    received: int = 0  # bytes

    @property
    def requests(self):
        return sum(self.calls.values())

    @property
    def methods(self):
        """Return the requests for each HTTP method, e.g. ``{"PUT": 1}``."""
        methods = Counter()
        for (method, _, _), count in self.calls.items():
            methods[method] += count
        return dict(methods)

    def summary(self):
        """Return what a session can keep and a template can show."""
        return {
            "meter": settings.DEMO["meter"],
            "requests": self.requests,
            "methods": self.methods,
            "calls": [
                {"method": method, "operation": operation, "status": status, "count": count}
                for (method, operation, status), count in self.calls.items()
                if operation
            ],
            "sent": self.sent,
            "received": self.received,
        }


@contextmanager
def metered():
    """Yield a Bill that this thread's requests are put on."""
    _watch()
    _thread.bill = bill = Bill()
    try:
        yield bill
    finally:
        _thread.bill = None


@contextmanager
def unmetered():
    """Put this thread's requests on no bill."""
    bill, _thread.bill = getattr(_thread, "bill", None), None
    try:
        yield
    finally:
        _thread.bill = bill


def keep_cost(request, action, label):
    """Remember for the next page what this request has cost so far."""
    request.session["costs"] = {
        **request.session.get("costs", {}),
        action: {"label": label, **request.bill.summary()},
    }


class MeterMiddleware:
    """Give each request its ``bill``; it goes on counting while the page is rendered."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        with metered() as request.bill:
            response = self.get_response(request)
            if settings.DEMO["meter"]:
                response["X-Storage-Requests"] = str(request.bill.requests)
        return response


def _watch():
    meter = settings.DEMO["meter"]
    if meter == "botocore":
        for storage in (default_storage, staticfiles_storage):
            _watch_botocore(storage.client)
    elif meter:
        _watch_audit(meter)


def _watch_botocore(client):
    # Registering again under the same id is without effect; the client is shared by the threads of the process.
    events = client.meta.events
    events.register("before-send.s3", _on_send, unique_id="album-cost-send")
    events.register("response-received.s3", _on_response, unique_id="album-cost-response")


@cache
def _watch_audit(meter):
    """Hear of what ``meter``, http or ftp, sends; once, as an audit hook cannot be taken away again."""
    event, note = {"http": ("http.client.send", _on_http), "ftp": ("ftplib.sendcmd", _on_ftp)}[meter]

    def hook(name, arguments):
        bill = getattr(_thread, "bill", None)
        if name == event and bill is not None:
            note(bill, arguments[1])

    sys.addaudithook(hook)


def _on_http(bill, sent):
    head = _REQUEST_LINE.match(sent)
    if head is None:
        bill.sent += len(sent)
        return
    bill.calls[head[1].decode(), None, None] += 1
    bill.sent += len(bytes(sent).partition(b"\r\n\r\n")[2])


def _on_ftp(bill, command):
    bill.calls[command.partition(" ")[0], None, None] += 1


def _on_send(request, **_):
    """Note what an attempt, retries included, is about to send."""
    _thread.method = request.method
    _thread.size = int(request.headers.get("Content-Length") or 0)


def _on_response(response_dict, event_name, **_):
    """Put the attempt on the bill with what came back, or with no status where nothing came."""
    bill = getattr(_thread, "bill", None)
    if bill is None:
        return
    operation = event_name.rpartition(".")[2]
    status = response_dict["status_code"] if response_dict else None
    bill.calls[_thread.method, operation, status] += 1
    if response_dict is None:
        return  # how much of the body went out before the connection failed, nobody knows
    bill.sent += _thread.size
    if _thread.method != "HEAD":
        bill.received += _body_size(response_dict)


def _body_size(response):
    """Return the bytes of the answer: those announced, or those read where none were announced."""
    announced = response["headers"].get("Content-Length")
    if announced is not None:
        return int(announced)
    return len(response["body"]) if isinstance(response["body"], bytes) else 0
