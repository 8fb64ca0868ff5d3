"""The usual options: those of several storages, each of which gives its own names and what else differs.

``read_timeout = usual.READ_TIMEOUT.named("GS_READ_TIMEOUT")``
"""

from __future__ import annotations

import datetime

from storages.settings import Setting

# Text formats; images, video and archives are compressed already.
COMPRESSIBLE_TYPES = (
    "text/css",
    "text/javascript",
    "application/javascript",
    "application/x-javascript",
    "image/svg+xml",
)

LOCATION = Setting("", role="location", help="Prefix of all keys, without a leading slash.")
OVERWRITE = Setting(
    False,
    type=bool,
    role="overwrite",
    help="Whether a file replaces one of the same name. False: it gets a free name, without a race.",
)
OBJECT_PARAMETERS = Setting(
    {},
    type=(dict, callable),
    role="object_parameters",
    help="Parameters of every object, or a callable of key and content that returns them.",
)
GZIP = Setting(False, type=bool, role="gzip", help="Whether listed types are stored compressed.")
GZIP_CONTENT_TYPES = Setting(
    COMPRESSIBLE_TYPES,
    type=(tuple, list, set, frozenset),
    role="gzip_types",
    help="Content types that are compressed.",
)
MAX_MEMORY_SIZE = Setting(
    0,
    type=int,
    role="memory",
    least=0,
    help="Bytes in memory of a file opened with a, r+ or w+ before it goes to disk; 0: 8 MiB.",
)

QUERYSTRING_AUTH = Setting(True, type=bool, help="Whether url() signs.")
QUERYSTRING_EXPIRE = Setting(
    3600,
    type=(int, datetime.timedelta),
    role="expire",
    least=1,
    help="Life of a signed URL in seconds, at most 604800.",
)

CONNECT_TIMEOUT = Setting(5, type=(int, float), least=0.001, help="Seconds for a connection.")
READ_TIMEOUT = Setting(30, type=(int, float), least=0.001, help="Seconds without a byte before a request has failed.")
MAX_ATTEMPTS = Setting(5, type=int, least=1, help="Tries of a request that fails or that the service is too busy for.")
