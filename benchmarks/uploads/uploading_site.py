"""The measured site: a form with both kinds of field, and the protocol of direct uploads, for WSGI and ASGI."""

from __future__ import annotations

import json
import os
import sys
import threading

import django
from django.conf import settings
from django.contrib.staticfiles.views import serve
from django.core.management import call_command
from django.http import HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.urls import include, path

TASK = json.loads(os.environ["BENCHMARK_SITE"])

settings.configure(
    DEBUG=False,
    SECRET_KEY="benchmark",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[
        f"{__name__}.Counting",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "storages.uploads.middleware.UploadsMiddleware",
    ],
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.staticfiles",
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
    STATIC_URL="static/",
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    LOGGING_CONFIG=None,
    STORAGES={
        "default": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": TASK["storage"]},
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    },
    FILE_UPLOAD_TEMP_DIR=TASK["directory"],
    UPLOADS_SPOOL=TASK["directory"],
    UPLOADS_PERMISSION="storages.uploads.permissions.allow_anybody",
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
)


PAGE = """<!doctype html>
<html lang="en"><title>Uploads</title><link rel="icon" href="data:,">
<form method="post" action="/save/" enctype="multipart/form-data">
<input type="hidden" name="csrfmiddlewaretoken" value="%(csrf)s"><input type="file" name="posted" id="posted">
<button>Save</button></form>
<input type="file" id="direct">
<script type="module">
import { upload } from "/static/storages_uploads/client.js";
const csrf = "%(csrf)s";
window.direct = async (accepts) => {
  const [file] = document.querySelector("#direct").files;
  const { token } = await upload(file, { endpoint: "/uploads/", csrf, slot: "%(slot)s", accepts });
  const form = new FormData();
  form.append("direct", `storages-upload:${token}`);
  return (await fetch("/save/", { method: "POST", body: form, headers: { "X-CSRFToken": csrf } })).json();
};
</script>
"""


class Counting:
    """Count the requests that reach the site, and the bytes of their bodies."""

    requests = sent = 0
    lock = threading.Lock()

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if request.path not in ("/process", "/counted"):
            with Counting.lock:
                Counting.requests += 1
                Counting.sent += int(request.META.get("CONTENT_LENGTH") or 0)
        return self.get_response(request)


def show_process(request):
    """Answer with the id of the process that serves, whose memory is watched."""
    return HttpResponse(str(os.getpid()))


def show_counted(request):
    return JsonResponse({"requests": Counting.requests, "sent": Counting.sent})


def show_page(request):
    """Show a page that uploads either way."""
    from storages.uploads import protocol

    slot = protocol.slot(request, {"field": "clips.Clip.direct"})["slot"]
    return HttpResponse(PAGE % {"csrf": get_token(request), "slot": slot})


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
    path("", show_page),
    path("process", show_process),
    path("counted", show_counted),
    path("save/", save),
    path("uploads/", include("storages.uploads.urls")),
    path("static/<path:path>", serve, {"insecure": True}),
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
