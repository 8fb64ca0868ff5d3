"""The measured site: a form with both kinds of field, and the protocol of direct uploads, for WSGI and ASGI."""

from __future__ import annotations

import json
import os
import sys

import django
from django.conf import settings
from django.core.management import call_command
from django.http import HttpResponse, JsonResponse
from django.urls import include, path
from django.views.decorators.csrf import ensure_csrf_cookie

TASK = json.loads(os.environ["BENCHMARK_SITE"])

settings.configure(
    DEBUG=False,
    SECRET_KEY="benchmark",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "storages.uploads.middleware.UploadsMiddleware",
    ],
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "storages.uploads",
        "clips",
    ],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": TASK["database"],
            "OPTIONS": {"timeout": 20},  # seconds that one thread waits for another's write
        }
    },
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    LOGGING_CONFIG=None,
    STORAGES={"default": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": TASK["storage"]}},
    FILE_UPLOAD_TEMP_DIR=TASK["directory"],
    UPLOADS_SPOOL=TASK["directory"],
    UPLOADS_PERMISSION="storages.uploads.permissions.allow_anybody",
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
)


@ensure_csrf_cookie
def show_process(request):
    """Answer with the id of the process that serves, whose memory is watched."""
    return HttpResponse(str(os.getpid()))


def save(request):
    """Save what a form has, the token of an upload or a file, and tell the size that the storage then has."""
    from clips.models import Clip
    from django.forms import modelform_factory

    form = modelform_factory(Clip, fields=["direct", "posted"])(request.POST, request.FILES)
    if not form.is_valid():
        return JsonResponse(form.errors, status=422)
    clip = form.save()
    file = clip.direct or clip.posted
    return JsonResponse({"size": file.storage.size(file.name)})


django.setup()
urlpatterns = [
    path("process", show_process),
    path("save/", save),
    path("uploads/", include("storages.uploads.urls")),
]


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
    sys.exit(call_command("migrate", run_syncdb=True, verbosity=0))
