"""Count what the S3 client sends and receives while one HTTP request of the site is answered."""

import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.files.storage import default_storage

_thread = threading.local()


@dataclass
class Bill:
    """The requests to S3 of one action; bytes are those of the bodies, headers come on top."""

    calls: Counter = field(default_factory=Counter)  # (HTTP method, S3 operation, HTTP status) -> requests
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
            "requests": self.requests,
            "methods": self.methods,
            "calls": [
                {"method": method, "operation": operation, "status": status, "count": count}
                for (method, operation, status), count in self.calls.items()
            ],
            "sent": self.sent,
            "received": self.received,
        }


@contextmanager
def metered():
    """Yield a Bill that this thread's requests to S3 are put on."""
    for storage in (default_storage, staticfiles_storage):
        _watch(storage.client)
    _thread.bill = bill = Bill()
    try:
        yield bill
    finally:
        _thread.bill = None


class MeterMiddleware:
    """Give each request its ``bill``; it goes on counting while the page is rendered."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        with metered() as request.bill:
            response = self.get_response(request)
            response["X-S3-Requests"] = str(request.bill.requests)
        return response


def _watch(client):
    # Registering again under the same id is without effect; the client is shared by the threads of the process.
    events = client.meta.events
    events.register("before-send.s3", _on_send, unique_id="album-cost-send")
    events.register("response-received.s3", _on_response, unique_id="album-cost-response")


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
