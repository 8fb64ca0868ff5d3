"""A site for real servers: private files of any size, and what the process has seen and taken so far."""

from __future__ import annotations

import gzip
import io
import os
import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.files.storage import FileSystemStorage
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path

DIRECTORY = os.environ.get("ENGINE_SITE_FILES", "")

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        MIDDLEWARE=["django.middleware.gzip.GZipMiddleware", "django.middleware.http.ConditionalGetMiddleware"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="only-for-tests",
        USE_TZ=True,
    )
    django.setup(set_prefix=False)

from storages.contract import Stat  # noqa: E402
from storages.private import responses  # noqa: E402
from storages.private.models import PrivateFile  # noqa: E402
from tests.private.patterns import OLD, Pattern  # noqa: E402

GIB = 1024**3


class Breaking(Pattern):
    """Objects of which the storage sends no more than 3 MiB."""

    def _open_range(self, key, start, end, if_match=None):
        self.read = 0
        return super()._open_range(key, start, end, if_match)


class Packed(Breaking):
    """An object that is stored compressed, and breaks off: nothing tells the client how long it is to be."""

    def told(self, key):
        return Stat(self.sizes[key], OLD, etag="packed", content_encoding="gzip")

    def _open_range(self, key, start, end, if_match=None):
        body = super()._open_range(key, start, end, if_match)
        packed = gzip.compress(os.urandom(1_000_000))[:-100_000]
        body.read = io.BytesIO(packed).read
        return body


pattern, breaking, packed = Pattern(), Breaking(), Packed()
pattern.sizes = {"1.bin": GIB, "3.bin": 3 * GIB}
breaking.sizes, breaking.broken_after, breaking.error = {"1.bin": GIB}, 3 * 1024**2, ConnectionResetError("gone")
packed.sizes = {"1.bin": GIB}
STORAGES = {"pattern": pattern, "disk": FileSystemStorage(DIRECTORY), "breaking": breaking, "packed": packed}


def serve(request, storage, name):
    return responses.stream(PrivateFile(request, STORAGES[storage], name))


def seen(request):
    """Tell bytes read, bodies open, descriptors open below the directory, and the most memory so far."""
    targets = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            targets.append(str(link.readlink()))
        except OSError:
            continue
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return JsonResponse(
        {
            "read": pattern.read,
            "bodies": pattern.bodies + breaking.bodies + packed.bodies,
            "files": sum(target.startswith(DIRECTORY + "/") and target.endswith(".bin") for target in targets),
            "peak": int(status["VmHWM"].split()[0]) * 1024,
            "python": sys.version,
        }
    )


urlpatterns = [path("seen", seen), path("files/<str:storage>/<str:name>", serve)]

wsgi = get_wsgi_application()
asgi = get_asgi_application()
