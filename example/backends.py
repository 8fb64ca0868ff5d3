"""The servers that the album can run on: one row for each value of ``make demo BACKEND=...``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

from django.utils.module_loading import import_string

DEFAULT = "s3"
BUCKET = "album"
MEDIA_URL = "/media/"
STATIC_URL = "/static/"
# Shorter than the defaults: a person waits in front of this page, and the server is on the same machine.
TIMEOUTS = {"connect_timeout": 2, "read_timeout": 5}  # seconds
EXPIRE = 3600  # seconds that a signed URL holds

SIGNED = (
    "The URLs are signed on this machine, without a request, and hold for 60 minutes; your browser fetches the photos"
)
BY_VIEW = "This server does not speak to browsers: a view of this site opens each photo in the storage and streams it."


class Prepared(NamedTuple):
    """What a server has been made ready with."""

    storages: dict[str, dict[str, Any]]  # as STORAGES of the settings; it has to survive JSON
    endpoint: str
    bucket: str = BUCKET


class Backend(NamedTuple):
    """One server, and how the album stands on it."""

    server: str  # a class, imported when it is chosen, as each one needs an SDK of its own
    kind: str
    place: str  # what holds the photos
    access: str  # of the photos
    note: str  # how a browser gets at them
    meter: str | None  # what example.album.cost counts by
    prepare: Callable[[Any, ExitStack], Prepared]
    static_place: str | None = None  # None: the static files are on this machine, where a view serves them
    static_access: str | None = None
    lists_names_only: bool = False

    def make_server(self) -> Any:
        return import_string(self.server)()


def _s3(server: Any, _stack: ExitStack) -> Prepared:
    """Make the bucket; what lies below static/ may be read by anybody, as a browser has to."""
    grant = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{BUCKET}/static/*",
    }
    client = server.client()
    try:
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": [grant]}))
        # A script that is a module is asked for with an origin; uploads_cors puts its own rule beside this one.
        rule = {"ID": "modules", "AllowedOrigins": ["*"], "AllowedMethods": ["GET"]}
        client.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": [rule]})
    finally:
        client.close()
    account = {
        "endpoint_url": server.endpoint_url,
        "bucket_name": BUCKET,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "region_name": server.region,
        "addressing_style": "path",
        **TIMEOUTS,
        "max_attempts": 3,
    }
    media = {
        "location": "media",
        "file_overwrite": False,
        # SeaweedFS can refuse to replace; unsaid, the first upload would find out, at two requests more.
        "create_only": True,
        "querystring_expire": EXPIRE,
    }
    static = {"location": "static", "querystring_auth": False}
    return Prepared(
        {
            "default": _storage("s3.S3Storage", {**account, **media}),
            "staticfiles": _storage("s3.S3ManifestStaticStorage", {**account, **static}),
            "private": _private("PrivateS3", {**account, **media, "location": "private"}),
            # Measured of SeaweedFS, as of AWS: what a signature does not name, it refuses.
            "uploads": _storage(
                "s3.S3Storage", {**account, **media, "location": "uploads", "unsigned_headers": "refused"}
            ),
        },
        server.endpoint_url,
    )


def _azure(server: Any, _stack: ExitStack) -> Prepared:
    """Make a private container for the photos, and one that anybody may read for the static files."""
    from azure.storage.blob import CorsRule

    with server.client() as client:
        client.create_container(BUCKET)
        client.create_container(f"{BUCKET}-static", public_access="blob")
        # A script that is a module is asked for with an origin; uploads_cors puts its own rule beside this one.
        client.set_service_properties(cors=[CorsRule(["*"], ["GET"])])
    account = {
        "connection_string": server.connection_string(),
        "azure_ssl": False,
        "timeout": TIMEOUTS["read_timeout"],
        "client_options": {"retry_total": 1, "connection_timeout": TIMEOUTS["connect_timeout"]},
    }
    media = {"azure_container": BUCKET, "location": "media", "expiration_secs": EXPIRE}
    static = {"azure_container": f"{BUCKET}-static", "location": "static", "overwrite_files": True}
    return Prepared(
        {
            "default": _storage("azure_storage.AzureStorage", {**account, **media}),
            "staticfiles": {
                "BACKEND": "example.album.manifests.ManifestAzureStorage",
                "OPTIONS": {**account, **static},
            },
            "private": _private("PrivateAzure", {**account, **media, "location": "private"}),
            "uploads": _storage("azure_storage.AzureStorage", {**account, **media, "location": "uploads"}),
        },
        server.endpoint_url,
    )


def _gcs(server: Any, stack: ExitStack) -> Prepared:
    from tests.servers.google import Google

    google = stack.enter_context(Google())  # which gives out the access tokens
    with server.client() as client:
        client.create_bucket(BUCKET)
    account = {
        "bucket_name": BUCKET,
        "credentials": google.key(),
        "client_options": {"api_endpoint": server.endpoint_url},
        **TIMEOUTS,
        "retry_deadline": 3,  # seconds
    }
    media = {"location": "media", "file_overwrite": False, "expiration": EXPIRE}
    static = {"location": "static", "querystring_auth": False}
    return Prepared(
        {
            "default": _storage("gcloud.GoogleCloudStorage", {**account, **media}),
            "staticfiles": {
                "BACKEND": "example.album.manifests.ManifestGoogleCloudStorage",
                "OPTIONS": {**account, **static},
            },
            "private": _private("PrivateGoogleCloud", {**account, **media, "location": "private"}),
            "uploads": _storage("gcloud.GoogleCloudStorage", {**account, **media, "location": "uploads"}),
        },
        server.endpoint_url,
    )


def _sftp(server: Any, _stack: ExitStack) -> Prepared:
    options = {
        "host": "127.0.0.1",
        "params": {
            "port": server.port,
            "username": server.user,
            "key_filename": server.key,
            "allow_agent": False,
            "look_for_keys": False,
        },
        "host_fingerprint": server.host_key(),
        **TIMEOUTS,
    }
    media = {"root_path": "media", "base_url": MEDIA_URL}
    return Prepared(
        {
            "default": _storage("sftpstorage.SFTPStorage", {**options, **media}),
            "staticfiles": _local_static(),
            "private": _private("PrivateSFTP", {**options, "root_path": "private"}),
            "uploads": _storage("sftpstorage.SFTPStorage", {**options, "root_path": "uploads"}),
        },
        f"sftp://127.0.0.1:{server.port}",
        "media",
    )


def _ftp(server: Any, _stack: ExitStack) -> Prepared:
    media = {"location": server.location("media"), "base_url": MEDIA_URL, **TIMEOUTS}
    return Prepared(
        {
            "default": _storage("ftp.FTPStorage", media),
            "staticfiles": _local_static(),
            "private": _private("PrivateFTP", {"location": server.location("private"), **TIMEOUTS}),
            "uploads": _storage("ftp.FTPStorage", {"location": server.location("uploads"), **TIMEOUTS}),
        },
        f"ftp://127.0.0.1:{server.port}",
        "media",
    )


def _b2(server: Any, _stack: ExitStack) -> Prepared:
    options = {
        "realm": server.url,
        "application_key_id": server.key_id,
        "application_key": server.key,
        "bucket": server.bucket,
        "account_info": {"type": "memory"},
        "querystring_expire": EXPIRE,
        **TIMEOUTS,
        "max_attempts": 2,
    }
    return Prepared(
        {
            "default": _storage("b2.B2Storage", {**options, "location": "media"}),
            "staticfiles": _local_static(),
            "private": _private("PrivateB2", {**options, "location": "private"}),
            "uploads": _storage("b2.B2Storage", {**options, "location": "uploads"}),
        },
        server.url,
    )


def _ipfs(server: Any, _stack: ExitStack) -> Prepared:
    options = {
        "api_url": server.api_url,
        "gateway_url": server.gateway_url,
        "lookup_timeout": 2,  # seconds
        **TIMEOUTS,
        "max_attempts": 2,
    }
    return Prepared(
        {
            "default": _storage("ipfs.IPFSStorage", options),
            "staticfiles": _local_static(),
            # Whoever has the CID of a file can read it: nothing of IPFS is private.
            "private": {
                "BACKEND": "storages.private.storage.PrivateFileSystemStorage",
                "OPTIONS": {"location": os.path.join(os.environ["DEMO_DIRECTORY"], "private")},
            },
            "uploads": _storage("ipfs.IPFSStorage", options),
        },
        server.api_url,
        "pins",
    )


def _storage(backend: str, options: dict[str, Any]) -> dict[str, Any]:
    return {"BACKEND": f"storages.backends.{backend}", "OPTIONS": options}


def _private(name: str, options: dict[str, Any]) -> dict[str, Any]:
    return {"BACKEND": f"example.private.storages.{name}", "OPTIONS": options}


def _local_static() -> dict[str, Any]:
    return {
        "BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage",
        "OPTIONS": {"location": os.path.join(os.environ["DEMO_DIRECTORY"], "static"), "base_url": STATIC_URL},
    }


BACKENDS = {
    "s3": Backend(
        "tests.servers.seaweedfs.SeaweedFS",
        "S3 server",
        "bucket",
        "private, reached through signed URLs",
        f"{SIGNED} from the bucket with them.",
        "botocore",
        _s3,
        "the same bucket",
        "public by a policy of the bucket",
    ),
    "azure": Backend(
        "tests.servers.azurite.Azurite",
        "Azure server",
        "container",
        "private, reached through signed URLs",
        f"{SIGNED} from the container with them.",
        "http",
        _azure,
        "a public container beside it",
        "in a container of their own, which is public",
    ),
    "gcs": Backend(
        "tests.servers.gcs.FakeGCS",
        "Google Cloud server",
        "bucket",
        "reached through signed URLs, which this emulator does not check",
        f"{SIGNED} from the bucket with them.",
        "http",
        _gcs,
        "the same bucket",
        "public; this emulator lets anybody read",
    ),
    "sftp": Backend(
        "tests.servers.openssh.OpenSSH",
        "SFTP server",
        "directory",
        "reached through a view of this site",
        BY_VIEW,
        None,
        _sftp,
    ),
    "ftp": Backend(
        "tests.servers.ftpd.Pyftpdlib",
        "FTP server",
        "directory",
        "reached through a view of this site",
        BY_VIEW,
        "ftp",
        _ftp,
    ),
    "b2": Backend(
        "example.b2process.B2Process",
        "B2 server",
        "bucket",
        "private, reached through time-limited URLs",
        "The URLs carry a token that the service gives for 60 minutes; your browser fetches the photos with it.",
        "http",
        _b2,
    ),
    "ipfs": Backend(
        "tests.servers.ipfs.JsIPFS",
        "IPFS node",
        "node",
        "public to whoever knows the CID, through the gateway",
        "The name of a photo is the hash of its content; your browser fetches it from the gateway of the node.",
        "http",
        _ipfs,
        lists_names_only=True,
    ),
}
