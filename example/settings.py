"""Settings of the demo site: an ordinary Django project whose files are where ``BACKEND`` says."""

import json
import os
import secrets
from pathlib import Path

from example import backends

DEBUG = False
SECRET_KEY = secrets.token_urlsafe(50)  # the demo forgets everything when it stops, its sessions too
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "example.urls"
WSGI_APPLICATION = "django.core.wsgi.get_wsgi_application"
USE_TZ = True
TIME_ZONE = "UTC"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "storages.private",
    "storages.uploads",
    "example.album",
    "example.private",
    "example.uploads",
]
MIDDLEWARE = [
    "example.album.cost.MeterMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "storages.uploads.middleware.UploadsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "example.album.context.site",
            ],
        },
    },
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(os.environ["DEMO_DIRECTORY"]) / "album.sqlite3",
        "OPTIONS": {"timeout": 20},  # seconds that one thread waits for another's write
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Of the server that `make demo` has started; example/backends.py says what each one needs.
STORAGES = json.loads(os.environ["DEMO_STORAGES"])
DEMO = json.loads(os.environ["DEMO_FACTS"])  # what the pages say about it
STATIC_URL = backends.STATIC_URL  # for static files on this machine; a service makes the URLs of its own

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "private"
LOGOUT_REDIRECT_URL = "login"
PRIVATE_STORAGE_AUTH_FUNCTION = "example.private.policy.owner"
PRIVATE_STORAGE_SERVER = "django"  # how private files reach the browser; private/<number>/deliveries/ shows them all

# Small, so that a file of some megabytes shows what in production a film does; S3 takes no smaller part.
UPLOADS_PART_SIZE = 5 * 1024**2  # bytes
UPLOADS_PARTS_ABOVE = 8 * 1024**2  # bytes
UPLOADS_SPOOL = os.path.join(os.environ["DEMO_DIRECTORY"], "spool")


def _in_one_line(record):
    """Put the error into the line: a server that was stopped is nothing to trace."""
    if record.exc_info:
        record.msg, record.args = f"{record.getMessage()}: {record.exc_info[1]}", ()
        record.exc_info = record.exc_text = None
    return True


LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    # An answer that the views chose, such as 503, is told on the page; a traceback is told nowhere else.
    "filters": {
        "traceback": {"()": "django.utils.log.CallbackFilter", "callback": lambda record: bool(record.exc_info)},
        "line": {"()": "django.utils.log.CallbackFilter", "callback": _in_one_line},
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "filters": ["traceback"]},
        "line": {"class": "logging.StreamHandler", "filters": ["line"]},
    },
    "loggers": {
        "storages.private": {"handlers": ["line"], "propagate": False},
        "storages.uploads": {"handlers": ["line"], "propagate": False},
        "django.request": {"handlers": ["console"], "level": "ERROR", "propagate": False},
        # A line for each request would bury the address that the demo prints.
        "django.server": {"handlers": ["console"], "level": "CRITICAL", "propagate": False},
    },
}
