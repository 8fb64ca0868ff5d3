"""Google Cloud Storage."""

from __future__ import annotations

import base64
import contextlib
import datetime
import email
import email.utils
import functools
import json
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from storages import process, usual
from storages.base import BaseStorage, batches
from storages.compress import CompressStorageMixin
from storages.contract import (
    ANY,
    Body,
    Capabilities,
    Enforced,
    Entry,
    PartsMissing,
    Received,
    SignedRequest,
    Stat,
    UploadLimits,
    UploadTerms,
    WriteOptions,
)
from storages.errors import REQUESTS_MEANINGS, STATUS_MEANINGS, meaning_by_name
from storages.files import StorageFile
from storages.mixin import quoted, with_query
from storages.optional import OptionalModule
from storages.settings import HIDDEN, Renamed, Setting, nearest
from storages.streams import AnswerBody, EmptyBody, range_header, size_of_whole

google_storage = OptionalModule("google.cloud.storage", "google")
google_retry = OptionalModule("google.cloud.storage.retry", "google")
google_auth = OptionalModule("google.auth", "google")
google_auth_credentials = OptionalModule("google.auth.credentials", "google")
google_auth_iam = OptionalModule("google.auth.iam", "google")
google_auth_requests = OptionalModule("google.auth.transport.requests", "google")
google_service_account = OptionalModule("google.oauth2.service_account", "google")
google_crc32c = OptionalModule("google_crc32c", "google")
exceptions = OptionalModule("google.api_core.exceptions", "google")
requests_adapters = OptionalModule("requests.adapters", "google")

# cloud.google.com/storage/quotas
LONGEST_KEY = 1024  # bytes
LONGEST_EXPIRE = 7 * 24 * 3600  # seconds, of a V4 signature
CHUNK_UNIT = 256 * 1024  # bytes; every chunk of a resumable upload but the last is a multiple
MOST_DELETES = 100  # calls in one batch request
LARGEST_OBJECT = 5 * 1024**4  # bytes

# What signs in place of a private key, and whoever may ask it to.
_IAM_SCOPE = "https://www.googleapis.com/auth/cloud-platform"

# Properties of an object that a write may set.
_PARAMETERS = (
    *("acl", "cache_control", "content_disposition", "content_encoding", "content_language", "content_type"),
    *("custom_time", "event_based_hold", "kms_key_name", "metadata", "storage_class", "temporary_hold"),
)
# Those that a copy takes over from its source.
_COPIED = (
    *("cache_control", "content_disposition", "content_encoding", "content_language", "content_type"),
    *("custom_time", "metadata"),
)
_TOLD = ("cache_control", "content_disposition", "content_language", "metadata")
_PUBLIC_ACLS = ("publicRead", "public-read")  # as the two APIs of the service spell it
_LISTED = "items(name,size,updated,generation),prefixes,nextPageToken"
# What the SDK reads itself, and what a client therefore depends on.
_ENVIRONMENT = ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS")

# Errors of google-auth and below it, and ours.
_CLIENT_MEANINGS: dict[str, type[Exception]] = {
    **REQUESTS_MEANINGS,
    **dict.fromkeys(("TransportError", "UploadBroken"), ConnectionError),
    **dict.fromkeys(("DefaultCredentialsError", "MalformedError"), ImproperlyConfigured),
    **dict.fromkeys(("InvalidOperation", "RefreshError"), PermissionError),
}

# google-auth gives no status with a refusal to sign, only what IAM said.
_IAM_MEANINGS: dict[str, type[Exception]] = {
    "PERMISSION_DENIED": PermissionError,
    "UNAUTHENTICATED": PermissionError,
    "NOT_FOUND": ImproperlyConfigured,
}

# Method and end of the path of a refused request to what it needs.
_PERMISSIONS = (
    ("GET", "/o", "storage.objects.list"),
    ("GET", "", "storage.objects.get"),
    ("POST", "/o", "storage.objects.create, and storage.objects.delete to replace an object"),
    ("POST", "", "storage.objects.get for the source and storage.objects.create for the target"),
    ("PATCH", "", "storage.objects.update and storage.objects.setIamPolicy"),
    ("DELETE", "", "storage.objects.delete"),
)

_OBJECTS = re.compile(r"(/upload)?/storage/v1/b/[^/]+/o")  # the path under which objects are listed and made

# What the service says of an upload session that has ended, or that it has forgotten.
_GONE = (404, 410)

# The URL of an upload session lets everybody who has it write.
_SESSION_ID = re.compile(r"upload_id=[^&\s'\")]+")


class UploadBroken(OSError):
    """The service cannot go on with a long write, and asking it again is of no use."""


def Client(**arguments: Any) -> Any:  # noqa: N802 -- under the SDK's name, which tests of projects patch here
    """Return a new google.cloud.storage Client."""
    return google_storage.Client(**arguments)


class GoogleCloudFile(StorageFile):
    """An open object of Google Cloud Storage."""

    @property
    def blob(self) -> Any:
        """Return the SDK's Blob, for what the storage has no verb for."""
        return self._storage.bucket.blob(self._storage._key(self.name))


class GoogleCloudStorage(CompressStorageMixin, BaseStorage):
    """Store files in a bucket of Google Cloud Storage."""

    project_id = Setting(names=("GS_PROJECT_ID",), help="Project; nothing that is done with objects needs it.")
    credentials = Setting(
        names=("GS_CREDENTIALS",),
        type=object,
        secret=True,
        help="Credentials of google-auth, or the path or the content (a dict) of a JSON file with some. Left out, "
        "google-auth finds and refreshes what the environment or the machine provides.",
    )
    bucket_name = Setting(names=("GS_BUCKET_NAME",), help="Bucket; it must exist.")
    custom_endpoint = Setting(
        names=("GS_CUSTOM_ENDPOINT",), help="Start of URLs that stands for the bucket, such as https://cdn.example.com."
    )
    location = usual.LOCATION.named("GS_LOCATION")
    default_acl = Setting(
        None,
        names=("GS_DEFAULT_ACL",),
        role="acl",
        help="Predefined ACL of new objects; None sends none. With publicRead, url() does not sign.",
    )
    querystring_auth = usual.QUERYSTRING_AUTH.named("GS_QUERYSTRING_AUTH")
    expiration = Setting(
        datetime.timedelta(days=1),
        names=("GS_EXPIRATION",),
        type=(datetime.timedelta, datetime.datetime, int),
        role="expire",
        help="Life of a signed URL, at most seven days: a timedelta or seconds; or its end: a datetime or the seconds "
        "since 1970.",
    )
    gzip = usual.GZIP.named("GS_IS_GZIPPED")
    gzip_content_types = usual.GZIP_CONTENT_TYPES.named("GZIP_CONTENT_TYPES")
    file_overwrite = usual.OVERWRITE.named("GS_FILE_OVERWRITE", default=True)
    object_parameters = usual.OBJECT_PARAMETERS.named(
        "GS_OBJECT_PARAMETERS",
        help="Properties of every object, such as cache_control, or a callable of key and content that returns them.",
    )
    max_memory_size = usual.MAX_MEMORY_SIZE.named("GS_MAX_MEMORY_SIZE")
    blob_chunk_size = Setting(
        None,
        names=("GS_BLOB_CHUNK_SIZE",),
        type=int,
        least=CHUNK_UNIT,
        help="Bytes of one chunk of a long write, a multiple of 256 KiB; a shorter file is one request. None: 8 MiB.",
    )
    iam_sign_blob = Setting(
        False,
        names=("GS_IAM_SIGN_BLOB",),
        type=bool,
        help="Whether URLs are signed by the IAM API even where the credentials have a private key.",
    )
    sa_email = Setting(
        names=("GS_SA_EMAIL",),
        help="Service account in whose name the IAM API signs; that of the credentials otherwise.",
    )
    checksums = Setting(
        True,
        names=("GS_CHECKSUMS",),
        type=bool,
        help="Whether uploads carry a CRC32C, and whole downloads are compared with theirs.",
    )
    connect_timeout = usual.CONNECT_TIMEOUT.named("GS_CONNECT_TIMEOUT")
    read_timeout = usual.READ_TIMEOUT.named("GS_READ_TIMEOUT")
    retry_deadline = Setting(
        20,
        names=("GS_RETRY_DEADLINE",),
        type=(int, float),
        least=0,
        help="Seconds from its start in which a failed request is tried again; 0: never.",
    )
    client_options = Setting(
        names=("GS_CLIENT_OPTIONS",),
        type=dict,
        help="Options of the SDK's client, such as api_endpoint for an emulator or universe_domain.",
    )

    renamed = {
        "cache_control": Renamed("object_parameters", ("GS_CACHE_CONTROL",), lambda value: {"cache_control": value}),
    }
    removed = {
        "auto_create_bucket": "create the bucket once, by hand or by your deployment",
        "auto_create_acl": "use 'default_acl' (GS_DEFAULT_ACL) for objects",
        "file_charset": "leave it out; names are UTF-8",
    }

    capabilities = Capabilities(
        ranges=True,
        parts=True,
        create_only=True,
        if_match=True,
        copy=True,
        delete_many=True,
        content_type=True,
        created_time=True,
        presign=frozenset({"GET", "HEAD", "PUT", "POST", "DELETE"}),
        missing={"accessed_time": "Google Cloud Storage does not note reads."},
    )

    sdk = google_storage
    file_class = GoogleCloudFile
    response_parameters = {"content_type": "response_type", "content_disposition": "response_disposition"}
    longest_key = LONGEST_KEY
    longest_expire = LONGEST_EXPIRE
    parts_at_once = 0  # the chunks of a resumable upload come one after the other

    _client: Any = None  # instead of the shared one, where somebody assigns it

    def __init__(self, **options: Any):
        super().__init__(**options)
        if self.blob_chunk_size:
            if self.blob_chunk_size % CHUNK_UNIT:
                raise ImproperlyConfigured(
                    f"{type(self).__name__}: {self._spelt('blob_chunk_size')} is a multiple of {CHUNK_UNIT} bytes, "
                    f"unlike {self.blob_chunk_size}"
                )
            self.part_size = self.blob_chunk_size

    # Clients

    @property
    def client(self) -> Any:
        """Return the SDK's client, one for all storages and threads of this process with the same configuration."""
        return self._client or self._derived("client", self._shared_client)

    @property
    def bucket(self) -> Any:
        """Return the SDK's Bucket. Sends nothing."""
        return self.client.bucket(self._bucket())

    def _shared_client(self) -> Any:
        environment = map(os.environ.get, _ENVIRONMENT)
        options = (self.project_id, self.credentials, self.client_options)
        return process.shared(("gcloud", Client, *options, *environment), self._make_client)

    def _make_client(self) -> Any:
        client = Client(
            project=self.project_id, credentials=self._loaded_credentials(), client_options=self.client_options
        )
        # Else a thread of the SDK asks for the bucket's own properties, for traces, which accounts often may not.
        client._bucket_metadata_cache = None
        if not client._http.is_mtls:  # which brings its own
            adapter = requests_adapters.HTTPAdapter(pool_maxsize=process.CONNECTIONS)
            client._http.mount("https://", adapter)
            client._http.mount("http://", adapter)
        return client

    def _loaded_credentials(self) -> Any:
        given = self.credentials
        if isinstance(given, (str, os.PathLike)):
            try:
                given = json.loads(Path(given).read_bytes())
            except (OSError, ValueError) as error:
                raise ImproperlyConfigured(
                    f"{type(self).__name__}: {self._spelt('credentials')} must be the path of a JSON file with "
                    f"credentials: {os.fspath(self.credentials)!r}: {type(error).__name__}"
                ) from error
        if not isinstance(given, Mapping):
            return given
        with warnings.catch_warnings():
            # google-auth warns of configurations that strangers supply; this one is in the project's settings.
            warnings.simplefilter("ignore", DeprecationWarning)
            return google_auth.load_credentials_from_dict(dict(given))[0]

    # Hooks

    def _stat(self, key: str) -> Stat:
        blob = self._blob(key)
        blob.reload(**self._limits)
        return Stat(
            size=blob.size,
            modified=blob.updated,
            created=blob.time_created,
            etag=str(blob.generation),
            content_type=blob.content_type,
            content_encoding=blob.content_encoding,
            headers=_headers({name: getattr(blob, name) for name in _TOLD}),
        )

    def _open_range(self, key: str, start: int, end: int | None, if_match: str | None = None) -> Body:
        # Else what is stored compressed comes decompressed.
        headers = {"Accept-Encoding": "gzip", **range_header(start, end)}
        url = f"{self._endpoint()}/download{self._path(key)}?alt=media"
        try:
            body: Any = self._limits["retry"](self._download)(url, headers)
        except exceptions.RequestRangeNotSatisfiable:
            # The object ends before the range; an empty one before any range at all.
            body = EmptyBody(self._stat(key))
        if if_match and body.stat.etag != if_match:
            body.close()
            raise exceptions.PreconditionFailed(f"generation {body.stat.etag} instead of {if_match}")
        return body

    def _put(self, key: str, body: Any, options: WriteOptions) -> None:
        blob, arguments = self._new_blob(key, options)
        blob.upload_from_string(
            body.read(), blob.content_type, checksum="crc32c" if self.checksums else None, **arguments, **self._limits
        )

    def _start_parts(self, key: str, options: WriteOptions) -> _Session:
        blob, arguments = self._new_blob(key, options)
        url = blob.create_resumable_upload_session(blob.content_type, checksum=None, **arguments, **self._limits)
        return _Session(self, url)

    def _delete(self, key: str) -> None:
        self._blob(key).delete(**self._limits)

    def _delete_many(self, keys: Iterable[str]) -> Iterator[tuple[str, BaseException]]:
        for batch in batches(keys, MOST_DELETES):
            for key, error in self._delete_batch(batch):
                # The batch as a whole succeeded, so nobody has tried these again yet.
                retriable = error.code == 429 or error.code >= 500
                yield from super()._delete_many([key]) if retriable else [(key, error)]

    def _copy(self, source_key: str, key: str) -> None:
        source, target = self._blob(source_key), self._blob(key)
        parameters = dict(self.get_object_parameters(key))
        acl = parameters.pop("acl", self.default_acl)
        if parameters:
            # The service keeps either all properties of the source or none.
            source.reload(**self._limits)
            kept = {name: getattr(source, name) for name in _COPIED}
            _set({name: value for name, value in kept.items() if value}, target)
            _set(parameters, target)
        token, *_ = target.rewrite(source, **self._limits)
        while token:  # long ones take several requests
            token, *_ = target.rewrite(source, token=token, **self._limits)
        if acl:
            target.acl.loaded = True  # else the SDK asks for those that are being replaced
            target.acl.save_predefined(acl, **self._limits)

    def _list(self, prefix: str) -> Iterator[Entry]:
        for page in self._pages(prefix, delimiter="/"):
            for group in page.prefixes:
                yield Entry(group[:-1], True)
            yield from _entries(page)

    def _walk(self, prefix: str) -> Iterator[Entry]:
        for page in self._pages(prefix):
            yield from _entries(page)

    def _first(self, prefix: str) -> str:
        page = next(self._pages(prefix, max_results=1))
        return next((blob.name for blob in page), "")

    def _classify(self, error: BaseException) -> type[Exception] | None:
        error = _cause(error)
        if isinstance(error, FileExistsError):
            return FileExistsError
        if isinstance(error, exceptions.GoogleAPICallError):
            kind = STATUS_MEANINGS.get(error.code)
            if kind is PermissionError and _is_about_quota(error):
                return OSError
            return ImproperlyConfigured if kind is FileNotFoundError and _is_about_bucket(error) else kind
        kind = meaning_by_name(error, _CLIENT_MEANINGS)
        if kind is ConnectionError and "signBlob" in str(error):
            return next((meaning for status, meaning in _IAM_MEANINGS.items() if status in str(error)), kind)
        return kind

    def _advise(self, error: BaseException, kind: type[Exception]) -> str:
        said = f"{type(self).__name__}: {_without_session(str(_cause(error)))}"
        if "signBlob" in said and kind in (PermissionError, ImproperlyConfigured):
            return (
                f"{said}. The credentials may lack iam.serviceAccounts.signBlob (role Service Account Token Creator) "
                f"on the service account, or {self._spelt('sa_email')} names another one than is meant"
            )
        if kind is FileNotFoundError:
            return f"There is no such object in the bucket {self.bucket_name!r}"
        if kind is FileExistsError:
            return f"There is such an object already in the bucket {self.bucket_name!r}"
        if kind is OSError:
            return f"{said}. A quota of the project is used up: wait, or raise it on the console's page of quotas"
        if isinstance(_cause(error), exceptions.Forbidden):
            return f"{said}. The credentials may lack {_permission(error)}"
        if kind is PermissionError:
            return f"{said}. Google does not know these credentials (any more): renew {self._spelt('credentials')}"
        if kind in (ConnectionError, TimeoutError):
            return f"{said}. Check the network, and {self._spelt('client_options')} if it has an api_endpoint"
        if isinstance(error, exceptions.NotFound):
            return (
                f"{said}: the bucket {self.bucket_name!r} does not exist: create it, or correct "
                f"{self._spelt('bucket_name')}"
            )
        return f"{said}. Set {self._spelt('credentials')}, or what google-auth finds by itself"

    # Uploads by somebody else

    def _upload_kinds(self) -> dict[str, Enforced]:
        # Where objects are to get an ACL or other properties, it is the copy that gets them: none of them is in what a
        # browser has, and nothing is public before it was looked at.
        second_write = "promote" if self._gives_properties() else "denied"
        kinds = {}
        if self._can_sign():
            kinds["put"] = Enforced("exact", "signed", "none", second_write, UploadLimits(LARGEST_OBJECT))
        limits = UploadLimits(LARGEST_OBJECT, smallest_part=CHUNK_UNIT, part_multiple=CHUNK_UNIT)
        return {**kinds, "resumable": Enforced("exact", "signed", "none", second_write, limits)}

    def _presign_upload(self, key: str, kind: str, terms: UploadTerms) -> SignedRequest:
        # cloud.google.com/storage/docs/xml-api/reference-headers
        headers = {
            "Content-Type": terms.content_type,
            "x-goog-content-length-range": f"{terms.size},{terms.size}",
            "x-goog-if-generation-match": "0",
        }
        # At the service itself: what stands for the bucket in other URLs may only read.
        parameters = {"headers": headers, "api_access_endpoint": self._endpoint()}
        return SignedRequest("PUT", self._presign(key, "PUT", terms.seconds, parameters), headers)

    def _open_upload(self, key: str, kind: str, terms: UploadTerms) -> str:
        blob, arguments = self._new_blob(key, WriteOptions({"content_type": terms.content_type}, create_only=True))
        # To the origin the session then answers as CORS wants it, whatever the bucket says.
        whose = {"size": terms.size, "origin": terms.origin or None}
        url: str = blob.create_resumable_upload_session(
            terms.content_type, checksum=None, **whose, **arguments, **self._limits
        )
        return url

    def _presign_part(
        self, key: str, kind: str, state: str, number: int, terms: UploadTerms, checksum: str
    ) -> SignedRequest:
        return SignedRequest("PUT", state)

    def _received_parts(self, key: str, kind: str, state: str) -> list[Received]:
        try:
            answer = self._send("PUT", state, data=b"", headers={"Content-Range": "bytes */*"})
        except exceptions.GoogleAPICallError as error:
            if error.code not in _GONE:
                raise
            size = self._stat(key).size
        else:
            size = _arrived(answer) if answer.status_code == 308 else int(answer.json()["size"])
        return [Received(1, size)] if size else []

    def _close_upload(self, key: str, kind: str, state: str, terms: UploadTerms, checksums: Mapping[int, str]) -> None:
        # The service makes the object with the last byte; there was none before.
        try:
            size = self._stat(key).size
        except exceptions.NotFound:
            arrived = sum(part.size for part in self._received_parts(key, kind, state))
            if arrived < terms.size:
                raise PartsMissing(list(range(arrived // terms.part_size + 1, terms.parts + 1))) from None
        else:
            if size != terms.size:
                raise FileExistsError(key)

    def _abandon_upload(self, key: str, kind: str, state: str) -> None:
        if state:  # sessions are not listed; one that nobody knows ends by itself within a week
            self._end_session(state)

    def _own_headers(self, key: str) -> Mapping[str, str]:
        return dict.fromkeys(_headers(self.get_object_parameters(key)), ANY)  # a copy sets them

    def _end_session(self, url: str) -> None:
        try:
            self._send("DELETE", url)
        except exceptions.GoogleAPICallError as error:
            if error.code not in (*_GONE, 499):  # which is how the service says that it now is
                raise

    def _gives_properties(self) -> bool:
        """Whether new objects get more properties than their type; a subclass's own choice may be any."""
        overridden = type(self).get_object_parameters is not GoogleCloudStorage.get_object_parameters
        return bool(overridden or self.default_acl or self.object_parameters)

    def _can_sign(self) -> bool:
        """Whether there is an account to sign for, as far as that can be told without asking anybody."""
        if self.credentials is None:
            return True  # what google-auth finds on a machine has one, or IAM signs
        credentials = self.client._credentials
        account = self.sa_email or getattr(credentials, "service_account_email", None)
        return bool(account) or isinstance(credentials, google_auth_credentials.Signing)

    # URLs

    def _signs_urls(self) -> bool:
        return bool(self.querystring_auth and self.default_acl not in _PUBLIC_ACLS)

    def _presign(self, key: str, method: str, seconds: int, parameters: Mapping[str, Any]) -> str:
        arguments: dict[str, Any] = {
            "version": "v4",
            "method": method,
            "expiration": datetime.timedelta(seconds=seconds),
            **parameters,
        }
        if not arguments.keys() & {"credentials", "access_token"}:
            arguments["credentials"] = self._derived("signer", self._make_signer)
        if self.custom_endpoint and not arguments.keys() & {"api_access_endpoint", "virtual_hosted_style"}:
            arguments.setdefault("bucket_bound_hostname", self._public_base())
        for name in ("headers", "query_parameters"):  # to which the SDK adds
            if arguments.get(name) is not None:
                arguments[name] = dict(arguments[name])
        return self._blob(key).generate_signed_url(**arguments)

    def _public_url(self, key: str, parameters: Mapping[str, Any]) -> str:
        return with_query(f"{self._public_base()}/{quoted(key)}", parameters.get("query_parameters") or {})

    def _public_base(self) -> str:
        if not self.custom_endpoint:
            return f"{self._endpoint()}/{self._bucket()}"
        base = self.custom_endpoint.rstrip("/")
        return base if "://" in base else f"https://{base}"

    def _make_signer(self) -> Any:
        """Return credentials that sign: the client's own, or where they have no private key the IAM API."""
        credentials = self.client._credentials
        if isinstance(credentials, google_auth_credentials.Signing) and not self.iam_sign_blob:
            return credentials
        if isinstance(credentials, google_auth_credentials.Scoped):
            credentials = credentials.with_scopes([_IAM_SCOPE])
        request = functools.partial(google_auth_requests.Request(), timeout=self._limits["timeout"])
        account = self.sa_email or getattr(credentials, "service_account_email", None)
        if account == "default":  # a machine knows its account only once it has asked
            credentials.refresh(request)
            account = credentials.service_account_email
        if not account:
            raise ImproperlyConfigured(
                f"{type(self).__name__}: these credentials have no private key to sign URLs with; name a service "
                f"account in {self._spelt('sa_email')} for the IAM API to sign, or set "
                f"{self._spelt('querystring_auth')} to False"
            )
        signer = google_auth_iam.Signer(request, credentials, account)
        return google_service_account.Credentials(signer, account, token_uri="")

    # Requests

    @property
    def _limits(self) -> dict[str, Any]:
        return self._derived(
            "limits",
            lambda: {
                "timeout": (self.connect_timeout, self.read_timeout),
                "retry": google_retry.DEFAULT_RETRY.with_timeout(self.retry_deadline),
            },
        )

    def _bucket(self) -> str:
        return self._needed("bucket_name")

    def _blob(self, key: str) -> Any:
        return self.bucket.blob(key)

    def _new_blob(self, key: str, options: WriteOptions) -> tuple[Any, dict[str, Any]]:
        """Return a Blob with the properties of a write, and the arguments that say under which conditions."""
        blob = self._blob(key)
        arguments: dict[str, Any] = {}
        if acl := _set(options.parameters, blob):
            arguments["predefined_acl"] = blob.acl.validate_predefined(acl)
        if options.create_only or options.if_match:
            arguments["if_generation_match"] = int(options.if_match or 0)
        return blob, arguments

    def _endpoint(self) -> str:
        """Return the start of all URLs of the service, as the SDK's client finds it, without making one."""
        options = self.client_options or {}
        domain = options.get("universe_domain") or "googleapis.com"
        found = options.get("api_endpoint") or os.environ.get("STORAGE_EMULATOR_HOST") or f"https://storage.{domain}"
        return found.rstrip("/")

    def _path(self, key: str) -> str:
        return f"/storage/v1/b/{self._bucket()}/o/{quote(key, safe='')}"

    def _send(self, method: str, url: str, **arguments: Any) -> Any:
        """Send what the SDK has no method for, again where that helps; raises what the SDK raises."""
        return self._limits["retry"](self._send_once)(method, url, **arguments)

    def _send_once(self, method: str, url: str, **arguments: Any) -> Any:
        try:
            answer = self.client._http.request(
                method, url, timeout=self._limits["timeout"], allow_redirects=False, **arguments
            )
        except Exception as failure:
            if _SESSION_ID.search(str(failure)):  # of a connection that failed, told with its URL
                raise type(failure)(_without_session(str(failure))) from None
            raise
        if answer.status_code >= 400:
            with contextlib.closing(answer):
                error = exceptions.from_http_response(answer)
            error.message = _without_session(error.message)
            error.args = (error.message,)
            raise error
        return answer

    def _download(self, url: str, headers: dict[str, str]) -> AnswerBody:
        answer = self._send_once("GET", url, headers=headers, stream=True)
        try:
            stat = _stat_of(answer.headers)
            whole = self.checksums and int(answer.headers["Content-Length"]) == stat.size
            return AnswerBody(answer, stat, google_crc32c.Checksum(), _crc32c_of(answer.headers) if whole else None)
        except (KeyError, ValueError) as error:
            answer.close()
            raise ConnectionError("the service's answer broke off in its headers") from error

    def _pages(self, prefix: str, **arguments: Any) -> Iterator[Any]:
        listing = self.client.list_blobs(self._bucket(), prefix=prefix, fields=_LISTED, **arguments, **self._limits)
        return listing.pages

    def _delete_batch(self, keys: list[str]) -> Iterator[tuple[str, Any]]:
        """Delete the objects in one request; yield a key and its error for each that is still there."""
        # The SDK's own batches leave out the ids, so that an answer could be taken for another's.
        boundary = "==storages=="  # quoted keys hold no "="
        parts = [
            f"--{boundary}\r\nContent-Type: application/http\r\nContent-ID: <{number}>\r\n\r\n"
            f"DELETE {self._path(key)} HTTP/1.1\r\n\r\n\r\n"
            for number, key in enumerate(keys)
        ]
        headers = {"Content-Type": f'multipart/mixed; boundary="{boundary}"'}
        body = "".join([*parts, f"--{boundary}--\r\n"])
        answer = self._send("POST", f"{self._endpoint()}/batch/storage/v1", data=body, headers=headers)
        left = dict(enumerate(keys))
        for number, status, said in _answers(answer):
            key = left.pop(number)
            if status >= 300:
                yield key, exceptions.from_http_status(status, f"DELETE {key}: {said}")
        for key in left.values():
            yield key, exceptions.from_http_status(500, f"DELETE {key}: the batch has no answer to it")


class _Session:
    """A resumable upload. Its chunks come one after the other, and only the last may say how long the object is."""

    def __init__(self, storage: GoogleCloudStorage, url: str):
        self._storage = storage
        self._url = url
        self._sent = 0  # bytes that the service has
        self._held = b""  # those that come after
        self._in_doubt = False  # whether the service has more than that
        self._checksum = google_crc32c.Checksum()

    def send(self, number: int, body: Any) -> None:
        if self._held:
            self._pass_on(None)
        chunk = body.read()
        self._held = self._held + chunk if self._held else chunk
        self._checksum.update(chunk)

    def complete(self) -> None:
        size = self._sent + len(self._held)
        while not self._pass_on(size):
            pass

    def abort(self) -> None:
        self._storage._end_session(self._url)

    def _pass_on(self, size: int | None) -> bool:
        """Send what is held; of it, the service may keep only a beginning. Return whether the object is complete."""
        before = self._sent
        done: bool = self._storage._limits["retry"](self._attempt)(size)
        if not done and self._sent == before:
            raise UploadBroken("the service takes no more of this upload; write the file again")
        return done

    def _attempt(self, size: int | None) -> bool:
        if self._in_doubt:
            if self._ask(b"", size):  # asks what has arrived
                return True
            if not self._held:
                return False
        self._in_doubt = True
        done = self._ask(self._held, size)
        self._in_doubt = False
        return done

    def _ask(self, chunk: bytes, size: int | None) -> bool:
        span = f"{self._sent}-{self._sent + len(chunk) - 1}" if chunk else "*"
        headers = {"Content-Range": f"bytes {span}/{'*' if size is None else size}"}
        if self._storage.checksums and chunk and size is not None:
            headers["X-Goog-Hash"] = f"crc32c={_encoded(self._checksum)}"
        try:
            answer = self._storage._send_once("PUT", self._url, data=chunk, headers=headers)
        except exceptions.GoogleAPICallError as error:
            if error.code in _GONE:
                raise UploadBroken("the service has given up this upload; write the file again") from error
            raise
        if answer.status_code != 308:
            if answer.json().get("size") != str(size):
                raise UploadBroken("the service has closed this upload before its end; write the file again")
            return True
        arrived = _arrived(answer)
        if arrived < self._sent:
            raise UploadBroken("the service has lost the beginning of this upload; write the file again")
        self._held, self._sent = self._held[arrived - self._sent :], arrived
        return False


def _arrived(answer: Any) -> int:
    """Return how many bytes an upload that is not complete has, by the answer of its session."""
    span = answer.headers.get("Range")
    return int(span.partition("-")[2]) + 1 if span else 0


def _set(parameters: Mapping[str, Any], blob: Any) -> str | None:
    """Give a Blob the properties of a write; return the ACL, which it has no property for.

    Raises ImproperlyConfigured for what no object has.
    """
    for name, value in parameters.items():
        if name not in _PARAMETERS:
            raise ImproperlyConfigured(
                f"Google Cloud Storage has no object parameter {name!r}{nearest(name, _PARAMETERS)}"
            )
        if name != "acl":
            setattr(blob, name, value)
    return parameters.get("acl")


def _headers(properties: Mapping[str, Any]) -> dict[str, str]:
    """Return those of an object's properties that a writer chooses, by the names of their headers."""
    found = {name.replace("_", "-"): properties.get(name) for name in _TOLD if name != "metadata"}
    found |= {f"x-goog-meta-{name.lower()}": value for name, value in (properties.get("metadata") or {}).items()}
    return {name: str(value) for name, value in found.items() if value}


def _entries(page: Any) -> Iterator[Entry]:
    for blob in page:
        if not blob.name.endswith("/"):  # what consoles put there to show an empty directory
            yield Entry(blob.name, False, blob.size, blob.updated, str(blob.generation))


def _answers(answer: Any) -> Iterator[tuple[int, int, str]]:
    """Yield number, status and body of each answer in that to a batch."""
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    message: Any = email.message_from_bytes(head + answer.content)
    for part in message.get_payload():
        status_line, _, rest = part.get_payload().lstrip().partition("\n")
        yield int(re.findall(r"\d+", part["Content-ID"])[-1]), int(status_line.split()[1]), rest.strip()


def _stat_of(headers: Mapping[str, str]) -> Stat:
    """Return the Stat in the answer to a download, of which a range says the size of the whole."""
    encoding = headers.get("X-Goog-Stored-Content-Encoding") or headers.get("Content-Encoding")
    modified = headers.get("Last-Modified")
    return Stat(
        size=size_of_whole(headers.get("Content-Range", ""), headers["Content-Length"]),
        modified=email.utils.parsedate_to_datetime(modified) if modified else None,
        etag=headers.get("X-Goog-Generation"),
        content_type=headers.get("Content-Type"),
        content_encoding=None if encoding == "identity" else encoding,
    )


def _crc32c_of(headers: Mapping[str, str]) -> bytes | None:
    found = re.search(r"crc32c=([^\s,]+)", headers.get("X-Goog-Hash", ""))
    return base64.b64decode(found[1]) if found else None


def _encoded(checksum: Any) -> str:
    return base64.b64encode(checksum.digest()).decode()


def _cause(error: BaseException) -> Any:
    """Return what made the SDK try no more, or the error itself."""
    return (error.cause or error) if isinstance(error, exceptions.RetryError) else error


def _is_about_bucket(error: Any) -> bool:
    """Whether a 404 means the bucket: only that can be missing where objects are listed or made."""
    return "bucket does not exist" in str(error) or bool(_OBJECTS.fullmatch(_request_of(error)[1]))


def _is_about_quota(error: Any) -> bool:
    """Whether a 403 is about how much, not about who. The reason is in the message of a refused upload only."""
    return "Exceeded" in f"{error} {error.errors}"


def _permission(error: Any) -> str:
    method, path = _request_of(_cause(error))
    kind = "/o" if _OBJECTS.fullmatch(path) else ""
    return next((needs for *request, needs in _PERMISSIONS if request == [method, kind]), "the permission for this")


def _request_of(error: Any) -> tuple[str, str]:
    """Return method and path of the request that failed, or nothing where the error does not tell."""
    answer = getattr(error, "response", None)
    request = None if answer is None else answer.request  # a Response that is an error is false
    return (request.method, urlsplit(request.url).path) if request is not None else ("", "")


def _without_session(message: str) -> str:
    return _SESSION_ID.sub(f"upload_id={HIDDEN}", message)
