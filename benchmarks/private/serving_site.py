"""The measured site: one view that serves files in one way, for WSGI and ASGI.

A module for itself, because django-private-storage in a cloud needs django-storages, whose import name is ours: the
interpreter and the PYTHONPATH of the server decide which of both is imported. As a script it prints the locations for
nginx.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command
from django.http import FileResponse, HttpResponse
from django.urls import include, path

TASK = json.loads(os.environ["BENCHMARK_SITE"])
ROOT, PREFIX = TASK["root"], "files/"

settings.configure(
    DEBUG=False,
    SECRET_KEY="benchmark",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[],
    USE_TZ=True,
    INSTALLED_APPS=TASK["apps"],
    LOGGING_CONFIG=None,
    PRIVATE_STORAGE_AUTH_FUNCTION=f"{__name__}.allow",
    PRIVATE_STORAGE_ROOT=ROOT,
    **TASK["settings"],
)


def allow(private_file):
    """Let everybody in, after having been asked: what is measured is the delivery, not a database."""
    return True


def show_process(request):
    """Answer with the id of the process that serves, whose memory is watched."""
    return HttpResponse(str(os.getpid()))


def serve_file(request, name):
    """Serve a file as the documentation of Django does."""
    return FileResponse(Path(ROOT, name).open("rb"))


def serve_from_storage(request, name):
    """Serve a file of the default storage as the documentation of Django does."""
    from django.core.files.storage import default_storage

    return FileResponse(default_storage.open(name))


def serve_by_sendfile(request, name):
    """Serve a file with django-sendfile2."""
    from django_sendfile import sendfile

    return sendfile(request, Path(ROOT, name))


django.setup()
if TASK["view"].endswith(".urls"):
    files = path(PREFIX, include(TASK["view"]))
else:
    files = path(f"{PREFIX}<path:name>", globals()[TASK["view"]])
urlpatterns = [path("process", show_process), files]


def __getattr__(name):
    """Make the application when a server asks for it, and not the other one."""
    if name == "wsgi":
        from django.core.wsgi import get_wsgi_application

        return get_wsgi_application()
    if name == "asgi":
        from django.core.asgi import get_asgi_application

        return get_asgi_application()
    raise AttributeError(name)


if __name__ == "__main__":
    sys.exit(call_command("private_storage_nginx"))
