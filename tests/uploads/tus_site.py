"""A site for real servers: one field on disk, and how much memory the process has taken so far."""

from __future__ import annotations

import os
from pathlib import Path

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

DIRECTORY = Path(os.environ.get("TUS_SITE_FILES", "unused"))

if not settings.configured:
    from tests import settings as base

    given = {name: getattr(base, name) for name in dir(base) if name.isupper()}
    given |= {
        "ALLOWED_HOSTS": ["*"],
        "DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DIRECTORY / "db.sqlite3"}},
        "FILE_UPLOAD_TEMP_DIR": DIRECTORY,
        "ROOT_URLCONF": __name__,
        "UPLOADS_SPOOL": DIRECTORY / "spool",
    }
    settings.configure(**given)
    django.setup(set_prefix=False)

from django.contrib.auth import get_user_model, login  # noqa: E402
from django.core.files.storage import FileSystemStorage  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import HttpResponse, JsonResponse  # noqa: E402
from django.urls import include, path  # noqa: E402

from storages.uploads import protocol  # noqa: E402
from tests.uploads.models import Note  # noqa: E402


def enter(request):
    """Log a new user in, and give a slot."""
    user, _ = get_user_model().objects.get_or_create(username="anna")
    login(request, user, "django.contrib.auth.backends.ModelBackend")
    return JsonResponse(protocol.slot(request, {"field": "tests_uploads.Note.file"}))


def finish(request):
    """Finish an upload, without a page of its own."""
    return JsonResponse(protocol.finish(request, {"upload": request.headers["Upload-Token"]}))


def seen(request):
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return JsonResponse({"peak": int(status["VmHWM"].split()[0]) * 1024})


urlpatterns = [
    path("", lambda request: HttpResponse()),
    path("enter", enter),
    path("finish", finish),
    path("seen", seen),
    path("uploads/", include("storages.uploads.urls")),
]

if "TUS_SITE_FILES" in os.environ:
    Note._meta.get_field("file").storage = FileSystemStorage(DIRECTORY / "files")
    Note._meta.get_field("file").max_size = None
    call_command("migrate", run_syncdb=True, verbosity=0)

wsgi, asgi = get_wsgi_application(), get_asgi_application()
