"""Azure Blob Storage."""

from __future__ import annotations

import base64
import binascii
import datetime
import functools
import hashlib
import hmac
import io
import re
import threading
import time
import urllib.parse
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.utils import timezone

from storages import process, usual
from storages.base import BaseStorage, batches
from storages.contract import (
    ANY,
    PATIENCE,
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
from storages.errors import STATUS_MEANINGS, meaning_by_name
from storages.files import StorageFile
from storages.mixin import quoted, with_query
from storages.optional import OptionalModule
from storages.settings import HIDDEN, Setting, nearest
from storages.streams import ChunkReader, EmptyBody, size_of_whole

blob_sdk = OptionalModule("azure.storage.blob", "azure")
core = OptionalModule("azure.core", "azure")
credentials = OptionalModule("azure.core.credentials", "azure")
exceptions = OptionalModule("azure.core.exceptions", "azure")
requests = OptionalModule("requests", "azure")
adapters = OptionalModule("requests.adapters", "azure")

# learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
LONGEST_KEY = 1024
MOST_SEGMENTS = 254
MOST_DELETES = 256  # subrequests of one batch
LONGEST_DELEGATION = datetime.timedelta(days=7)  # of a user delegation key, and so of what it signs

# A key is asked for from a little in the past to a little before the limit: clocks differ.
CLOCK_SKEW = datetime.timedelta(minutes=15)
# A delegation key signs for so long even where a later one would let the URL live longer.
DELEGATION_AGE = datetime.timedelta(hours=1)

# The SDK asks three times for a download that breaks off, so three of the read timeout must fit into PATIENCE.
CONNECT_TIMEOUT = 5  # seconds; also for each 16 KiB of an upload to leave
READ_TIMEOUT = 15  # seconds without a byte
COPY_POLL = 0.5  # seconds between two looks at a copy that goes on in the background

# learn.microsoft.com/azure/storage/blobs/scalability-targets
LARGEST_PUT = 5000 * 1024**2  # bytes
LARGEST_BLOCK = 4000 * 1024**2  # bytes
MOST_BLOCKS = 50_000

DOWNLOAD_SIZE = 4 * 1024**2  # bytes of one answer; the SDK holds it whole, and an MD5 comes with no larger one
BLOCK_SIZE = 64 * 1024  # bytes; a longer body is sent piece by piece

# The account that every emulator has: learn.microsoft.com/azure/storage/common/storage-connect-azurite
EMULATOR = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1"
)

# Error codes of the service to what they mean.
# learn.microsoft.com/rest/api/storageservices/blob-service-error-codes and .../common-rest-api-error-codes
_MEANINGS: dict[str, type[Exception]] = {
    **dict.fromkeys(("BlobNotFound", "ResourceNotFound", "CannotVerifyCopySource"), FileNotFoundError),
    **dict.fromkeys(("BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet"), FileExistsError),
    **dict.fromkeys(
        (
            *("AuthenticationFailed", "AuthorizationFailure", "AuthorizationPermissionMismatch"),
            *("InsufficientAccountPermissions", "InvalidAuthenticationInfo", "KeyBasedAuthenticationNotPermitted"),
            *("NoAuthenticationInformation", "PublicAccessNotPermitted", "AccountIsDisabled"),
            *("BlobImmutableDueToPolicy", "LeaseIdMissing", "LeaseIdMismatchWithBlobOperation"),
        ),
        PermissionError,
    ),
    **dict.fromkeys(
        ("ContainerNotFound", "ContainerDisabled", "ContainerBeingDeleted", "InvalidResourceName", "OutOfRangeInput"),
        ImproperlyConfigured,
    ),
    "FeatureVersionMismatch": NotImplementedError,
}
# The SDK's own errors and ours.
_CLIENT_MEANINGS: dict[str, type[Exception]] = {
    "_UnkeptKey": SuspiciousFileOperation,
    "_CopyTimeout": TimeoutError,
    "_Damaged": ConnectionError,
    "AzureSigningError": ImproperlyConfigured,
    "CredentialUnavailableError": ImproperlyConfigured,
    "ClientAuthenticationError": PermissionError,
    "ServiceResponseTimeoutError": TimeoutError,
    "ServiceRequestError": ConnectionError,
    "ServiceResponseError": ConnectionError,
    "IncompleteReadError": ConnectionError,
}

# Error codes that name their own remedy.
_REMEDIES = {
    "ContainerNotFound": "the container {container!r} does not exist in the account {account!r}: create it, or correct "
    "'azure_container' (AZURE_CONTAINER)",
    **dict.fromkeys(
        ("InvalidResourceName", "OutOfRangeInput"),
        "check 'azure_container' (AZURE_CONTAINER), {container!r}: a container has 3 to 63 lower-case letters, digits "
        "and single hyphens",
    ),
    **dict.fromkeys(
        ("AuthenticationFailed", "InvalidAuthenticationInfo"),
        "check that 'account_key' (AZURE_ACCOUNT_KEY) or 'sas_token' (AZURE_SAS_TOKEN) belongs to the account "
        "{account!r} and has not expired, and this machine's clock",
    ),
    "AuthorizationFailure": "check that the account's network rules let this machine in, and that 'account_key' "
    "(AZURE_ACCOUNT_KEY) or 'sas_token' (AZURE_SAS_TOKEN) is right and has not expired",
    "AuthorizationPermissionMismatch": "the identity or the SAS token lacks a permission for this; an identity needs "
    "the role Storage Blob Data Contributor",
    "KeyBasedAuthenticationNotPermitted": "the account takes no keys: use 'token_credential' (AZURE_TOKEN_CREDENTIAL)",
    "NoAuthenticationInformation": "the container is not open to everybody: set 'account_key' (AZURE_ACCOUNT_KEY), "
    "'sas_token' (AZURE_SAS_TOKEN) or 'token_credential' (AZURE_TOKEN_CREDENTIAL)",
    "AzureSigningError": "'account_key' (AZURE_ACCOUNT_KEY) is not base64: copy it again",
}

# What url() lets a client do, in the letters of a SAS and in their order.
_PERMISSIONS = {"GET": "r", "HEAD": "r", "PUT": "cw", "DELETE": "d"}
# What generate_blob_sas() takes; it ignores all others.
_SAS_PARAMETERS = frozenset(
    (
        *("cache_control", "content_disposition", "content_encoding", "content_language", "content_type"),
        *("correlation_id", "encryption_scope", "ip", "permission", "policy_id", "protocol", "snapshot", "start"),
        "version_id",
    )
)
# The newest version whose signature our signer makes; every service since 2022 knows it.
_SAS_VERSION = "2022-11-02"

_HEADERS = ("cache_control", "content_disposition", "content_encoding", "content_language", "content_type")
_TIERS = ("Hot", "Cool", "Cold", "Archive")  # that a writer may ask for
_ARGUMENTS_OF_WRITE = ("encryption_scope", "metadata", "standard_blob_tier", "tags")

_SIGNATURE = re.compile(r"(sig=)[^&\s'\")]+")

# How the SDK is told to refuse nothing but by condition, and to unpack nothing.
_REPLACING = {"overwrite": True}
_AS_STORED = {"decompress": False}


class _Prefix(Setting):
    """A prefix that may be written with a slash before it, as earlier releases took it."""

    def check(self, value: Any) -> Any:
        return super().check(value).lstrip("/")


class _Gone:
    """A member of an earlier release, for whose users there is another one."""

    def __init__(self, advice: str):
        self._advice = advice

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None:
            return self
        raise AttributeError(f"{owner.__name__} has no {self._name!r} any more; {self._advice}")


class AzureStorageFile(StorageFile):
    """An open Azure blob."""


class AzureStorage(BaseStorage):
    """Store files in a container of Azure Blob Storage."""

    account_name = Setting(names=("AZURE_ACCOUNT_NAME",), help="Storage account; a connection string names it too.")
    account_key = Setting(
        names=("AZURE_ACCOUNT_KEY",), secret=True, help="Key of the account; a connection string may hold it too."
    )
    azure_container = Setting(names=("AZURE_CONTAINER",), help="Container; it must exist.")
    azure_ssl = Setting(True, names=("AZURE_SSL",), type=bool, help="Whether requests and URLs go over TLS.")
    upload_max_conn = Setting(
        2, names=("AZURE_UPLOAD_MAX_CONN",), type=int, least=1, help="Blocks of one long file on their way at a time."
    )
    timeout = Setting(
        20,
        names=("AZURE_CONNECTION_TIMEOUT_SECS",),
        type=int,
        least=1,
        help="Seconds that the service may take for one request. For those that this side waits, see client_options.",
    )
    max_memory_size = usual.MAX_MEMORY_SIZE.named(
        "AZURE_BLOB_MAX_MEMORY_SIZE",
        default=2 * 1024**2,
        help="Bytes in memory of a file opened with a, r+ or w+ before it goes to disk.",
    )
    expiration_secs = usual.QUERYSTRING_EXPIRE.named(
        "AZURE_URL_EXPIRATION_SECS",
        default=None,
        help="Life of a signed URL in seconds. None: URLs are not signed, unless url() is given a life.",
    )
    overwrite_files = usual.OVERWRITE.named("AZURE_OVERWRITE_FILES")
    location = _Prefix("", names=("AZURE_LOCATION",), role="location", help="Prefix of all keys.")
    cache_control = Setting(names=("AZURE_CACHE_CONTROL",), help="Cache-Control of new objects.")
    object_parameters = usual.OBJECT_PARAMETERS.named(
        "AZURE_OBJECT_PARAMETERS",
        help="Fields of ContentSettings, or metadata, tags, standard_blob_tier and encryption_scope, for every object; "
        "or a callable of key and content that returns them.",
    )
    sas_token = Setting(
        names=("AZURE_SAS_TOKEN",), secret=True, help="Shared access signature, where there is no account key."
    )
    token_credential = Setting(
        names=("AZURE_TOKEN_CREDENTIAL",),
        type=object,
        secret=True,
        help="Credential of azure-identity, where there is neither key nor SAS token; it signs URLs too.",
    )
    connection_string = Setting(
        names=("AZURE_CONNECTION_STRING",),
        secret=True,
        help="Connection string, which wins over all the above; 'UseDevelopmentStorage=true' is the emulator.",
    )
    is_emulated = Setting(
        False,
        names=("AZURE_EMULATED_MODE",),
        type=bool,
        help="Whether to use the emulator (azurite) at its usual port of this machine.",
    )
    endpoint_suffix = Setting(
        "core.windows.net", names=("AZURE_ENDPOINT_SUFFIX",), help="Domain of the cloud, behind account and '.blob'."
    )
    custom_domain = Setting(names=("AZURE_CUSTOM_DOMAIN",), help="Host that url() uses instead of the account's.")
    client_options = Setting(
        {},
        names=("AZURE_CLIENT_OPTIONS",),
        type=dict,
        help="Keywords of BlobServiceClient, such as api_version, read_timeout, retry_total; they win over ours.",
    )
    api_version = Setting(names=("AZURE_API_VERSION",), help="Deprecated: use client_options {'api_version': ...}.")
    checksums = Setting(
        False,
        names=("AZURE_CHECKSUMS",),
        type=bool,
        help="Whether uploads carry an MD5 and downloads are compared with theirs, beyond what TLS does.",
    )

    removed = {"custom_connection_string": "use 'custom_domain' (AZURE_CUSTOM_DOMAIN) for the host of URLs"}

    capabilities = Capabilities(
        ranges=True,
        parts=True,
        create_only=True,
        if_match=True,
        copy=True,
        delete_many=True,
        created_time=True,
        content_type=True,
        presign=frozenset(_PERMISSIONS),
        missing={"accessed_time": "Azure notes reads only where the account is told to, and once a day."},
    )

    sdk = blob_sdk
    file_class = AzureStorageFile
    response_parameters = {"content_type": "content_type", "content_disposition": "content_disposition"}
    longest_key = longest_name = LONGEST_KEY
    ranges_at_once = 4  # each holds its answer twice while it arrives

    _client: Any = None  # a container client of one's own, for tests

    def __init__(self, **options: Any):
        super().__init__(**options)
        if self.is_emulated and not self.connection_string:
            self.connection_string = EMULATOR
        given = _parts(self.connection_string)
        self.account_name = self.account_name or given.get("accountname")
        self.account_key = self.account_key or given.get("accountkey")
        self.parts_at_once = self.file_parts_at_once = self.upload_max_conn
        if self.api_version:
            warnings.warn(f"{self._spelt('api_version')} is deprecated; use 'client_options'", DeprecationWarning, 2)

    @property
    def longest_expire(self) -> int | None:  # type: ignore[override]
        """Return the longest life of a signature in seconds; only that of a delegation key has a limit."""
        delegated = self.token_credential is not None and not (self.account_key or self._token())
        return int(LONGEST_DELEGATION.total_seconds()) if delegated else None

    # Clients

    @property
    def service_client(self) -> Any:
        """Return the SDK's client of the account, one for all storages and threads with the same configuration."""
        return self._account.client

    @property
    def client(self) -> Any:
        """Return the SDK's client of the container."""
        return self._client or self._derived("client", self._make_client)

    @property
    def azure_protocol(self) -> str:
        """Return ``https`` or ``http``."""
        return "https" if self.azure_ssl else "http"

    def _get_service_client(self) -> Any:
        """Return a new client of the account; a subclass may make its own."""
        arguments = self._client_arguments()
        try:
            if self.connection_string:
                return blob_sdk.BlobServiceClient.from_connection_string(
                    _connection_string(self.connection_string), **arguments
                )
            return blob_sdk.BlobServiceClient(self._account_url(), credential=self._credential(), **arguments)
        except ValueError as error:  # about a part of the configuration; it quotes none of it
            raise ImproperlyConfigured(
                f"{type(self).__name__}: {error} Check {self._spelt('connection_string')}, "
                f"{self._spelt('account_name')} and {self._spelt('azure_ssl')}"
            ) from None

    def _make_client(self) -> Any:
        return self.service_client.get_container_client(self._needed("azure_container"))

    @property
    def _account(self) -> _Account:
        return self._derived("account", self._shared_account)

    def _shared_account(self) -> _Account:
        def make() -> _Account:
            return _Account(self._get_service_client())

        if type(self)._get_service_client is not AzureStorage._get_service_client:
            return make()  # nothing is known here about a client of the subclass's own
        # Credentials are told apart by identity, which the shared client keeps alive.
        secrets = (self.connection_string, self.account_key, self.sas_token, id(self.token_credential))
        address = (self.account_name, self.endpoint_suffix, self.azure_ssl, self.api_version)
        return process.shared(("azure", *secrets, *address, self.client_options), make)

    def _account_url(self) -> str:
        if not self.account_name:
            raise ImproperlyConfigured(
                f"{type(self).__name__}: set {self._spelt('account_name')} or {self._spelt('connection_string')}"
            )
        return f"{self.azure_protocol}://{self.account_name}.blob.{self.endpoint_suffix}"

    def _credential(self) -> Any:
        if self.account_key:
            return {"account_name": self.account_name, "account_key": self.account_key}
        if self.sas_token:
            return credentials.AzureSasCredential(self._token())
        return self.token_credential

    def _client_arguments(self) -> dict[str, Any]:
        arguments = {
            "connection_timeout": CONNECT_TIMEOUT,
            "read_timeout": READ_TIMEOUT,
            "max_single_get_size": DOWNLOAD_SIZE,
            "max_chunk_get_size": DOWNLOAD_SIZE,
            # A busy service is asked again six times within half a minute, one that refuses connections twice.
            "retry_total": 6,
            "retry_status": 6,
            "retry_connect": 2,
            "initial_backoff": 0,
            "increment_base": 1.5,
            "random_jitter_range": 1,
        }
        if self.api_version:
            arguments["api_version"] = self.api_version
        arguments.update(self.client_options)
        arguments.setdefault("retry_policy", _retry_class()(**arguments))
        if "transport" not in arguments:
            arguments.setdefault("session", _session())
        return arguments

    # Hooks

    def _stat(self, key: str) -> Stat:
        properties = self._blob(key).get_blob_properties(timeout=self.timeout)
        return _stat_of(properties, properties.size, _said_of(properties))

    def _open_range(self, key: str, start: int, end: int | None, if_match: str | None = None) -> Body:
        download = functools.partial(self._blob(key).download_blob, timeout=self.timeout, **_AS_STORED)
        try:
            if self.checksums:
                return _VerifiedBody(download, start, end, if_match)
            return _Body(download(**_range(start, end), **_conditions(if_match=if_match)))
        except exceptions.HttpResponseError as error:
            if error.status_code != 416:
                raise
        except ValueError as error:  # the SDK misses a header
            raise ConnectionError(f"The answer broke off in its headers: {error}") from error
        # The object ends before the range; an empty one before any range at all.
        return EmptyBody(self._stat(key))

    def _put(self, key: str, body: Any, options: WriteOptions) -> None:
        self._blob(key).upload_blob(
            body,
            length=_length(body),
            validate_content=self.checksums,
            **_REPLACING,
            **self._write_arguments(options.parameters),
            **_conditions(if_match=options.if_match, create_only=options.create_only),
        )

    def _start_parts(self, key: str, options: WriteOptions) -> _Parts:
        return _Parts(self, key, options)

    def _delete(self, key: str) -> None:
        self._blob(key).delete_blob(timeout=self.timeout)

    def _delete_many(self, keys: Iterable[str]) -> Iterator[tuple[str, BaseException]]:
        for batch in batches(keys, MOST_DELETES):
            yield from ((key, _UnkeptKey(key)) for key in batch if not _is_kept(key))
            kept = list(filter(_is_kept, batch))
            if not kept:
                continue
            answers = self.client.delete_blobs(*kept, raise_on_any_failure=False, timeout=self.timeout)
            for key, answer in zip(kept, answers, strict=True):
                if answer.status_code >= 300:
                    yield key, _error_of(answer)

    def _copy(self, source_key: str, key: str) -> None:
        source, target = self._blob(source_key), self._blob(key)
        # The token of the target does not open the source.
        url = with_token(source.url, self._token())
        copied = target.start_copy_from_url(url, timeout=self.timeout)
        started = time.monotonic()
        while copied["copy_status"] == "pending":
            if time.monotonic() - started > PATIENCE:
                target.abort_copy(copied["copy_id"], timeout=self.timeout)
                raise _CopyTimeout("The service did not copy the object in time, and was told to stop")
            time.sleep(COPY_POLL)
            copied["copy_status"] = target.get_blob_properties(timeout=self.timeout).copy.status
        self._set_headers(target, key)

    def _list(self, prefix: str) -> Iterator[Entry]:
        for found in self.client.walk_blobs(prefix or None, delimiter="/", timeout=self.timeout):
            if isinstance(found, blob_sdk.BlobPrefix):
                yield Entry(found.name[:-1], True)
            elif found.name != prefix:
                yield _entry(found)

    def _walk(self, prefix: str) -> Iterator[Entry]:
        for found in self.client.list_blobs(prefix or None, timeout=self.timeout):
            if not found.name.endswith("/"):  # what tools put there to show an empty directory
                yield _entry(found)

    def _first(self, prefix: str) -> str:
        pages = self.client.list_blobs(prefix, results_per_page=1, timeout=self.timeout)
        return next((found.name for found in pages), "")

    def _classify(self, error: BaseException) -> type[Exception] | None:
        if not isinstance(error, (exceptions.AzureError, *_OWN_ERRORS)):
            return None
        if getattr(error, "response", None) is not None:
            # The status, where the service gives no code or one that is not in the table.
            return _MEANINGS.get(_code(error)) or STATUS_MEANINGS.get(getattr(error, "status_code", 0))
        kind = meaning_by_name(error, _CLIENT_MEANINGS)
        # The SDK wraps what it gave up a download for.
        return self._classify(error.__cause__) if kind is None and error.__cause__ else kind

    def _advise(self, error: Any, kind: type[Exception]) -> str:
        if isinstance(error, _OWN_ERRORS):
            return str(error)
        _hide_signatures(error)
        code = _code(error) or type(error).__name__
        if kind is PermissionError and not (self.connection_string or self._credential()):
            code = "NoAuthenticationInformation"
        said = f"{type(self).__name__}: {str(error).partition(chr(10))[0]}"
        if code in _REMEDIES:
            return f"{said} ({code}): " + _REMEDIES[code].format(
                container=self.azure_container, account=self.account_name
            )
        if kind is FileNotFoundError:
            return f"There is no such object in the container {self.azure_container!r}"
        if kind is FileExistsError:
            return f"There is such an object already in the container {self.azure_container!r}"
        if kind is PermissionError:
            return f"{said} ({code}). The key, the SAS token or the identity may lack the permission for this"
        if kind is OSError:
            return f"{said}. There is no room left in the account {self.account_name!r}: remove something"
        if kind in (ConnectionError, TimeoutError):
            return f"{said}. Check {self._spelt('account_name')}, the network and the service"
        return said

    # Uploads by somebody else

    def _upload_kinds(self) -> dict[str, Enforced]:
        # A SAS token of the settings opens more than one blob, so that nobody else may have it.
        if not (self.account_key or (self.token_credential is not None and not self._token())):
            return {}
        # Permission to create makes a blob, and changes none. What a SAS can't say, such as Cache-Control, a copy gets.
        second_write = "promote" if self._gives_headers() else "denied"
        put = Enforced("finish", "finish", "none", second_write, UploadLimits(LARGEST_PUT))
        limits = UploadLimits(LARGEST_BLOCK * MOST_BLOCKS, largest_part=LARGEST_BLOCK, most_parts=MOST_BLOCKS)
        return {"put": put, "blocks": Enforced(limits=limits)}

    def _presign_upload(self, key: str, kind: str, terms: UploadTerms) -> SignedRequest:
        headers = {"x-ms-blob-type": "BlockBlob", "Content-Type": terms.content_type}
        return SignedRequest("PUT", self._upload_url(key, "c", terms.seconds), headers)

    def _open_upload(self, key: str, kind: str, terms: UploadTerms) -> str:
        _make_sure_it_is_kept(key)
        return uuid.uuid4().hex

    def _presign_part(
        self, key: str, kind: str, state: str, number: int, terms: UploadTerms, checksum: str
    ) -> SignedRequest:
        # The service takes no less than permission to write, which is why it is for a name that is not used.
        block = urllib.parse.quote(base64.b64encode(_block_id(state, number).encode()).decode(), safe="")
        url = self._upload_url(key, "w", terms.seconds)
        return SignedRequest("PUT", f"{url}&comp=block&blockid={block}")

    def _received_parts(self, key: str, kind: str, state: str) -> list[Received]:
        committed, waiting = self._blocks(key)
        ours = re.compile(re.escape(state) + "([0-9]{14})")  # whoever may write may choose other ids as well
        found = ((ours.fullmatch(block.id), block.size) for block in (*committed, *waiting))
        return sorted(Received(int(match[1]), size) for match, size in found if match)

    def _close_upload(self, key: str, kind: str, state: str, terms: UploadTerms, checksums: Mapping[int, str]) -> None:
        committed, waiting = self._blocks(key)
        wanted = {_block_id(state, number): terms.size_of(number) for number in range(1, terms.parts + 1)}
        if committed and {block.id: block.size for block in committed} == wanted:
            return  # it was closed before
        sizes = {block.id: block.size for block in waiting}
        missing = [number for number, (block, size) in enumerate(wanted.items(), 1) if sizes.get(block) != size]
        if missing:
            raise PartsMissing(missing)
        arguments = self._write_arguments({**self._get_write_parameters(key), "content_type": terms.content_type})
        # In this order, whichever they came in; what else has arrived is dropped.
        blocks = [blob_sdk.BlobBlock(block) for block in wanted]
        self._blob(key).commit_block_list(blocks, **arguments, **_conditions(create_only=True))

    def _abandon_upload(self, key: str, kind: str, state: str) -> None:
        # Blocks go after a week, or when a list is committed that has none of them.
        blob = self._blob(key)
        try:
            made = blob.commit_block_list([], timeout=self.timeout, **_conditions(create_only=True))
        except exceptions.HttpResponseError as error:
            if self._classify(error) is FileExistsError:
                return  # a blob by now, and no blocks
            raise
        blob.delete_blob(timeout=self.timeout, **_conditions(if_match=made["etag"]))

    def _discard(self, key: str) -> None:
        # Whoever may create a blob may take snapshots of it, which keep it.
        self._blob(key).delete_blob(delete_snapshots="include", timeout=self.timeout)

    def _own_headers(self, key: str) -> Mapping[str, str]:
        by_copy = _headers_of({"cache_control": self.cache_control, **self.get_object_parameters(key)})
        return {**_headers_of(self._get_write_parameters(key)), **dict.fromkeys(by_copy, ANY)}

    def _blocks(self, key: str) -> tuple[list[Any], list[Any]]:
        """Return the blocks of a blob, and those that wait to be committed."""
        try:
            committed, waiting = self._blob(key).get_block_list("all", timeout=self.timeout)
        except exceptions.ResourceNotFoundError as error:
            if _code(error) != "BlobNotFound":
                raise
            return [], []  # nothing has arrived yet
        return committed, waiting

    def _upload_url(self, key: str, permission: str, seconds: int) -> str:
        """Return a URL at the service itself: what stands for it in other URLs may only read."""
        url = self._blob(key).url.partition("?")[0]
        return f"{url}?{self._sign(key, permission, self._expire_at(seconds), {})}"

    def _gives_headers(self) -> bool:
        """Whether new objects get more headers than their type; a subclass's own choice may be any."""
        hooks = ("get_object_parameters", "_get_content_settings_parameters")
        overridden = any(getattr(type(self), hook) is not getattr(AzureStorage, hook) for hook in hooks)
        return bool(overridden or self.cache_control or self.object_parameters)

    # URLs

    def url(  # type: ignore[override]
        self,
        name: str | None,
        expire: int | datetime.timedelta | None = None,
        parameters: Mapping[str, Any] | None = None,
        mode: str = "r",
        *,
        http_method: str | None = None,
    ) -> str:
        """Return the URL of ``name``, signed where ``expire`` (seconds) or the option ``expiration_secs`` says so.

        ``parameters`` are those of generate_blob_sas(); ``mode`` holds the letters of the SAS's permission, by default
        those that ``http_method`` needs. No request is sent, but for a user delegation key about once a week. Raises
        ValueError.
        """
        if mode != "r":
            parameters = {"permission": mode, **(parameters or {})}
        return super().url(name, parameters, expire, http_method)

    def _presign(self, key: str, method: str, seconds: int, parameters: Mapping[str, Any]) -> str:
        unknown = parameters.keys() - _SAS_PARAMETERS
        if unknown:
            name = min(unknown)
            raise ValueError(f"A SAS has no parameter {name!r}{nearest(name, _SAS_PARAMETERS)}")
        permission = parameters.get("permission") or _PERMISSIONS[method]
        expiry = self._expire_at(seconds)
        return f"{self._public_url(key, {})}?{self._sign(key, str(permission), expiry, parameters)}"

    def _public_url(self, key: str, parameters: Mapping[str, Any]) -> str:
        _make_sure_it_is_kept(key)
        url = self._derived("base", self._base) + quoted(key)
        return with_query(url, {name: value for name, value in parameters.items() if name not in _SAS_PARAMETERS})

    def _expire_at(self, expire: int) -> datetime.datetime:
        """Return when a URL ends that is to live ``expire`` seconds; a subclass may round it."""
        return timezone.now().astimezone(datetime.timezone.utc) + datetime.timedelta(seconds=expire)

    def _sign(self, key: str, permission: str, expiry: datetime.datetime, parameters: Mapping[str, Any]) -> str:
        """Return the query of a URL that permits ``permission`` until ``expiry``."""
        account_key, token = self.account_key, self._token()
        if account_key and parameters.keys() <= {"permission"}:
            return self._derived("signer", self._make_signer).sign(key, permission, expiry)
        if account_key:
            how = {"account_key": account_key}
        elif token:
            if unsigned := parameters.keys() - {"permission"}:
                raise ValueError(f"A SAS token can't be given {min(unsigned)!r}; {self._spelt('account_key')} signs it")
            return self._sign_by_token(token, permission)
        elif self.token_credential is not None:
            delegated = self._delegation(expiry)
            how, expiry = {"user_delegation_key": delegated.key}, min(expiry, delegated.until)
        else:
            raise ImproperlyConfigured(
                f"{type(self).__name__} can't sign URLs without {self._spelt('account_key')} or "
                f"{self._spelt('token_credential')}"
            )
        if self._is_for_tls():
            how["protocol"] = "https"
        arguments = {**how, **parameters, "permission": permission, "expiry": expiry}
        name = self.service_client.account_name
        return blob_sdk.generate_blob_sas(name, self.client.container_name, key, **arguments)

    def _sign_by_token(self, token: str, permission: str) -> str:
        """Return ``token`` if it permits just what the URL is to permit; what cannot be told is let through."""
        permitted = urllib.parse.parse_qs(token).get("sp", [permission])[0]
        if missing := set(permission) - set(permitted):
            raise ValueError(f"The SAS token does not permit {''.join(sorted(missing))!r}, which this URL is to permit")
        if beyond := set(permitted) - set(permission):
            raise ValueError(
                f"Whoever has this URL would have the SAS token, which permits {''.join(sorted(beyond))!r} as well. "
                f"Use a token that permits {permission!r} only, or {self._spelt('account_key')} or "
                f"{self._spelt('token_credential')}, which sign each URL for itself"
            )
        return token

    def get_user_delegation_key(self, expiry: datetime.datetime) -> Any:
        """Return a key that signs in the name of the token credential until about ``expiry`` (aware).

        It is asked for about once a week, and shared. Raises PermissionError.
        """
        return self._delegation(expiry).key

    def _delegation(self, expiry: datetime.datetime) -> _Delegation:
        account = self._account
        with account.lock, self._translating(""):
            now, held = timezone.now().astimezone(datetime.timezone.utc), account.delegation
            if held is None or (held.until < expiry and held.made + DELEGATION_AGE < now) or held.until <= now:
                until = max(expiry, now + LONGEST_DELEGATION - CLOCK_SKEW)
                key = account.client.get_user_delegation_key(now - CLOCK_SKEW, until, timeout=self.timeout)
                held = account.delegation = _Delegation(key, now, until)
            return held

    def _make_signer(self) -> _Signer:
        container = self.client.container_name
        try:
            return _Signer(self.service_client.account_name, self.account_key, container, self._is_for_tls())
        except binascii.Error:
            raise ImproperlyConfigured(f"{type(self).__name__}: {_REMEDIES['AzureSigningError']}") from None

    def _is_for_tls(self) -> bool:
        """Whether signatures are to hold over TLS only; an emulator's address may have none."""
        return self.azure_ssl and self.client.url.startswith("https:")

    def _base(self) -> str:
        base = urllib.parse.urlsplit(self.client.url.partition("?")[0])
        if self.custom_domain:
            return f"{self.azure_protocol}://{self.custom_domain.rstrip('/')}{base.path}/"
        return f"{base.geturl()}/"

    # Kept for code written for earlier releases

    def _normalize_name(self, name: str) -> str:
        return self._get_valid_path(name)

    def _get_valid_path(self, name: str) -> str:
        """Return the key of a clean name; a subclass may place its names elsewhere."""
        return self._prefix + name

    def _get_write_parameters(self, name: str, content: Any = None) -> dict[str, Any]:
        return self._get_content_settings_parameters(name, content)

    def _get_content_settings_parameters(self, name: str, content: Any = None) -> dict[str, Any]:
        """Return the parameters of a write of ``content`` under the key ``name``; a subclass may change them."""
        parameters = super()._get_write_parameters(name, content)
        if self.cache_control:
            parameters.setdefault("cache_control", self.cache_control)
        return parameters

    def list_all(self, path: str = "") -> list[str]:
        """Return the names of all files below ``path``, at any depth; walk() gives them page by page."""
        return [entry.name for entry in self.walk(path)]

    def get_name_max_len(self) -> int:
        """Return the greatest length of a name with its location."""
        return LONGEST_KEY

    service = _Gone("use service_client")
    custom_service = _Gone("use service_client, and the option custom_domain for URLs")

    # Requests

    def _blob(self, key: str) -> Any:
        _make_sure_it_is_kept(key)
        return self.client.get_blob_client(key)

    def _token(self) -> str:
        """Return the SAS token with which requests are sent, if that is the way."""
        if self.connection_string:
            return _parts(self.connection_string).get("sharedaccesssignature", "").lstrip("?")
        return "" if self.account_key else (self.sas_token or "").lstrip("?")

    def _write_arguments(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments by which a write carries an object's parameters."""
        headers = dict(parameters)
        arguments = {name: headers.pop(name) for name in _ARGUMENTS_OF_WRITE if name in headers}
        return {
            **arguments,
            "content_settings": blob_sdk.ContentSettings(**_known(headers)),
            "timeout": self.timeout,
        }

    def _set_headers(self, blob: Any, key: str) -> None:
        """Give a copy the headers that this storage gives to new objects; the others stay its source's."""
        wanted = _known({"cache_control": self.cache_control, **self.get_object_parameters(key)}, _ARGUMENTS_OF_WRITE)
        changes = {name: value for name, value in wanted.items() if value is not None}
        if headers := {name: value for name, value in changes.items() if name in _HEADERS}:
            found = blob.get_blob_properties(timeout=self.timeout).content_settings
            kept = {name: getattr(found, name) for name in (*_HEADERS, "content_md5")}
            blob.set_http_headers(blob_sdk.ContentSettings(**{**kept, **headers}), timeout=self.timeout)
        if metadata := changes.get("metadata"):
            blob.set_blob_metadata(metadata, timeout=self.timeout)
        if tags := changes.get("tags"):
            blob.set_blob_tags(tags, timeout=self.timeout)
        if tier := changes.get("standard_blob_tier"):
            blob.set_standard_blob_tier(tier, timeout=self.timeout)


@dataclass(frozen=True)
class _Delegation:
    """A user delegation key."""

    key: Any
    made: datetime.datetime  # aware
    until: datetime.datetime  # aware


class _Account:
    """What all storages with one way into an account share."""

    def __init__(self, client: Any):
        self.client = client
        self.delegation: _Delegation | None = None
        self.lock = threading.Lock()  # of the delegation


class _Signer:
    """Sign URLs with the account key, as generate_blob_sas() does but in a third of its time.

    learn.microsoft.com/rest/api/storageservices/create-service-sas
    """

    def __init__(self, account: str, account_key: str, container: str, for_tls: bool):
        self._secret = base64.b64decode(account_key)
        self._resource = f"/blob/{account}/{container}/"
        self._protocol = "https" if for_tls else ""
        protocols = "&spr=https" if for_tls else ""
        self._rest = f"{protocols}&sv={_SAS_VERSION}&sr=b&sig="

    def sign(self, key: str, permission: str, expiry: datetime.datetime) -> str:
        """Return the query that permits ``permission`` until ``expiry`` (aware)."""
        end = f"{expiry.astimezone(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
        fields = (permission, "", end, self._resource + key, "", "", self._protocol, _SAS_VERSION, "b", *[""] * 7)
        digest = hmac.digest(self._secret, "\n".join(fields).encode(), "sha256")
        signature = urllib.parse.quote(base64.b64encode(digest), safe="")
        return f"sp={permission}&se={end.replace(':', '%3A')}{self._rest}{signature}"


class _Body:
    """The answer to a download, of which the SDK fetches more as it is read."""

    def __init__(self, download: Any):
        self.stat: Stat | None = _stat_of_all(download.properties)
        self.read = download.read

    def close(self) -> None:
        """Do nothing: no connection is held between two reads."""


class _VerifiedBody(io.BufferedReader):
    """A download in pieces, each compared with the MD5 that the service makes of it.

    The SDK's own comparison takes a stored encoding for one of the answer, and unpacks it first.
    """

    def __init__(self, download: Any, start: int, end: int | None, if_match: str | None):
        self._download = download
        stat, first = self._piece(start, end, if_match)
        self.stat: Stat | None = stat
        stop = stat.size if end is None else min(end, stat.size)
        super().__init__(ChunkReader(self._pieces(start, stop, first, stat.etag)), BLOCK_SIZE)

    def _pieces(self, start: int, end: int, piece: bytes, etag: str | None) -> Iterator[bytes]:
        yield piece
        while (start := start + len(piece)) < end:
            _, piece = self._piece(start, end, etag)
            yield piece

    def _piece(self, start: int, end: int | None, if_match: str | None) -> tuple[Stat, bytes]:
        longest = start + DOWNLOAD_SIZE
        digests: list[str] = []
        answer = self._download(
            **_range(start, longest if end is None else min(end, longest)),
            **_conditions(if_match=if_match),
            headers={"x-ms-range-get-content-md5": "true"},
            raw_response_hook=lambda response: digests.append(response.http_response.headers.get("content-md5", "")),
        )
        piece: bytes = answer.readall()
        if digests[-1] != base64.b64encode(hashlib.md5(piece, usedforsecurity=False).digest()).decode():
            raise _Damaged("A download is not what the service sent; try again")
        return _stat_of_all(answer.properties), piece


class _Parts:
    """Blocks that wait to be committed. Azure drops those that never are, after a week."""

    def __init__(self, storage: AzureStorage, key: str, options: WriteOptions):
        self._blob = storage._blob(key)
        self._arguments = storage._write_arguments(options.parameters)
        self._conditions = _conditions(if_match=options.if_match, create_only=options.create_only)
        self._checks = {"validate_content": storage.checksums}
        self._timeout = storage.timeout
        # Blocks belong to the blob, not to a writer, so that two writers must not choose the same ids.
        self._upload_id = uuid.uuid4().hex
        self._numbers: set[int] = set()

    def send(self, number: int, body: Any) -> None:
        self._blob.stage_block(self._id(number), body, length=_length(body), timeout=self._timeout, **self._checks)
        self._numbers.add(number)

    def complete(self) -> None:
        blocks = [blob_sdk.BlobBlock(self._id(number)) for number in sorted(self._numbers)]
        self._blob.commit_block_list(blocks, **self._arguments, **self._conditions, **self._checks)

    def abort(self) -> None:
        """Do nothing: there is no such request, and what is not committed shows nowhere."""

    def _id(self, number: int) -> str:
        return _block_id(self._upload_id, number)


def _block_id(upload_id: str, number: int) -> str:
    # All ids of a blob must have one length; the SDK's own are as long as these.
    return f"{upload_id}{number:014}"


class _UnkeptKey(ValueError):
    """A key that Azure would store under another one."""

    def __init__(self, key: str):
        super().__init__(
            f"Azure does not keep {key!r} as it is: no part of a name may end in a dot, and there may be at most "
            f"{MOST_SEGMENTS} parts; choose another name"
        )


class _CopyTimeout(Exception):
    """A copy in the background that takes too long."""


class _Damaged(Exception):
    """A download whose MD5 is not the service's."""


_OWN_ERRORS = (_UnkeptKey, _CopyTimeout, _Damaged)


def _is_kept(key: str) -> bool:
    return not (key.endswith(".") or "./" in key or key.count("/") >= MOST_SEGMENTS)


def _make_sure_it_is_kept(key: str) -> None:
    if not _is_kept(key):
        raise _UnkeptKey(key)


def _parts(connection_string: str | None) -> dict[str, str]:
    """Return the parts of a connection string by their names in lower case."""
    pairs = (part.partition("=") for part in (connection_string or "").split(";"))
    parts = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return _parts(EMULATOR) if parts.get("usedevelopmentstorage", "").lower() == "true" else parts


def _connection_string(given: str) -> str:
    """Return ``given``, or the long form of the emulator's, which not every SDK knows by its name."""
    return EMULATOR if _parts(given) == _parts(EMULATOR) else given


def with_token(url: str, token: str) -> str:
    """Return ``url`` with the SAS token in its query, if there is one and it is not there already."""
    return f"{url}?{token}" if token and "?" not in url else url


def _range(start: int, end: int | None) -> dict[str, int | None]:
    return {"offset": start, "length": None if end is None else end - start}


def _length(body: Any) -> int:
    length = body.seek(0, io.SEEK_END)
    body.seek(0)
    return length


def _conditions(*, if_match: str | None = None, create_only: bool = False) -> dict[str, Any]:
    if if_match:
        return {"etag": if_match, "match_condition": core.MatchConditions.IfNotModified}
    return {"match_condition": core.MatchConditions.IfMissing} if create_only else {}


def _known(parameters: Mapping[str, Any], others: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return ``parameters``; raise ImproperlyConfigured for one that is neither a header nor one of ``others``."""
    for name in parameters:
        if name not in (*_HEADERS, "content_md5", *others):
            known = (*_HEADERS, *_ARGUMENTS_OF_WRITE)
            raise ImproperlyConfigured(f"Azure has no object parameter {name!r}{nearest(name, known)}")
    return dict(parameters)


def _stat_of(properties: Any, size: int, headers: Mapping[str, str] | None = None) -> Stat:
    return Stat(
        size=size,
        modified=properties.last_modified,
        created=properties.creation_time,
        etag=properties.etag,
        content_type=properties.content_settings.content_type,
        content_encoding=properties.content_settings.content_encoding,
        headers=headers,
    )


def _said_of(properties: Any) -> dict[str, str]:
    """Return what a blob has from its writer, beside type and encoding."""
    tier = None if properties.blob_tier_inferred else properties.blob_tier
    found = _headers(vars(properties.content_settings), properties.metadata, tier)
    kind = str(getattr(properties.blob_type, "value", properties.blob_type))
    return found if kind == "BlockBlob" else {**found, "x-ms-blob-type": kind}


def _headers_of(parameters: Mapping[str, Any]) -> dict[str, str]:
    tier = parameters.get("standard_blob_tier")
    return _headers(parameters, parameters.get("metadata"), getattr(tier, "value", tier))


def _headers(settings: Mapping[str, Any], metadata: Any, tier: str | None) -> dict[str, str]:
    """Return these properties of a blob by the names of their headers, without those that it does not have.

    No tags: who may not set them can't add any, and Azure's scanner puts its own on what has arrived.
    """
    names = ("cache_control", "content_disposition", "content_language")
    found = {name.replace("_", "-"): settings.get(name) for name in names}
    found |= {f"x-ms-meta-{name.lower()}": value for name, value in (metadata or {}).items()}
    found["x-ms-access-tier"] = tier if tier in _TIERS else None
    return {name: str(value) for name, value in found.items() if value}


def _stat_of_all(properties: Any) -> Stat:
    """Return the Stat in the answer to a download, whose range tells the size of the whole."""
    return _stat_of(properties, size_of_whole(properties.content_range, properties.size))


def _entry(found: Any) -> Entry:
    # Listings give it without the quotes that it has in a header.
    return Entry(found.name, False, found.size, found.last_modified, f'"{found.etag.strip(chr(34))}"')


def _error_of(answer: Any) -> Any:
    """Return the error in the answer to one request of a batch."""
    error = exceptions.HttpResponseError(f"{answer.status_code} {answer.reason}", response=answer)
    error.error_code = answer.headers.get("x-ms-error-code")
    return error


def _code(error: Any) -> str:
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def _hide_signatures(error: BaseException | None) -> None:
    """Take SAS signatures out of an error and its causes, which quote the URL that they could not reach."""
    while error is not None:
        error.args = tuple(_SIGNATURE.sub(rf"\1{HIDDEN}", a) if isinstance(a, str) else a for a in error.args)
        if isinstance(message := getattr(error, "message", None), str):
            error.message = _SIGNATURE.sub(rf"\1{HIDDEN}", message)  # type: ignore[attr-defined]
        error = error.__cause__ or error.__context__


@functools.cache
def _retry_class() -> Any:
    base: Any = blob_sdk.ExponentialRetry

    class InTime(base):
        """Send a request again only where its timeout would end within PATIENCE; the SDK counts tries, not time."""

        def __init__(self, *, read_timeout: float, **options: Any):
            super().__init__(**options)
            self._read_timeout = read_timeout

        def configure_retries(self, request: Any) -> dict[str, Any]:
            return {**super().configure_retries(request), "started": time.monotonic()}

        def increment(self, settings: dict[str, Any], request: Any, response: Any = None, error: Any = None) -> bool:
            elapsed = time.monotonic() - settings["started"]
            in_time = elapsed + self._read_timeout <= PATIENCE
            return in_time and super().increment(settings, request, response=response, error=error)

    return InTime


def _session() -> Any:
    """Return a pool of connections."""
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _adapter_class()(pool_maxsize=process.CONNECTIONS))
    return session


@functools.cache
def _adapter_class() -> Any:
    base: Any = adapters.HTTPAdapter

    class Piecewise(base):
        """Send a long body piece by piece: a socket's timeout is for all that it is given at once."""

        def send(self, request: Any, *arguments: Any, **options: Any) -> Any:
            if isinstance(request.body, bytes) and len(request.body) > BLOCK_SIZE:
                request.body = io.BytesIO(request.body)
            return super().send(request, *arguments, **options)

    return Piecewise
