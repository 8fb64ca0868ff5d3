"""Settings of the demo site: an ordinary Django project with both kinds of files in one bucket."""

import os
import secrets
from pathlib import Path

DEBUG = False
SECRET_KEY = secrets.token_urlsafe(50)  # the demo forgets everything when it stops, its sessions too
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "example.urls"
WSGI_APPLICATION = "django.core.wsgi.get_wsgi_application"
USE_TZ = True
TIME_ZONE = "UTC"

INSTALLED_APPS = [
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "example.album",
]
MIDDLEWARE = [
    "example.album.cost.MeterMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.messages.context_processors.messages",
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

S3 = {
    "endpoint_url": os.environ["DEMO_ENDPOINT_URL"],
    "bucket_name": os.environ["DEMO_BUCKET"],
    "access_key": os.environ["DEMO_ACCESS_KEY"],
    "secret_key": os.environ["DEMO_SECRET_KEY"],
    "region_name": os.environ["DEMO_REGION"],
    "addressing_style": "path",
    # Shorter than the defaults: a person waits in front of this page, and the server is on the same machine.
    "connect_timeout": 2,  # seconds
    "read_timeout": 5,  # seconds
    "max_attempts": 3,
}
STORAGES = {
    "default": {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            **S3,
            "location": "media",
            "file_overwrite": False,
            # SeaweedFS can refuse to replace; unsaid, the first upload would find out, at two requests more.
            "create_only": True,
            "querystring_expire": 3600,  # seconds
        },
    },
    "staticfiles": {
        "BACKEND": "storages.backends.s3.S3ManifestStaticStorage",
        "OPTIONS": {**S3, "location": "static", "querystring_auth": False},
    },
}
STATIC_URL = "/static/"  # unused: the storage makes the URLs

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    # An answer that the views chose, such as 503, is told on the page; a traceback is told nowhere else.
    "filters": {
        "traceback": {"()": "django.utils.log.CallbackFilter", "callback": lambda record: bool(record.exc_info)}
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "filters": ["traceback"]}},
    "loggers": {
        "django.request": {"handlers": ["console"], "level": "ERROR", "propagate": False},
        # A line for each request would bury the address that the demo prints.
        "django.server": {"handlers": ["console"], "level": "CRITICAL", "propagate": False},
    },
}
