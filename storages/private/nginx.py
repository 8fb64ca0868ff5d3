"""The internal locations of nginx from which private files are sent."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import Storage

from storages.lazy import unwrapped
from storages.private import locations, servers

# Of what the application says, nginx by itself hands on Content-Type, Content-Disposition, Cache-Control, Expires,
# Accept-Ranges and Set-Cookie (nginx wiki, "XSendfile"). These are handed on as well.
HANDED_ON = (
    "Content-Security-Policy",
    "Cross-Origin-Opener-Policy",
    "Cross-Origin-Resource-Policy",
    "Permissions-Policy",
    "Referrer-Policy",
    "Strict-Transport-Security",
    "Vary",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-Robots-Tag",
)

# What a client may ask of a cloud. Not Cookie and Authorization: they are for the application.
ASKED = ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since")

# What a cloud says that is not the client's business, or for the application alone to say.
HIDDEN = (
    *("Cache-Control", "Content-Disposition", "Content-Type", "Expires", "Set-Cookie"),
    *("Access-Control-Allow-Credentials", "Access-Control-Allow-Headers", "Access-Control-Allow-Methods"),
    *("Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Access-Control-Max-Age"),
    *("Age", "Alt-Svc", "Clear-Site-Data", "Content-Location", "Content-MD5", "Link", "Location", "NEL", "P3P"),
    *("Refresh", "Report-To", "Reporting-Endpoints", "Server-Timing", "Set-Cookie2", "SourceMap", "Via"),
    *("Service-Worker-Allowed", "Timing-Allow-Origin", "Www-Authenticate", "X-Cache", "X-Powered-By", "X-SourceMap"),
    *(
        f"x-amz-{name}"
        for name in (
            *("abort-date", "abort-rule-id", "bucket-region", "cf-id", "cf-pop", "checksum-crc32", "checksum-crc32c"),
            *("checksum-crc64nvme", "checksum-sha1", "checksum-sha256", "checksum-type", "delete-marker", "expiration"),
            *("id-2", "missing-meta", "mp-parts-count", "object-lock-legal-hold", "object-lock-mode"),
            *("object-lock-retain-until-date", "replication-status", "request-charged", "request-id", "restore"),
            *("server-side-encryption", "server-side-encryption-aws-kms-key-id"),
            *("server-side-encryption-bucket-key-enabled", "server-side-encryption-customer-algorithm"),
            *("server-side-encryption-customer-key-md5", "storage-class", "tagging-count", "version-id"),
            "website-redirect-location",
        )
    ),
    *(
        f"x-ms-{name}"
        for name in (
            *("access-tier", "access-tier-change-time", "access-tier-inferred", "archive-status"),
            *("blob-committed-block-count", "blob-content-md5", "blob-sealed", "blob-type", "client-request-id"),
            *("content-crc64", "copy-completion-time", "copy-id", "copy-progress", "copy-source", "copy-status"),
            *("copy-status-description", "creation-time", "encryption-key-sha256", "encryption-scope", "error-code"),
            *("expiry-time", "immutability-policy-mode", "immutability-policy-until-date", "is-current-version"),
            *("last-access-time", "lease-duration", "lease-state", "lease-status", "legal-hold", "or-policy-id"),
            *("request-id", "server-encrypted", "tag-count", "version", "version-id"),
        )
    ),
    *(
        f"x-goog-{name}"
        for name in (
            *("encryption-algorithm", "encryption-key-sha256", "encryption-kms-key-name", "expiration", "generation"),
            *("hash", "metageneration", "storage-class", "stored-content-encoding", "stored-content-length"),
        )
    ),
    *(f"x-bz-{name}" for name in ("content-sha1", "file-id", "file-name", "info-src_last_modified_millis")),
    *("x-bz-upload-timestamp", "x-guploader-uploadid", "x-minio-deployment-id", "x-minio-error-code"),
    *("x-openstack-request-id", "x-rgw-object-type", "x-timestamp", "x-trans-id"),
)

# Answers of a cloud that the client gets as they are but for the text, which names the bucket; all others are a 502.
TOLD = (404, 412, 416)
FAILURES = [
    status for status in (*range(300, 309), *range(400, 432), 451, *range(500, 512)) if status not in (304, *TOLD)
]

DISK = """\
location {uri} {{
    internal;
    alias {root};
    gzip off;  # it would change the ETag{handed_on}
}}"""

# With a variable in its URL, proxy_pass knows the hosts only that were looked up for somebody else.
CLOUD = """\
location = {uri}host {{  # nobody asks here: it has nginx look up the host when it starts
    internal;
    proxy_pass {origin};
}}
location = {uri} {{
    internal;
    set $storages_path $upstream_http_{path};
    if ($storages_path !~ "^/[!-~]*$") {{
        return 502;
    }}
    set $storages_range $upstream_http_{range};{kept}
    proxy_pass {origin}$storages_path;
    proxy_method GET;  # the signature is for it; a HEAD gets the headers of the answer
    proxy_http_version 1.1;
    proxy_pass_request_headers off;
    proxy_pass_request_body off;
    proxy_set_header Host {host};
    proxy_set_header Range $storages_range;{asked}{verified}
    proxy_max_temp_file_size 0;
    proxy_connect_timeout 5s;
    proxy_redirect off;
    proxy_intercept_errors on;
    error_page {told} {failed};
    error_page {failures} =502 {failed};
    proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset;
    proxy_ignore_headers Expires Cache-Control Set-Cookie Vary;
    proxy_headers_hash_max_size 2048;
    proxy_headers_hash_bucket_size 128;{hidden}
    gzip off;{given_back}
}}
location {failed} {{
    internal;{given_back}
    add_header Content-Range $upstream_http_content_range always;
    return 200 "";  # with the status of error_page
}}"""

VERIFIED = """\
proxy_ssl_server_name on;
proxy_ssl_name {host};
proxy_ssl_verify on;
proxy_ssl_verify_depth 4;
proxy_ssl_trusted_certificate {authorities};
proxy_ssl_protocols TLSv1.2 TLSv1.3;"""

_HOST = re.compile(r"(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")
_URI = re.compile(r"/[A-Za-z0-9._~/-]*")
_HEADER = re.compile(r"[A-Za-z0-9_-]+")
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f$]")


def location_of(storage: Storage, hide: Iterable[str] = (), authorities: str = "") -> str:
    """Return the location for one storage, of its disk or else of its cloud.

    ``hide`` are more headers of the cloud that no client is to see; ``authorities`` is the file of those who may vouch
    for it. Raises ImproperlyConfigured where nginx cannot send the files of this storage.
    """
    if locations.is_on_disk(unwrapped(storage)):
        return _on_disk(storage)
    servers.require(servers.NginxProxyServer, storage)
    return _in_a_cloud(storage, hide, authorities)


def _on_disk(storage: Storage) -> str:
    root = os.path.abspath(unwrapped(storage).path(""))  # noqa: PTH100
    lines = [f"add_header {name} $upstream_http_{_variable(name)} always;" for name in HANDED_ON]
    return DISK.format(uri=_uri(storage), root=text(root.rstrip("/") + "/"), handed_on=_lines(lines))


def _in_a_cloud(storage: Storage, hide: Iterable[str], authorities: str) -> str:
    uri, origin = _uri(storage), servers.origin_of(storage)
    scheme, _, host = origin.partition("://")
    found = _HOST.fullmatch(host)
    if not found:
        raise ImproperlyConfigured(f"The host of {type(storage).__name__} is {host!r}, which nginx can't be told")
    verified = VERIFIED.format(host=found["host"].strip("[]"), authorities=text(authorities))
    return CLOUD.format(
        uri=uri,
        origin=origin,
        host=host,
        path=_variable(servers.PATH_HEADER),
        range=_variable(servers.RANGE_HEADER),
        # What the application said: the cloud's answer takes its place.
        kept=_lines(f"set $storages_{_variable(name)} $upstream_http_{_variable(name)};" for name in HANDED_ON),
        given_back=_lines(f"add_header {name} $storages_{_variable(name)} always;" for name in HANDED_ON),
        asked=_lines(f"proxy_set_header {name} $http_{_variable(name)};" for name in ASKED),
        verified=_lines(verified.splitlines() if scheme == "https" else ()),
        told=" ".join(map(str, TOLD)),
        failures=" ".join(map(str, FAILURES)),
        failed=f"@{uri.strip('/').replace('/', '-')}-failed",
        hidden=_lines(f"proxy_hide_header {name};" for name in dict.fromkeys([*HIDDEN, *HANDED_ON, *hide])),
    )


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"\n    {line}" for line in lines)


def _uri(storage: Any) -> str:
    uri = locations.internal_url(storage)
    if not _URI.fullmatch(uri):
        raise ImproperlyConfigured(f"A location is written with letters, digits and ._~/-, not {uri!r}")
    return uri


def _variable(header: str) -> str:
    return header.lower().replace("-", "_")


def header(name: str) -> str:
    """Return the name of a header. Raises ImproperlyConfigured for what is none."""
    if not _HEADER.fullmatch(name):
        raise ImproperlyConfigured(f"{name!r} is not the name of a header")
    return name


def text(value: str) -> str:
    """Return ``value`` in quotes. Raises ImproperlyConfigured for what nginx can't be told."""
    if _NO_TEXT.search(value):
        raise ImproperlyConfigured(f"nginx can't be told {value!r}: it has a dollar sign or a control character")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
