"""Backblaze B2 by its native API."""

from __future__ import annotations

import contextlib
import datetime
import functools
import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django.conf import settings as django_settings
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.urls import NoReverseMatch, reverse

from storages import process, usual
from storages.base import BaseStorage
from storages.contract import PATIENCE, Body, Capabilities, Entry, Stat, WriteOptions
from storages.errors import REQUESTS_MEANINGS, meaning_by_name
from storages.files import StorageFile
from storages.mixin import quoted, with_query
from storages.optional import OptionalModule
from storages.settings import Renamed, Setting
from storages.streams import AnswerBody, EmptyBody, read_chunks, size_of_whole

b2sdk = OptionalModule("b2sdk.v2", "b2")
exceptions = OptionalModule("b2sdk.v2.exception", "b2")
requests = OptionalModule("requests", "b2")

# backblaze.com/docs/cloud-storage-large-files, cloud-storage-file-names
SMALLEST_PART = 5 * 1000**2  # bytes, for every part but the last
LARGEST_FILE = 10 * 1000**4  # bytes
LARGEST_COPY = 1024**3  # bytes in one request; 5 GB are allowed, but a copy must end within its timeout
LONGEST_KEY = 1024  # bytes
LONGEST_EXPIRE = 7 * 24 * 3600  # seconds, of a download authorization
PAGE = 1000  # names in one listing; longer pages are billed as several

LOGIN_WAIT = 20  # seconds that a thread waits for another one that is logging in
TOKEN_LIFE = 23 * 3600  # seconds; B2's tokens live for a day

_BUSY = (408, 429)  # and all from 500 on
_SHA1 = re.compile("[0-9a-f]{40}")

# The SDK's errors, and those of the libraries below it.
_MEANINGS: dict[str, type[Exception]] = {
    **REQUESTS_MEANINGS,
    **dict.fromkeys(("BucketIdNotFound", "NonExistentBucket", "DuplicateBucketName"), ImproperlyConfigured),
    **dict.fromkeys(("MissingAccountData", "PotentialS3EndpointPassedAsRealm"), ImproperlyConfigured),
    **dict.fromkeys(("FileNotPresent", "ResourceNotFound"), FileNotFoundError),
    "Conflict": FileExistsError,
    **dict.fromkeys(
        ("AccessDenied", "CapExceeded", "NotAllowedByAppKeyError", "RestrictedBucket", "Unauthorized"), PermissionError
    ),
    "UnusableFileName": SuspiciousFileOperation,
    **dict.fromkeys(("B2RequestTimeout", "RequestTimeout"), TimeoutError),
    **dict.fromkeys(("B2ConnectionError", "BrokenPipe", "ConnectionReset", "UnknownHost"), ConnectionError),
}

_TAKEN = "There is such an object already"

# What backends of earlier releases called the options, and what is in their dictionaries.
_OLD_NAMES = {
    "authorizeOnInit": "authorize_on_init",
    "validateOnInit": "validate_on_init",
    "allowFileOverwrites": "allow_file_overwrites",
    "accountInfo": "account_info",
    "forbidFilePropertyCaching": "forbid_file_property_caching",
    "specificBucketNames": "specific_bucket_names",
    "cdnConfig": "cdn_config",
    "nonExistentBucketDetails": "non_existent_bucket_details",
    "defaultFileInfo": "default_file_info",
}
_DICTIONARIES = {
    "account_info": {"type", "cache", "database_path"},
    "specific_bucket_names": {"public", "logged_in", "staff"},
    "cdn_config": {"base_url", "include_bucket_url_segments"},
    "non_existent_bucket_details": {
        *("bucket_type", "bucket_info", "cors_rules", "lifecycle_rules", "default_server_side_encryption"),
        *("is_file_lock_enabled", "replication"),
    },
}
_CACHE = "django-backblaze-b2"


class B2Storage(BaseStorage):
    """Store files in a bucket of Backblaze B2."""

    opts = Setting(
        names=("BACKBLAZE_CONFIG",),
        type=dict,
        secret=True,
        help="All options in one dictionary: those of the constructor instead of keywords, or those of the project.",
    )
    realm = Setting("production", help="Realm of the account: 'production', or the URL of another one.")
    application_key_id = Setting(env=("B2_APPLICATION_KEY_ID",), secret=True, help="Id of the application key.")
    application_key = Setting(env=("B2_APPLICATION_KEY",), secret=True, help="The application key.")
    bucket = Setting("django", help="Bucket.")
    location = usual.LOCATION
    allow_file_overwrites = usual.OVERWRITE.named(
        help="Whether a file replaces one of the same name, as a new version. False: it gets a free name."
    )
    default_file_info = usual.OBJECT_PARAMETERS.named(
        help="File information of every object, such as 'b2-cache-control', and 'Content-Type' for its type; or a "
        "callable of key and content that returns it.",
    )
    account_info = Setting(
        {"type": "django-cache", "cache": _CACHE},
        type=dict,
        help="Where the login is kept: {'type': 'django-cache', 'cache': alias}, {'type': 'memory'} or "
        "{'type': 'sqlite', 'database_path': path}. Without a cache of the default's name: in memory.",
    )
    authorize_on_init = Setting(
        False, type=bool, help="Whether the constructor logs in; by default the first use does."
    )
    validate_on_init = Setting(
        False, type=bool, help="Whether a constructor that logs in looks for the bucket too, or creates it."
    )
    non_existent_bucket_details = Setting(
        type=dict,
        help="How a missing bucket is created, such as {'bucket_type': 'allPrivate'}. None: it is an error.",
    )
    specific_bucket_names = Setting(
        {"public": None, "logged_in": None, "staff": None},
        type=dict,
        help="Buckets of the storages for the public, for users and for staff; None: the one of 'bucket'.",
    )
    public_prefix = Setting(
        "",
        help="Start of the keys that are for everybody, where they share a bucket with others, such as 'public': "
        "B2PublicStorage puts its files there, and its view serves nothing else.",
    )
    cdn_config = Setting(
        type=dict,
        help="CDN for URLs: {'base_url': 'https://cdn.example.com', 'include_bucket_url_segments': False}, where True "
        "keeps file/<bucket>/ in the path.",
    )
    querystring_auth = Setting(
        None, type=bool, help="Whether url() signs. None: where the bucket is private and there is no CDN."
    )
    querystring_expire = usual.QUERYSTRING_EXPIRE
    gzip = usual.GZIP
    gzip_content_types = usual.GZIP_CONTENT_TYPES
    part_size = Setting(
        8 * 1024**2,
        type=int,
        least=SMALLEST_PART,
        help="Bytes of one part of a long write, at least 5,000,000; a shorter file is one request.",
    )
    connect_timeout = usual.CONNECT_TIMEOUT
    read_timeout = usual.READ_TIMEOUT
    max_attempts = usual.MAX_ATTEMPTS
    forbid_file_property_caching = Setting(
        False, type=bool, help="Kept for old settings: sizes and times are never cached."
    )

    renamed = {old: Renamed(new) for old, new in _OLD_NAMES.items()}
    parameter_names = {"content_type": "Content-Type", "content_encoding": "b2-content-encoding", "acl": "acl"}
    response_parameters = {"content_type": "b2ContentType", "content_disposition": "b2ContentDisposition"}
    signs_prefixes = True

    sdk = b2sdk
    longest_key = LONGEST_KEY
    longest_expire = LONGEST_EXPIRE

    capabilities = Capabilities(
        ranges=True,
        parts=True,
        create_only=True,
        copy=True,
        presign=frozenset({"GET"}),
        created_time=True,
        content_type=True,
        missing={
            "if_match": "B2 writes without conditions; each write adds a version.",
            "delete_many": "B2 deletes one version in a request.",
            "accessed_time": "B2 does not note reads.",
        },
    )

    def __init__(self, opts: Mapping[str, Any] | None = None, **options: Any):
        if opts is not None:
            if options:
                raise ImproperlyConfigured("Can only specify opts or keyword args, not both!")
            options = dict(opts)
            self._constructor_args = ((), dict(opts))  # so that a migration leaves the secret ones out
        super().__init__(**options)
        configured = self.get_default_settings()
        for name in (*_DICTIONARIES, "default_file_info"):
            setattr(self, name, self._completed(name, configured[name]))
        if self.account_info["type"] not in _ACCOUNT_INFOS:
            raise ImproperlyConfigured(
                f"{type(self).__name__}: option 'account_info' has a 'type' of "
                f"{', '.join(map(repr, _ACCOUNT_INFOS))}, not {self.account_info['type']!r}"
            )
        if self.cdn_config is not None and not self.cdn_config.get("base_url"):
            raise ImproperlyConfigured(f"{type(self).__name__}: option 'cdn_config' needs a 'base_url'")
        if self.authorize_on_init:
            with self._translating(""):
                self._account.log_in()
                if self.validate_on_init:
                    self._bucket()

    # Client

    @property
    def client(self) -> Any:
        """Return the SDK's B2Api, logged in, one for all storages and threads with the same configuration."""
        account = self._account
        account.log_in()
        return account.api

    @property
    def _account(self) -> _Account:
        return self._derived("account", self._shared_account)

    def _shared_account(self) -> _Account:
        if not self.application_key_id or not self.application_key:
            raise ImproperlyConfigured(
                f"{type(self).__name__}: set 'application_key_id' and 'application_key', in OPTIONS or in the "
                "dictionary BACKBLAZE_CONFIG of Django's settings"
            )
        credentials = (self.realm, self.application_key_id, self.application_key)
        limits = (self.connect_timeout, self.read_timeout, self.max_attempts)
        return process.shared(
            ("b2", *credentials, *limits, self.account_info),
            lambda: _Account(credentials, self.account_info, _Http(*limits)),
        )

    # Hooks

    def _stat(self, key: str) -> Stat:
        return _stat_of(self._info(key))

    def _open_range(self, key: str, start: int, end: int | None, if_match: str | None = None) -> Body:
        span = None if not start and end is None else (start, (end or LARGEST_FILE) - 1)
        self._bucket()  # a missing one would pass for a missing object
        url = self.client.session.get_download_url_by_name(self.bucket, key)
        try:
            answer = self._run("download_file_from_url", url, range_=span)
        except exceptions.UnsatisfiableRange:
            # The object ends before the range; an empty one before any range at all.
            return EmptyBody(self._stat(key))
        with answer as response:  # which leaves it open
            stat = _stat_of(response.headers)
            whole = int(response.headers["Content-Length"]) == stat.size
            expected = _sha1_of(response.headers) if whole else None
            return AnswerBody(response, stat, hashlib.sha1(usedforsecurity=False), expected)

    def _put(self, key: str, body: Any, options: WriteOptions) -> None:
        if options.create_only:
            self._refuse_taken(key)
        content_type, info = _described(options)
        size, sha1 = _measured(body)
        version = self._upload("upload_file", self._bucket().id_, key, size, content_type, sha1, info, body)
        if options.create_only:
            self._give_way(key, version["fileId"])

    def _start_parts(self, key: str, options: WriteOptions) -> _Parts:
        if options.create_only:
            self._refuse_taken(key)
        return _Parts(self, key, options)

    def _delete(self, key: str) -> None:
        versions = [version for version in self._versions(key) if version["action"] != "start"]
        if not versions:
            raise exceptions.FileNotPresent(self.bucket, key)
        # The newest last, so that no older content shows in between.
        for version in reversed(versions):
            self._delete_version(key, version["fileId"])

    def _copy(self, source_key: str, key: str) -> None:
        source = self.client.download_version_factory.from_response_headers(self._info(source_key))
        given = self.get_object_parameters(key)
        content_type = given.pop("Content-Type", source.content_type)
        info = {**source.file_info, **_texts(given)}
        if source.size > LARGEST_COPY:
            self._copy_in_parts(source, key, content_type, info)
            return
        described = {"metadataDirective": "REPLACE", "contentType": content_type, "fileInfo": info}
        self._ask("b2_copy_file", sourceFileId=source.id_, fileName=key, **described)

    def _list(self, prefix: str) -> Iterator[Entry]:
        return self._entries(prefix, delimiter="/")

    def _walk(self, prefix: str) -> Iterator[Entry]:
        return self._entries(prefix)

    def _first(self, prefix: str) -> str:
        return next((file["fileName"] for file in self._names(prefix, 1)["files"]), "")

    def _classify(self, error: BaseException) -> type[Exception] | None:
        error = _cause(error)
        if type(error).__module__.partition(".")[0] not in ("b2sdk", "requests", "urllib3"):
            return None
        return meaning_by_name(error, _MEANINGS)

    def _advise(self, error: BaseException, kind: type[Exception]) -> str:
        error = _cause(error)
        names, said = {cls.__name__ for cls in type(error).__mro__}, f"{type(self).__name__}: {error}"
        if kind is FileNotFoundError:
            return f"There is no such object in the bucket {self.bucket!r}"
        if kind is FileExistsError:
            return f"{_TAKEN} in the bucket {self.bucket!r}"
        if "CapExceeded" in names:
            return f"{said}. The account has reached a cap: raise it on Backblaze's page of caps and alerts"
        if "RestrictedBucket" in names:
            return f"{said}, which is not {self.bucket!r}: use another key, or correct 'bucket'"
        if kind is PermissionError:
            return (
                f"{said}. Correct 'application_key_id' and 'application_key', or give the key the capability that "
                "this needs: listBuckets, listFiles, readFiles, shareFiles, writeFiles or deleteFiles"
            )
        if kind in (ConnectionError, TimeoutError):
            return f"{said}. Check the network, the service, and 'realm'"
        if "PotentialS3EndpointPassedAsRealm" in names:
            return f"{said}. 'realm' is no S3 endpoint; leave it out, or use storages.backends.s3.S3Storage"
        if kind is ImproperlyConfigured:
            return f"{said}. Check 'bucket', which is {self.bucket!r}"
        return said

    # URLs

    def _signs_urls(self) -> bool:
        if self.querystring_auth is not None:
            return bool(self.querystring_auth)
        return not self.cdn_config and self._bucket().is_private

    def _presign(self, key: str, method: str, seconds: int, parameters: Mapping[str, Any]) -> str:
        answer = self._ask(
            "b2_get_download_authorization",
            bucketId=self._bucket().id_,
            fileNamePrefix=key,
            validDurationInSeconds=seconds,
            **parameters,
        )
        return with_query(self._link(key), {**parameters, "Authorization": answer["authorizationToken"]})

    def _public_url(self, key: str, parameters: Mapping[str, Any]) -> str:
        return with_query(self._link(key), parameters)

    def _link(self, key: str) -> str:
        return self._derived("base", self._base) + quoted(key)

    def _base(self) -> str:
        """Return the start of all URLs; without a CDN, only who is logged in knows it."""
        segments = f"/file/{self.bucket}"
        if not self.cdn_config:
            return f"{self.client.account_info.get_download_url()}{segments}/"
        base = self.cdn_config["base_url"].rstrip("/")
        base = base if "://" in base else f"https://{base}"
        return f"{base}{segments if self.cdn_config.get('include_bucket_url_segments') else ''}/"

    # Options

    def get_default_settings(self) -> dict[str, Any]:
        """Return the options that neither a keyword nor a subclass gives: those of BACKBLAZE_CONFIG, and defaults."""
        defaults = super().get_default_settings()
        given, defaults["opts"] = defaults["opts"] or {}, None
        for name, value in given.items():
            option = _OLD_NAMES.get(name, name)
            if option not in defaults:
                self._refuse(name, list(defaults))
            if value is not None:
                defaults[option] = value
        return defaults

    def _completed(self, name: str, configured: Any) -> Any:
        """Return a dictionary among the options, with what only the settings give; old names become new ones."""
        given = getattr(self, name)
        if not isinstance(given, dict):
            return given
        known = _DICTIONARIES.get(name)
        layers = [layer for layer in (type(self).declared_settings()[name].default, configured, given) if layer]
        if known is None:
            return {key: value for layer in layers if isinstance(layer, dict) for key, value in layer.items()}
        completed = {_snake(key): value for layer in layers for key, value in layer.items()}
        for key in completed.keys() - known:
            expected = ", ".join(map(repr, sorted(known)))
            raise ImproperlyConfigured(f"{type(self).__name__}: option {name!r} has {expected}, but not {key!r}")
        return completed

    # Requests

    def _bucket(self) -> _Bucket:
        """Return the bucket, looked up once in this process."""
        found = self._account.buckets
        if self.bucket not in found:
            found[self.bucket] = self._find_bucket()
        return found[self.bucket]

    def _find_bucket(self) -> _Bucket:
        account, api = self._account, self.client
        try:
            found = account.run(api.list_buckets, self.bucket)
        except exceptions.Unauthorized:
            # A key for one bucket need not be one that may list it.
            allowed = api.account_info.get_allowed()
            if not allowed.get("bucketId") or allowed.get("bucketName") != self.bucket:
                raise
            return _Bucket(allowed["bucketId"], is_private=True)
        if not found:
            details = self.non_existent_bucket_details
            if details is None:
                raise ImproperlyConfigured(
                    f"{type(self).__name__}: there is no bucket {self.bucket!r}: create it, correct 'bucket', or say "
                    "in 'non_existent_bucket_details' how it is to be created"
                )
            details = {"bucket_type": "allPrivate", **details}
            found = [account.run(api.create_bucket, self.bucket, **details)]
        return _Bucket(found[0].id_, is_private=found[0].type_ != "allPublic")

    def _run(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the SDK's session."""
        account = self._account
        return account.run(getattr(account.api.session, method), *arguments, **options)

    def _ask(self, endpoint: str, **arguments: Any) -> dict[str, Any]:
        """Send a request for which the SDK has no method, or one that leaves a parameter out."""
        account = self._account
        return account.run(account.ask, endpoint, arguments)

    def _upload(self, method: str, *arguments: Any) -> dict[str, Any]:
        """Send a body, which the SDK rewinds, to another of the service's hosts where one is busy."""
        with self._account.patience():
            for left in reversed(range(self.max_attempts)):
                try:
                    return self._run(method, *arguments)
                except exceptions.B2Error as error:
                    if not left or not error.should_retry_upload():
                        raise
                    if isinstance(error, exceptions.InvalidAuthToken):  # the others in the pool are as old
                        self._account.api.account_info.clear_bucket_upload_data(self._bucket().id_)
        raise AssertionError("unreachable")

    def _info(self, key: str) -> Mapping[str, str]:
        """Return the headers that describe an object."""
        self._bucket()  # a missing one would pass for a missing object
        return self._run("get_file_info_by_name", self.bucket, key)

    def _entries(self, prefix: str, **arguments: Any) -> Iterator[Entry]:
        following = None
        while True:
            page = self._names(prefix, PAGE, startFileName=following, **arguments)
            for file in page["files"]:
                if file["action"] == "folder":
                    yield Entry(file["fileName"][:-1], is_prefix=True)
                elif not file["fileName"].endswith("/"):  # what the S3 API may put there to show an empty directory
                    modified = _time_of(file["uploadTimestamp"])
                    yield Entry(file["fileName"], False, file["contentLength"], modified, file["fileId"])
            following = page["nextFileName"]
            if following is None:
                return

    def _names(self, prefix: str, most: int, **arguments: Any) -> dict[str, Any]:
        bucket_id = self._bucket().id_
        return self._ask("b2_list_file_names", bucketId=bucket_id, prefix=prefix, maxFileCount=most, **arguments)

    def _versions(self, key: str) -> Iterator[dict[str, Any]]:
        """Yield the versions of an object, the newest first, with marks that hide it and unfinished uploads."""
        name, id_ = key, None
        while name == key:
            page = self._run("list_file_versions", self._bucket().id_, key, id_, PAGE, key)
            for version in page["files"]:
                if version["fileName"] != key:
                    return
                yield version
            name, id_ = page["nextFileName"], page["nextFileId"]

    def _delete_version(self, key: str, id_: str) -> None:
        with contextlib.suppress(exceptions.FileNotPresent):
            self._run("delete_file_version", id_, key)

    def _copy_in_parts(self, source: Any, key: str, content_type: str, info: dict[str, str]) -> None:
        id_ = self._run("start_large_file", self._bucket().id_, key, content_type, info)["fileId"]
        try:
            sha1s = []
            for number, start in enumerate(range(0, source.size, LARGEST_COPY), 1):
                span = (start, min(start + LARGEST_COPY, source.size) - 1)
                sha1s.append(self._run("copy_part", source.id_, id_, number, span)["contentSha1"])
            self._run("finish_large_file", id_, sha1s)
        except BaseException:
            self._run("cancel_large_file", id_)
            raise

    # Creating only what is not there. B2 has no condition for that, but it keeps every version: a writer that finds
    # another's beside its own takes its own back. Of two writers at once, the one who looks later sees both.

    def _refuse_taken(self, key: str) -> None:
        if self._first(key) == key:
            raise exceptions.Conflict(_TAKEN)

    def _give_way(self, key: str, id_: str) -> None:
        for version in self._versions(key):
            if version["action"] == "hide":  # what is older is deleted
                return
            if version["action"] == "upload" and version["fileId"] != id_:
                self._delete_version(key, id_)
                raise exceptions.Conflict(_TAKEN)


class _ServedStorage(B2Storage):
    """Files that Django hands on, to those who may see them; the views are in ``storages.private.b2_views``."""

    audience: str  # key of specific_bucket_names
    route: str

    def __init__(self, opts: Mapping[str, Any] | None = None, **options: Any):
        for name in {"realm", "application_key_id", "application_key", "bucket"} & {*(opts or {}), *options}:
            raise ImproperlyConfigured(
                f"{type(self).__name__}: {name!r} can only be set in BACKBLAZE_CONFIG, because the views that serve "
                "the files have to know it too; for a bucket of its own use 'specific_bucket_names' there"
            )
        super().__init__(opts, **options)
        self._shared_bucket = self.bucket
        self.bucket = self.specific_bucket_names[self.audience] or self.bucket

    def serves(self, key: str) -> bool:
        """Whether the view may hand on the object under ``key`` to the audience. Asks nothing of the service."""
        return True

    def _signs_urls(self) -> bool:
        return False

    def _public_url(self, key: str, parameters: Mapping[str, Any]) -> str:
        try:
            url = reverse(f"django_b2_storage:{self.route}", kwargs={"filename": key})
        except NoReverseMatch as error:
            raise ValueError(
                f"{type(self).__name__}: these files are served by views, which are not in the project's URLs; they "
                "come with storages.private: path('', include('storages.private.b2_urls'))"
            ) from error
        return with_query(url, parameters)


class B2PublicStorage(_ServedStorage):
    """Files for everybody: straight from a public bucket, else by a view."""

    audience, route = "public", "b2-public"

    def serves(self, key: str) -> bool:
        """Whether ``key`` is for everybody: below the prefix that was named, or in a bucket that is theirs alone."""
        if self.public_prefix:
            return key.startswith(self._open_root())
        names = self.specific_bucket_names
        others = {names[name] or self._shared_bucket for name in ("logged_in", "staff")}
        return bool(names["public"]) and names["public"] not in others

    @property
    def _prefix(self) -> str:
        return self._open_root() + super()._prefix

    def _open_root(self) -> str:
        return f"{self.public_prefix.strip('/')}/" if self.public_prefix else ""

    def _public_url(self, key: str, parameters: Mapping[str, Any]) -> str:
        if self.cdn_config or not self._bucket().is_private:
            return B2Storage._public_url(self, key, parameters)
        return super()._public_url(key, parameters)


class B2LoggedInStorage(_ServedStorage):
    """Files for users who are logged in, by a view."""

    audience, route = "logged_in", "b2-logged-in"


class B2StaffStorage(_ServedStorage):
    """Files for staff, by a view."""

    audience, route = "staff", "b2-staff"


# The names of django-backblaze-b2.
BackblazeB2Storage = B2Storage
PublicStorage = B2PublicStorage
LoggedInStorage = B2LoggedInStorage
StaffStorage = B2StaffStorage
B2File = StorageFile
B2FileInformationNotAvailableException = FileNotFoundError


class _Bucket:
    """What has to be known of a bucket."""

    def __init__(self, id_: str, *, is_private: bool):
        self.id_ = id_
        self.is_private = is_private


class _Account:
    """The SDK's client for one configuration, and what was found out with it."""

    def __init__(self, credentials: tuple[str, str, str], where: Mapping[str, Any], http: _Http):
        self.buckets: dict[str, _Bucket] = {}
        self.patience = http.patience
        self._realm, self._key_id, self._key = credentials
        self._lock = threading.Lock()
        self._logged_in = False
        info = _ACCOUNT_INFOS[where["type"]](where, credentials)
        config = b2sdk.B2HttpApiConfig(
            http_session_factory=lambda: http,
            install_clock_skew_hook=False,  # it switches the locale of the whole process with every answer
            user_agent_append="django-storages-ng",
        )
        self.api = b2sdk.B2Api(info, cache=b2sdk.AuthInfoCache(info), api_config=config)

    def run(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call the SDK, logged in; give up before a minute is over."""
        with self.patience():
            self.log_in()
            try:
                return call(*arguments, **options)
            except exceptions.BucketIdNotFound:
                self.buckets.clear()  # it may have been created anew
                raise

    def log_in(self) -> None:
        """Log in, unless this process or another one that shares the account info has."""
        if self._logged_in:
            return
        waited = self._lock.acquire(timeout=LOGIN_WAIT)
        try:
            if self._logged_in:
                return
            if not self.api.account_info.is_same_key(self._key_id, self._realm):
                with self.patience():
                    self.api.authorize_account(self._realm, self._key_id, self._key)
            self._logged_in = True
        finally:
            if waited:
                self._lock.release()

    def ask(self, endpoint: str, arguments: Mapping[str, Any]) -> Any:
        try:
            return self._post(endpoint, arguments)
        except exceptions.InvalidAuthToken:
            self.api.session.authorize_automatically()
            return self._post(endpoint, arguments)

    def _post(self, endpoint: str, arguments: Mapping[str, Any]) -> Any:
        session, info = self.api.session, self.api.account_info
        url = f"{info.get_api_url()}/b2api/{self.api.API_VERSION}/{endpoint}"
        headers = {"Authorization": info.get_account_auth_token()}
        return session.raw_api.b2_http.post_json_return_json(url, headers, dict(arguments))


@functools.cache
def _cached_info_class() -> Any:
    base: Any = b2sdk.InMemoryAccountInfo

    class CachedInfo(base):
        """A login that other processes find in a Django cache; the key stays in this one."""

        def __init__(self, cache: Any, cache_key: str, **known: Any):
            super().__init__()
            self._kept_in = functools.partial(cache.set, cache_key, timeout=TOKEN_LIFE)
            if login := cache.get(cache_key):
                super().set_auth_data(**login, **known)

        def set_auth_data(self, *arguments: Any, **login: Any) -> None:
            super().set_auth_data(*arguments, **login)
            self._kept_in(
                {
                    "account_id": self.get_account_id(),
                    "auth_token": self.get_account_auth_token(),
                    "api_url": self.get_api_url(),
                    "download_url": self.get_download_url(),
                    "recommended_part_size": self.get_recommended_part_size(),
                    "absolute_minimum_part_size": self.get_absolute_minimum_part_size(),
                    "s3_api_url": self.get_s3_api_url(),
                    "allowed": self.get_allowed(),
                }
            )

    return CachedInfo


def B2AccountInfoCache(cache_name: str = _CACHE) -> Any:  # noqa: N802 -- a class, as far as its callers see
    """Return account info for an SDK client of one's own, whose login other processes find in a Django cache.

    A process that has not called authorize_account() itself can use the login, but not renew it.
    """
    unknown = {"realm": None, "application_key_id": None, "application_key": None}
    return _cached_info_class()(caches[cache_name], "storages.b2", **unknown)


DjangoCacheAccountInfo = B2AccountInfoCache  # the name of django-backblaze-b2


def _in_cache(where: Mapping[str, Any], credentials: tuple[str, str, str]) -> Any:
    alias = where.get("cache") or _CACHE
    if alias not in django_settings.CACHES:
        if alias != _CACHE:
            raise ImproperlyConfigured(f"'account_info' names the cache {alias!r}, which is not in CACHES")
        return _in_memory(where, credentials)
    # Without the key, what the cache holds is found by nobody.
    digest = hashlib.sha256("\n".join(credentials).encode()).hexdigest()
    known = dict(zip(("realm", "application_key_id", "application_key"), credentials, strict=True))
    return _cached_info_class()(caches[alias], f"storages.b2.{digest}", **known)


def _in_memory(where: Mapping[str, Any], credentials: tuple[str, str, str]) -> Any:
    return b2sdk.InMemoryAccountInfo()


def _in_file(where: Mapping[str, Any], credentials: tuple[str, str, str]) -> Any:
    return b2sdk.SqliteAccountInfo(file_name=where.get("database_path"))


_ACCOUNT_INFOS = {"django-cache": _in_cache, "memory": _in_memory, "sqlite": _in_file}


class _Http:
    """A session of requests for the SDK, with timeouts, and an end to its patience.

    The SDK tries a request up to twenty times, for up to two minutes each, and sleeps for as long as a busy service
    likes.
    """

    def __init__(self, connect_timeout: float, read_timeout: float, max_attempts: int):
        self._session = requests.Session()
        self._timeout = (connect_timeout, read_timeout)
        self._max_attempts = max_attempts
        self._patience = threading.local()
        self.adapters = self._session.adapters  # which the SDK clears

    def mount(self, prefix: str, adapter: Any) -> None:
        adapter.init_poolmanager(process.CONNECTIONS, process.CONNECTIONS)
        self._session.mount(prefix, adapter)

    @contextlib.contextmanager
    def patience(self) -> Iterator[None]:
        """Begin to count tries and time in this thread, unless that has begun."""
        mine = self._patience
        if getattr(mine, "ends", None) is not None:
            yield
            return
        mine.ends, mine.tries = time.monotonic() + PATIENCE, 0
        try:
            yield
        finally:
            mine.ends = None

    def request(self, method: str, url: str, **arguments: Any) -> Any:
        arguments.update(timeout=self._timeout, allow_redirects=False)
        try:
            answer = self._session.request(method, url, **arguments)
        except requests.RequestException as error:
            self._count(error)
            raise
        if answer.status_code in _BUSY or answer.status_code >= 500:
            self._count(_error_in(answer))
        else:
            self._patience.tries = 0
        return answer

    def _count(self, error: Any) -> None:
        """Note a failed try; raise where the SDK is not to try again."""
        mine = self._patience
        if getattr(mine, "ends", None) is None:  # the client is used by itself
            return
        mine.tries += 1
        pause = getattr(error, "retry_after_seconds", None) or 1.5 ** (mine.tries - 1)
        if mine.tries >= self._max_attempts or time.monotonic() + pause + self._timeout[1] > mine.ends:
            raise exceptions.MaxRetriesExceeded(mine.tries, [error])


class _Parts:
    """A large file."""

    def __init__(self, storage: B2Storage, key: str, options: WriteOptions):
        self._storage = storage
        self._key = key
        self._options = options
        self._sha1s: dict[int, str] = {}
        arguments = (storage._bucket().id_, key, *_described(options))
        self._id: str = storage._run("start_large_file", *arguments)["fileId"]

    def send(self, number: int, body: Any) -> None:
        size, sha1 = _measured(body)
        self._sha1s[number] = sha1
        self._storage._upload("upload_part", self._id, number, size, sha1, body)

    def complete(self) -> None:
        self._storage._run("finish_large_file", self._id, [self._sha1s[number] for number in sorted(self._sha1s)])
        self._forget_urls()
        if self._options.create_only:
            self._storage._give_way(self._key, self._id)

    def abort(self) -> None:
        self._forget_urls()
        self._storage._run("cancel_large_file", self._id)

    def _forget_urls(self) -> None:
        self._storage.client.account_info.clear_large_file_upload_urls(self._id)


def _described(options: WriteOptions) -> tuple[str, dict[str, str]]:
    """Return content type and file information of a write."""
    info = _texts(options.parameters)
    return info.pop("Content-Type"), info


def _measured(body: Any) -> tuple[int, str]:
    """Return length and SHA-1 of what is left of a body."""
    size, sha1 = 0, hashlib.sha1(usedforsecurity=False)
    for chunk in read_chunks(body):
        size += len(chunk)
        sha1.update(chunk)
    return size, sha1.hexdigest()


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}


def _stat_of(headers: Mapping[str, str]) -> Stat:
    """Return the Stat in the answer to a HEAD or a GET, of which a range says the size of the whole."""
    if "x-bz-upload-timestamp" not in headers:  # which http.client takes for whole when a connection closes
        raise ConnectionError("the answer broke off in its headers")
    uploaded = _time_of(int(headers["x-bz-upload-timestamp"]))
    return Stat(
        size=size_of_whole(headers.get("Content-Range", ""), headers["Content-Length"]),
        modified=uploaded,
        created=uploaded,
        etag=headers["x-bz-file-id"],
        content_type=headers.get("Content-Type"),
        content_encoding=headers.get("Content-Encoding"),
    )


def _sha1_of(headers: Mapping[str, str]) -> bytes | None:
    sha1 = headers.get("x-bz-content-sha1", "").removeprefix("unverified:")
    return bytes.fromhex(sha1) if _SHA1.fullmatch(sha1) else None


def _time_of(milliseconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.timezone.utc)


def _error_in(answer: Any) -> Any:
    """Return what the SDK makes of a refusal."""
    try:
        said = answer.json()
    except ValueError:
        said = {}
    return exceptions.interpret_b2_error(answer.status_code, said.get("code"), said.get("message"), answer.headers)


def _cause(error: BaseException) -> BaseException:
    """Return what made the SDK try no more, or the error itself."""
    history = getattr(error, "exception_info_list", None)
    return history[-1] if history else error


def _snake(name: str) -> str:
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower()
