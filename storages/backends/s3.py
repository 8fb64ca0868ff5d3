"""Amazon S3, and the services that speak its protocol."""

from __future__ import annotations

import contextlib
import datetime
import functools
import hashlib
import io
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from django.contrib.staticfiles.storage import ManifestFilesMixin
from django.core.exceptions import ImproperlyConfigured

from storages import process, usual
from storages.backends import cloudfront, s3_uploads
from storages.backends.s3_clients import Clients
from storages.backends.s3_errors import advice_on, code_of, meaning_of
from storages.backends.sigv4 import QuerySigner
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
    UploadTerms,
    WriteOptions,
)
from storages.files import StorageFile
from storages.mixin import quoted, with_query
from storages.optional import OptionalModule
from storages.settings import Renamed, Setting, nearest, redacted
from storages.streams import SmallReads, range_header, size_of_whole

boto3 = OptionalModule("boto3", "s3")
exceptions = OptionalModule("botocore.exceptions", "s3")
botocore_config = OptionalModule("botocore.config", "s3")
botocore_parsers = OptionalModule("botocore.utils", "s3")
botocore_session = OptionalModule("botocore.session", "s3")

# docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
SMALLEST_PART = 5 * 1024**2  # bytes, for every part but the last
LARGEST_COPY = 5 * 1024**3  # bytes, in one CopyObject
LONGEST_EXPIRE = 7 * 24 * 3600  # seconds, of a SigV4 signature
LONGEST_KEY = 1024  # bytes
MOST_DELETES = 1000  # keys in one DeleteObjects

# How services answer to a condition that they do not know.
_UNKNOWN_CONDITION = ("501", "InvalidArgument", "InvalidRequest", "NotImplemented")

# What XML can't hold, and so DeleteObjects neither.
_NOT_IN_XML = re.compile("[\ufffe\uffff]")

_PROBE = "probe"
_MD5 = re.compile('"[0-9a-f]{32}"')

_HEADERS_OF_OBJECT = frozenset(
    ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Expires", "Metadata")
)


class StaleUpload(NamedTuple):
    """A multipart upload that nobody completed; its parts are billed."""

    key: str
    upload_id: str
    started: datetime.datetime  # aware


class S3File(StorageFile):
    """An open S3 object."""

    @property
    def obj(self) -> Any:
        """Return the boto3 Object, for what the storage has no verb for."""
        return self._storage.bucket.Object(self._storage._key(self.name))


class S3Storage(CompressStorageMixin, BaseStorage):
    """Store files in a bucket of Amazon S3 or of a service that speaks its protocol."""

    access_key = Setting(
        names=("AWS_S3_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"),
        env=("AWS_S3_ACCESS_KEY_ID",),
        secret=True,
        help="Access key. Left out, boto3 finds and refreshes what the environment, a profile or the machine provides.",
    )
    secret_key = Setting(
        names=("AWS_S3_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"),
        env=("AWS_S3_SECRET_ACCESS_KEY",),
        secret=True,
        help="Secret key that goes with the access key.",
    )
    security_token = Setting(
        names=("AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"),
        secret=True,
        help="Session token of temporary keys. Taken from the environment where the access key is the one there.",
    )
    session_profile = Setting(
        names=("AWS_S3_SESSION_PROFILE",),
        env=("AWS_S3_SESSION_PROFILE",),
        help="Profile of the AWS configuration files, instead of keys.",
    )
    bucket_name = Setting(names=("AWS_STORAGE_BUCKET_NAME",), help="Bucket; it must exist.")
    file_overwrite = usual.OVERWRITE.named("AWS_S3_FILE_OVERWRITE", default=True)
    create_only = Setting(
        None,
        names=("AWS_S3_CREATE_ONLY",),
        type=bool,
        help="Whether the service honours If-None-Match on PUT. None: AWS does, others are asked once a process.",
    )
    post_uploads = Setting(
        None,
        names=("AWS_S3_POST_UPLOADS",),
        type=bool,
        help="Whether the service takes direct uploads by POST policy. None: all but Cloudflare R2 and Backblaze B2.",
    )
    unsigned_headers = Setting(
        None,
        names=("AWS_S3_UNSIGNED_HEADERS",),
        choices=("refused", "named"),
        help="What keeps a direct uploader from adding an ACL or the source of a copy to a signed PUT. refused: "
        "the service refuses what is not signed, as SeaweedFS does; named: a signature can name headers that must not "
        "be there, as for Ceph. None: AWS refuses; with others, uploads are by POST only.",
    )
    object_parameters = usual.OBJECT_PARAMETERS.named(
        "AWS_S3_OBJECT_PARAMETERS",
        help="Parameters of PutObject for every object, or a callable of key and content that returns them.",
    )
    default_acl = Setting(
        None, names=("AWS_DEFAULT_ACL",), role="acl", help="Canned ACL of new objects; None sends none."
    )
    querystring_auth = usual.QUERYSTRING_AUTH.named("AWS_QUERYSTRING_AUTH")
    querystring_expire = usual.QUERYSTRING_EXPIRE.named("AWS_QUERYSTRING_EXPIRE")
    querystring_window = Setting(
        0,
        names=("AWS_QUERYSTRING_WINDOW",),
        type=int,
        least=0,
        help="Seconds during which url() gives the same signed URL, so that caches work; it lives that much longer.",
    )
    signature_version = Setting(
        None,
        names=("AWS_S3_SIGNATURE_VERSION",),
        help="Signature of requests and URLs: s3v4 (the default) or s3 for services that know nothing newer.",
    )
    location = usual.LOCATION.named("AWS_LOCATION")
    custom_domain = Setting(
        names=("AWS_S3_CUSTOM_DOMAIN",), help="Host, with a path if need be, that url() uses instead of the service's."
    )
    url_protocol = Setting("https:", names=("AWS_S3_URL_PROTOCOL",), help="Protocol of URLs with a custom domain.")
    cloudfront_key_id = Setting(
        names=("AWS_CLOUDFRONT_KEY_ID",),
        secret=True,
        help="Id of the CloudFront key that signs URLs of the custom domain.",
    )
    cloudfront_key = Setting(
        names=("AWS_CLOUDFRONT_KEY",), type=(str, bytes), secret=True, help="That key: an RSA private key in PEM form."
    )
    cloudfront_signer = Setting(
        type=object,
        help="Signer made elsewhere: any object with generate_presigned_url(url, date_less_than=, policy=). "
        "None as a class attribute switches signing off.",
    )
    cloudfront_policy = Setting(
        names=("AWS_CLOUDFRONT_POLICY",),
        help="Resource of a custom policy, with wildcards (https://cdn.example.com/media/*): one signature opens all "
        "that matches, and with a window it is made once per window. None: a canned policy for each URL.",
    )
    addressing_style = Setting(
        names=("AWS_S3_ADDRESSING_STYLE",),
        choices=("auto", "virtual", "path"),
        help="Where requests name the bucket: in the host (virtual) or in the path.",
    )
    file_name_charset = Setting(
        "utf-8",
        names=("AWS_S3_FILE_NAME_CHARSET",),
        choices=("utf-8", "UTF-8"),
        help="Keys are UTF-8; kept for old settings.",
    )
    gzip = usual.GZIP.named("AWS_IS_GZIPPED")
    gzip_content_types = usual.GZIP_CONTENT_TYPES.named("GZIP_CONTENT_TYPES")
    endpoint_url = Setting(
        names=("AWS_S3_ENDPOINT_URL",),
        env=("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        help="URL of a service other than AWS, with http:// or https://.",
    )
    proxies = Setting(names=("AWS_S3_PROXIES",), type=dict, help="Proxies by protocol, as botocore takes them.")
    region_name = Setting(names=("AWS_S3_REGION_NAME",), help="Region of the bucket; boto3's own default otherwise.")
    use_ssl = Setting(True, names=("AWS_S3_USE_SSL",), type=bool, help="Whether requests to AWS go over TLS.")
    verify = Setting(
        None,
        names=("AWS_S3_VERIFY",),
        type=(bool, str, os.PathLike),
        role="authority",
        help="False leaves the certificate unchecked; a path names the CA bundle.",
    )
    checksums = Setting(
        None,
        names=("AWS_S3_CHECKSUMS",),
        choices=("when_supported", "when_required"),
        help="When requests carry a checksum and answers are verified against theirs. None: whenever AWS can, and with "
        "endpoint_url only when required, because some services refuse what they don't know.",
    )
    connect_timeout = usual.CONNECT_TIMEOUT.named("AWS_S3_CONNECT_TIMEOUT")
    read_timeout = usual.READ_TIMEOUT.named("AWS_S3_READ_TIMEOUT")
    max_attempts = usual.MAX_ATTEMPTS.named(
        "AWS_S3_MAX_ATTEMPTS", default=8, help="Tries of a request that the service is too busy for."
    )
    max_memory_size = usual.MAX_MEMORY_SIZE.named("AWS_S3_MAX_MEMORY_SIZE")
    part_size = Setting(
        8 * 1024**2,
        names=("AWS_S3_FILE_BUFFER_SIZE",),
        type=int,
        least=SMALLEST_PART,
        help="Bytes of one part of a long write, at least 5 MiB; a shorter file is one request.",
    )
    use_threads = Setting(
        True, names=("AWS_S3_USE_THREADS",), type=bool, help="Deprecated: use transfer_config, or nothing."
    )
    transfer_config = Setting(
        names=("AWS_S3_TRANSFER_CONFIG",),
        type=object,
        help="A boto3 TransferConfig, of which multipart_chunksize, max_concurrency and use_threads are used.",
    )
    client_config = Setting(
        names=("AWS_S3_CLIENT_CONFIG",), type=object, help="A botocore Config; what it says wins over all options here."
    )

    renamed = {
        "config": Renamed("client_config"),
        "secure_urls": Renamed("url_protocol", ("AWS_S3_SECURE_URLS",), lambda secure: "https:" if secure else "http:"),
    }
    removed = {
        "acl": "use 'default_acl' (AWS_DEFAULT_ACL)",
        "bucket": "use 'bucket_name' (AWS_STORAGE_BUCKET_NAME)",
        "auto_create_bucket": "create the bucket once, by hand or by your deployment",
        "bucket_acl": "set it on the bucket itself",
        "reduced_redundancy": "use 'object_parameters' {'StorageClass': 'REDUCED_REDUNDANCY'}",
        "encryption": "use 'object_parameters' {'ServerSideEncryption': 'AES256'}",
        "preload_metadata": "leave it out; nothing is preloaded",
    }
    parameter_names = {"content_type": "ContentType", "content_encoding": "ContentEncoding", "acl": "ACL"}
    response_parameters = {
        "content_type": "ResponseContentType",
        "content_disposition": "ResponseContentDisposition",
    }

    sdk = boto3
    file_class = S3File
    longest_key = LONGEST_KEY

    def __init__(self, **options: Any):
        super().__init__(**options)
        self._complete_keys()
        if self.session_profile and (self.access_key or self.secret_key):
            raise ImproperlyConfigured(
                f"{type(self).__name__}: give either {self._spelt('session_profile')} or {self._spelt('access_key')} "
                "with its secret, not both"
            )
        if bool(self.cloudfront_key_id) != bool(self.cloudfront_key):
            raise ImproperlyConfigured(
                f"{type(self).__name__}: {self._spelt('cloudfront_key_id')} and {self._spelt('cloudfront_key')} go "
                "together; set both or neither"
            )
        if self.endpoint_url and not self.endpoint_url.startswith(("http://", "https://")):
            raise ImproperlyConfigured(
                f"{type(self).__name__}: {self._spelt('endpoint_url')} begins with https:// or http://, unlike "
                f"{redacted(self.endpoint_url)!r}"
            )
        self._use_transfer_options()
        # Given as None, as an option or in a subclass, it switches signing off.
        wanted = "cloudfront_signer" not in options and isinstance(type(self).cloudfront_signer, Setting)
        if self.cloudfront_key_id and wanted:
            self.cloudfront_signer = self.get_cloudfront_signer(self.cloudfront_key_id, self.cloudfront_key)

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        """Return what this storage can do; creating only where nothing is depends on the service."""
        return _CAPABILITIES if self._honours_conditions() is not False else _CAPABILITIES_WITHOUT_CONDITIONS

    @property
    def longest_expire(self) -> int | None:  # type: ignore[override]
        """Return the longest life of a signature in seconds; CloudFront and SigV2 know none."""
        limited = not self.custom_domain and self.signature_version in (None, "s3v4")
        return LONGEST_EXPIRE - self.querystring_window if limited else None

    # Clients

    @property
    def client(self) -> Any:
        """Return the boto3 client, one for all storages and threads of this process with the same configuration."""
        return self._connect("client")

    @property
    def connection(self) -> Any:
        """Return a boto3 resource of this thread, over the shared client."""
        return self._resource("connection")

    @property
    def unsigned_connection(self) -> Any:
        """Return a boto3 resource of this thread that signs nothing."""
        return self._resource("unsigned_connection")

    @property
    def bucket(self) -> Any:
        """Return the boto3 Bucket of this thread."""
        return self.connection.Bucket(self._bucket())

    def _create_session(self) -> Any:
        """Return the boto3 Session; a subclass may make its own. Keys that were not given are found by boto3."""
        session = botocore_session.Session()
        # The models of S3 are megabytes, the same for all.
        loader = process.shared("botocore loader", lambda: session.get_component("data_loader"))
        session.register_component("data_loader", loader)
        # Half of the time of a listing is dateutil on timestamps that are all alike.
        session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_parse_time)
        if self.session_profile:
            return boto3.Session(profile_name=self.session_profile, botocore_session=session)
        return boto3.Session(
            aws_access_key_id=self.access_key or None,
            aws_secret_access_key=self.secret_key or None,
            aws_session_token=self.security_token or None,
            botocore_session=session,
        )

    def _config(self, **changes: Any) -> Any:
        checksums = self.checksums or ("when_required" if self.endpoint_url else "when_supported")
        # botocore signs URLs for AWS's global host unless told so, which newer regions refuse.
        style = self.addressing_style or (None if self.endpoint_url else "virtual")
        config = botocore_config.Config(
            connect_timeout=self.connect_timeout,
            read_timeout=self.read_timeout,
            retries={"mode": "standard", "total_max_attempts": self.max_attempts},
            max_pool_connections=process.CONNECTIONS,
            tcp_keepalive=True,
            # Else URLs for us-east-1 and eu-west-1 are signed with version 2, which other regions refuse.
            signature_version=self.signature_version or "s3v4",
            s3={"addressing_style": style} if style else None,
            proxies=self.proxies,
            request_checksum_calculation=checksums,
            response_checksum_validation=checksums,
        )
        if self.client_config is not None:
            config = config.merge(self.client_config)
        return config.merge(botocore_config.Config(**changes)) if changes else config

    def _connect(self, kind: str) -> Any:
        """Return what is shared under this configuration: ``client``, ``unsigned`` (client), ``credentials``..."""
        return self._derived("clients", self._shared_clients)[kind]

    def _shared_clients(self) -> Clients:
        config = self._config()
        make = functools.partial(self._make_clients, config)
        if type(self)._create_session is not S3Storage._create_session:
            return make()  # nothing is known here about a session of the subclass's own
        arguments = (self.access_key, self.secret_key, self.security_token, self.session_profile, self.region_name)
        key = ("s3", *arguments, self.endpoint_url, self.use_ssl, self.verify, vars(config))
        return process.shared(key, make)

    def _make_clients(self, config: Any) -> Clients:
        return Clients(self._create_session(), self._client_arguments(config))

    def _client_arguments(self, config: Any) -> dict[str, Any]:
        return {
            "region_name": self.region_name,
            "use_ssl": self.use_ssl,
            "endpoint_url": self.endpoint_url,
            "config": config,
            "verify": self.verify if isinstance(self.verify, (bool, type(None))) else os.fspath(self.verify),
        }

    @property
    def _connections(self) -> threading.local:
        return self._derived("connections", threading.local)

    def _resource(self, kind: str) -> Any:
        # Unlike clients, boto3's resources are not to be shared by threads.
        resource = getattr(self._connections, kind, None)
        if resource is None:
            client = self._connect("client" if kind == "connection" else "unsigned")
            resource = self._connect("session").resource("s3", **self._client_arguments(client.meta.config))
            resource.meta.client = client
            setattr(self._connections, kind, resource)
        return resource

    # Hooks

    def _stat(self, key: str) -> Stat:
        try:
            answer = self.client.head_object(**self._arguments("HeadObject", key))
        except exceptions.ClientError as error:
            if code_of(error) == "404":
                self._make_sure_of_bucket()
            raise
        return _stat_of(answer, s3_uploads.said_of(answer["ResponseMetadata"]["HTTPHeaders"]))

    def _open_range(self, key: str, start: int, end: int | None, if_match: str | None = None) -> Body:
        arguments = self._arguments("GetObject", key)
        arguments.update(range_header(start, end))
        if if_match:
            arguments["IfMatch"] = if_match
        try:
            body = _Body(self.client.get_object(**arguments))
        except exceptions.ClientError as error:
            if code_of(error) not in ("416", "InvalidRange"):
                raise
            # The object ends before the range; an empty one before any range at all, and then nothing is said of it.
            if start:
                return _Body(_answer_beyond(error))
            del arguments["Range"]
            return _Body(self.client.get_object(**arguments))
        if body.etag_may_be_md5 and "Range" in arguments and self._verifies():
            del arguments["Range"]
            return _VerifiedBody(body, functools.partial(self.client.get_object, **arguments), self._connect("found"))
        return body

    def _put(self, key: str, body: Any, options: WriteOptions) -> None:
        if options.create_only and self._honours_conditions() is None:
            self._find_out_about_conditions(key, body, options)
        else:
            self._put_object(key, body, options)

    def _start_parts(self, key: str, options: WriteOptions) -> _Parts:
        return _Parts(self, key, options)

    def _delete(self, key: str) -> None:
        self.client.delete_object(**self._arguments("DeleteObject", key))

    def _delete_many(self, keys: Iterable[str]) -> Iterator[tuple[str, BaseException]]:
        arguments = self._arguments("DeleteObjects")
        by_batch: list[str] = []
        one_by_one: list[str] = []
        for key in keys:
            (one_by_one if _NOT_IN_XML.search(key) else by_batch).append(key)
        yield from super()._delete_many(one_by_one)
        for batch in batches(by_batch, MOST_DELETES):
            answer = self.client.delete_objects(
                Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True}, **arguments
            )
            for error in answer.get("Errors", ()):
                yield error["Key"], exceptions.ClientError({"Error": error}, "DeleteObjects")

    def _copy(self, source_key: str, key: str) -> None:
        source = {"Bucket": self._bucket(), "Key": source_key}
        parameters = self.get_object_parameters(key)
        if self.default_acl:
            parameters.setdefault("ACL", self.default_acl)
        source_secrets = {
            f"CopySource{name}": value
            for name, value in self._arguments("HeadObject", source_key).items()
            if name.startswith("SSECustomer")
        }
        arguments = {**self._arguments("CopyObject", key, parameters), **source_secrets}
        if _HEADERS_OF_OBJECT & parameters.keys():
            # S3 keeps either all headers of the source or none.
            arguments = {**self._headers(source_key), **arguments, "MetadataDirective": "REPLACE"}
        try:
            self.client.copy_object(CopySource=source, **arguments)
        except exceptions.ClientError as error:
            if code_of(error) != "InvalidRequest" or str(LARGEST_COPY) not in str(error):
                raise
            # In parts, and then none of the source's headers come along.
            arguments = {**self._headers(source_key), **arguments}
            bucket, key = arguments.pop("Bucket"), arguments.pop("Key")
            self.client.copy(source, bucket, key, ExtraArgs=arguments)

    def _headers(self, key: str) -> dict[str, Any]:
        head = self.client.head_object(**self._arguments("HeadObject", key))
        return {name: head[name] for name in _HEADERS_OF_OBJECT if head.get(name)}

    def _list(self, prefix: str) -> Iterator[Entry]:
        for page in self._pages(prefix, Delimiter="/"):
            for group in page.get("CommonPrefixes", ()):
                yield Entry(group["Prefix"][:-1], True)
            yield from _entries(page)

    def _walk(self, prefix: str) -> Iterator[Entry]:
        for page in self._pages(prefix):
            yield from _entries(page)

    def _first(self, prefix: str) -> str:
        page = next(self._pages(prefix, MaxKeys=1))
        return next((item["Key"] for item in page.get("Contents", ())), "")

    def _classify(self, error: BaseException) -> type[Exception] | None:
        return meaning_of(error)

    def _advise(self, error: Any, kind: type[Exception]) -> str:
        return f"{type(self).__name__}: {advice_on(error, kind, self.bucket_name, self.endpoint_url or 'AWS')}"

    # URLs

    def _signs_urls(self) -> bool:
        return bool(self.querystring_auth and (not self.custom_domain or self.cloudfront_signer))

    def _presign(self, key: str, method: str, seconds: int, parameters: Mapping[str, Any]) -> str:
        if self.custom_domain:
            return self._sign_for_cdn(self._public_url(key, parameters), seconds)
        if method == "GET" and (url := self._sign_fast(key, seconds, self.querystring_window, parameters)):
            return url
        return self._sign(key, method, seconds, parameters)

    def _presign_download(self, key: str, seconds: int, parameters: Mapping[str, Any]) -> str:
        # Not by the CDN, which need not hand the parameters on.
        return self._sign_fast(key, seconds, 0, parameters) or self._sign(key, "GET", seconds, parameters)

    def _sign_fast(self, key: str, seconds: int, window: int, parameters: Mapping[str, Any]) -> str | None:
        signer: QuerySigner | None = self._derived("signer", self._make_signer)
        return signer.sign(key, seconds, window, parameters) if signer else None

    def _sign(self, key: str, method: str, seconds: int, parameters: Mapping[str, Any]) -> str:
        return self.client.generate_presigned_url(
            f"{method.lower()}_object",
            Params={**parameters, "Bucket": self._bucket(), "Key": key},
            ExpiresIn=seconds,
            HttpMethod=method,
        )

    def _public_url(self, key: str, parameters: Mapping[str, Any]) -> str:
        if self.custom_domain:
            return with_query(f"{self._derived('cdn', self._cdn_base)}{quoted(key)}", parameters)
        if parameters:
            wanted = {**parameters, "Bucket": self._bucket(), "Key": key}
            return self._connect("unsigned").generate_presigned_url("get_object", Params=wanted)
        return self._derived("public", self._public_base) + quoted(key)

    def _make_signer(self) -> QuerySigner | None:
        credentials = self._connect("credentials")
        return QuerySigner(self.client, credentials, self._bucket()) if credentials else None

    def _cdn_base(self) -> str:
        return f"{self.url_protocol or 'https:'}//{self.custom_domain.rstrip('/')}/"

    def _public_base(self) -> str:
        wanted = {"Bucket": self._bucket(), "Key": _PROBE}
        return self._connect("unsigned").generate_presigned_url("get_object", Params=wanted).removesuffix(_PROBE)

    def _sign_for_cdn(self, url: str, seconds: int) -> str:
        expires = cloudfront.expires_at(seconds, self.querystring_window)
        if self.cloudfront_policy:
            policy = cloudfront.custom_policy(self.cloudfront_policy, expires)
            return self.cloudfront_signer.generate_presigned_url(url, policy=policy)
        at = datetime.datetime.fromtimestamp(expires, datetime.timezone.utc)
        return self.cloudfront_signer.generate_presigned_url(url, date_less_than=at)

    def get_cloudfront_signer(self, key_id: str, key: str | bytes) -> Any:
        """Return the signer for a CloudFront key; the key is parsed once in this process."""
        return cloudfront.signer(key_id, key)

    # Uploads that somebody else makes

    def _upload_kinds(self) -> Mapping[str, Enforced]:
        if self.signature_version not in (None, "s3v4"):
            return {}
        once = self._honours_conditions() is True
        forms = s3_uploads.takes_forms(self.endpoint_url) if self.post_uploads is None else self.post_uploads
        puts = bool(self.unsigned_headers) or s3_uploads.refuses_unsigned_headers(self.endpoint_url)
        parameters = self._get_write_parameters(_PROBE)
        checksums = self._signs_checksums()
        return s3_uploads.kinds_of(parameters, once=once, forms=forms, puts=puts, checksums=checksums)

    def _presign_upload(self, key: str, kind: str, terms: UploadTerms) -> SignedRequest:
        if "${filename}" in key:
            raise ValueError(f"S3 puts the uploaded file's own name into {key!r}; upload under another name")
        checksums = self._signs_checksums()
        headers = s3_uploads.headers_of(self.client, "PutObject", self._granted_parameters("PutObject", key))
        if kind == "post":
            fields, conditions = s3_uploads.form_fields(headers, terms, checksums=checksums)
            url, fields = self._grant(self._upload_signer(terms).form(key, terms.seconds, fields, conditions))
            return SignedRequest("POST", url, fields=fields)
        once = self.upload_kinds["put"].single_use
        headers = s3_uploads.put_headers(headers, terms, once=once, checksums=checksums)
        return self._signed_put(key, terms, headers, terms.size, {})

    def _signed_put(
        self, key: str, terms: UploadTerms, headers: dict[str, str], size: int, query: dict[str, str]
    ) -> SignedRequest:
        signed = {**headers, "Content-Length": str(size)}
        absent = s3_uploads.ADDITIONS if self.unsigned_headers == "named" else ()
        url = self._upload_signer(terms).request("PUT", key, terms.seconds, signed, query, absent)
        return SignedRequest("PUT", self._grant(url), headers)

    def _open_upload(self, key: str, kind: str, terms: UploadTerms) -> str:
        checksums = terms.part_checksums and self._signs_checksums()
        arguments = self._granted_parameters("CreateMultipartUpload", key)
        arguments["ContentType"] = terms.content_type
        if checksums:
            arguments["ChecksumAlgorithm"] = "SHA256"
        upload_id = self.client.create_multipart_upload(**arguments)["UploadId"]
        return s3_uploads.state_of(upload_id, checksums=checksums)

    def _presign_part(
        self, key: str, kind: str, state: str, number: int, terms: UploadTerms, checksum: str
    ) -> SignedRequest:
        upload_id, checksums = s3_uploads.read_state(state)
        if checksums and not checksum:
            raise ValueError(f"part {number} has no checksum, which this upload was opened with for all parts")
        arguments = {**self._arguments("UploadPart", key), "PartNumber": number, "UploadId": upload_id}
        headers = s3_uploads.headers_of(self.client, "UploadPart", arguments)
        if checksums:
            headers["x-amz-checksum-sha256"] = checksum
        query = {"partNumber": str(number), "uploadId": upload_id}
        return self._signed_put(key, terms, headers, terms.size_of(number), query)

    def _received_parts(self, key: str, kind: str, state: str) -> list[Received]:
        return s3_uploads.received(self._parts_of(key, state))

    def _close_upload(self, key: str, kind: str, state: str, terms: UploadTerms, checksums: Mapping[int, str]) -> None:
        upload_id, has_checksums = s3_uploads.read_state(state)
        try:
            parts = s3_uploads.completed(self._parts_of(key, state), terms, checksums, checksums=has_checksums)
        except exceptions.ClientError as error:
            # It was closed before, by this or another process: nobody else could make that object.
            if meaning_of(error) is not FileNotFoundError or not self._is_there(key, terms.size):
                raise
            return
        arguments = self._arguments("CompleteMultipartUpload", key)
        complete = functools.partial(
            self.client.complete_multipart_upload,
            MultipartUpload={"Parts": parts},
            UploadId=upload_id,
            **arguments,
        )
        # Others than AWS may know the condition and not look at it here, as Ceph 16.
        if (self.endpoint_url or self._honours_conditions() is False) and self._exists(key):
            raise _taken("CompleteMultipartUpload")
        try:
            self._conditionally(key, WriteOptions(create_only=True), complete)
        except exceptions.ClientError as error:
            if has_checksums and code_of(error) in s3_uploads.OTHER_PARTS:
                raise PartsMissing(s3_uploads.refused(error.response, terms)) from error
            raise

    def _abandon_upload(self, key: str, kind: str, state: str) -> None:
        upload_id, _ = s3_uploads.read_state(state)
        found = [upload_id] if upload_id else [one.upload_id for one in self._unfinished(key) if one.key == key]
        for one in found:
            self.client.abort_multipart_upload(UploadId=one, **self._arguments("AbortMultipartUpload", key))

    def _own_headers(self, key: str) -> Mapping[str, str]:
        parameters = self._granted_parameters("PutObject", key)
        said = s3_uploads.said_by(s3_uploads.headers_of(self.client, "PutObject", parameters))
        return dict.fromkeys(said, ANY)  # they were signed

    def _parts_of(self, key: str, state: str) -> Iterator[dict[str, Any]]:
        upload_id, _ = s3_uploads.read_state(state)
        pages = self.client.get_paginator("list_parts")
        for page in pages.paginate(UploadId=upload_id, **self._arguments("ListParts", key)):
            yield from page.get("Parts", ())

    def _is_there(self, key: str, size: int) -> bool:
        try:
            return self._stat(key).size == size
        except exceptions.ClientError as error:
            if meaning_of(error) is not FileNotFoundError:
                raise
            return False

    def _granted_parameters(self, operation: str, key: str) -> dict[str, Any]:
        """Return the arguments of a request that somebody else is to make, or that begins one."""
        parameters = _known(self._get_write_parameters(key), self.client)
        return self._arguments(operation, key, s3_uploads.granted(parameters))

    def _signs_checksums(self) -> bool:
        # Others than AWS may take the header and not look at it.
        return (self.checksums or ("when_required" if self.endpoint_url else "when_supported")) == "when_supported"

    def _upload_signer(self, terms: UploadTerms) -> QuerySigner:
        if terms.seconds > LONGEST_EXPIRE:
            raise ValueError(f"a signature lives at most {LONGEST_EXPIRE} seconds, not {terms.seconds}")
        signer: QuerySigner | None = self._derived("signer", self._make_signer)
        if signer is None:
            raise exceptions.NoCredentialsError
        return signer

    def _grant(self, signed: Any) -> Any:
        if signed is None:
            raise ValueError(f"{type(self).__name__} signs uploads with SigV4 only, which this configuration is not")
        return signed

    # Unfinished uploads

    def stale_uploads(self, older_than: datetime.timedelta = datetime.timedelta(days=1)) -> Iterator[StaleUpload]:
        """Yield the multipart uploads below this storage's prefix that began more than ``older_than`` ago.

        They are what killed processes leave; a lifecycle rule of the bucket can remove them as well.
        """
        before = datetime.datetime.now(datetime.timezone.utc) - older_than
        with self._translating(""):
            yield from (upload for upload in self._unfinished(self._prefix) if upload.started <= before)

    def abort_stale_uploads(self, older_than: datetime.timedelta = datetime.timedelta(days=1)) -> int:
        """Remove what stale_uploads() lists; return how many there were."""
        stale = list(self.stale_uploads(older_than))
        for upload in stale:
            with self._translating(upload.key):
                arguments = self._arguments("AbortMultipartUpload", upload.key)
                self.client.abort_multipart_upload(UploadId=upload.upload_id, **arguments)
        return len(stale)

    def _unfinished(self, prefix: str) -> Iterator[StaleUpload]:
        pages = self.client.get_paginator("list_multipart_uploads")
        for page in pages.paginate(**self._arguments("ListMultipartUploads"), Prefix=prefix):
            for upload in page.get("Uploads", ()):
                yield StaleUpload(upload["Key"], upload["UploadId"], upload["Initiated"])

    # Requests

    def _bucket(self) -> str:
        return self._needed("bucket_name")

    def _arguments(self, operation: str, key: str | None = None, parameters: Mapping[str, Any] | None = None) -> dict:
        """Return the arguments of a request: bucket, key, and those of the object's parameters that it takes.

        So the keys of SSE-C, the payer and the expected owner go along wherever S3 needs them.
        """
        if parameters is None:
            of_all = self.object_parameters if isinstance(self.object_parameters, dict) else {}
            parameters = of_all if key is None else self.get_object_parameters(key)
        taken: dict[str, Any] = {}
        if parameters:
            known = self.client.meta.service_model.operation_model(operation).input_shape.members
            taken = {name: value for name, value in parameters.items() if name in known}
        taken["Bucket"] = self._bucket()
        if key is not None:
            taken["Key"] = key
        return taken

    def _put_object(self, key: str, body: Any, options: WriteOptions) -> None:
        arguments = self._arguments("PutObject", key, _known(options.parameters, self.client))
        self._conditionally(key, options, functools.partial(self.client.put_object, Body=SmallReads(body), **arguments))

    def _conditionally(self, key: str, options: WriteOptions, send: functools.partial[Any]) -> None:
        """Send a write with its conditions; a service that knows none is noticed once, and gets none from then on."""
        conditions = {} if self._honours_conditions() is False else _conditions(options)
        try:
            send(**conditions)
        except exceptions.ClientError as error:
            if not conditions or code_of(error) not in _UNKNOWN_CONDITION:
                raise
            self._connect("found")["conditions"] = False
            if options.create_only and self._exists(key):
                raise _taken("PutObject") from error
            if "Body" in send.keywords:
                send.keywords["Body"].seek(0)
            send()

    def _verifies(self) -> bool:
        wanted = self.client.meta.config.response_checksum_validation == "when_supported"
        return wanted and self._connect("found").get("md5", True)

    def _pages(self, prefix: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        arguments.update(self._arguments("ListObjectsV2"), Prefix=prefix)
        while True:
            page = self.client.list_objects_v2(**arguments)
            yield page
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    def _make_sure_of_bucket(self) -> None:
        # A HEAD says 404 for a missing bucket too, which must not pass for a missing object.
        if not self._derived("bucket seen", list):
            try:
                self.client.head_bucket(**self._arguments("HeadBucket"))
            except exceptions.ClientError as error:
                if code_of(error) == "404":
                    error.response["Error"]["Code"] = "NoSuchBucket"
                    raise
            self._derived("bucket seen", list).append(True)

    # Conditions

    def _honours_conditions(self) -> bool | None:
        """Whether the service creates an object only where none is; None: not known yet."""
        if self.create_only is not None:
            return self.create_only
        return True if not self.endpoint_url else self._connect("found").get("conditions")

    def _find_out_about_conditions(self, key: str, body: Any, options: WriteOptions) -> None:
        """Write the first object that must not replace another, and see whether the service refuses to do it twice."""
        found = self._connect("found")
        if self._exists(key):
            raise _taken("PutObject")
        self._put_object(key, body, options)
        if "conditions" in found:
            return
        body.seek(0)
        try:
            self._put_object(key, body, options)
        except exceptions.ClientError as error:
            if meaning_of(error) is not FileExistsError:
                raise
            found["conditions"] = True
        else:
            found["conditions"] = False

    # Options

    def get_default_settings(self) -> dict[str, Any]:
        """Return the options that neither a keyword nor a subclass gives."""
        defaults = super().get_default_settings()
        for option in ("access_key", "secret_key", "security_token"):
            names = getattr(
                self, f"{option}_names", None
            )  # as subclasses for earlier releases named their own settings
            if names:
                defaults[option] = Setting(names=tuple(names), env=tuple(names)).lookup()
        return defaults

    def _complete_keys(self) -> None:
        """Pair a key with what the environment holds for it; boto3 itself reads what is there whole."""
        environ = os.environ
        if (self.secret_key or self.security_token) and not self.access_key:
            self.access_key = environ.get("AWS_ACCESS_KEY_ID")
        if (self.access_key or self.security_token) and not self.secret_key:
            self.secret_key = environ.get("AWS_SECRET_ACCESS_KEY")
        if bool(self.access_key) != bool(self.secret_key):
            missing = "secret_key" if self.access_key else "access_key"
            raise ImproperlyConfigured(
                f"{type(self).__name__}: an access key and a secret key go together; set {self._spelt(missing)} too"
            )
        # A token in the environment belongs to the key there.
        owner = environ.get("AWS_ACCESS_KEY_ID") or environ.get("AWS_S3_ACCESS_KEY_ID")
        if self.access_key and not self.security_token and self.access_key == owner:
            self.security_token = environ.get("AWS_SESSION_TOKEN") or environ.get("AWS_SECURITY_TOKEN")

    def _use_transfer_options(self) -> None:
        if not self.use_threads:
            warnings.warn(f"{self._spelt('use_threads')} is deprecated; use 'transfer_config'", DeprecationWarning, 3)
            self.parts_at_once = self.ranges_at_once = 0
        if self.transfer_config is not None:
            threads = self.transfer_config.max_concurrency if self.transfer_config.use_threads else 0
            self.parts_at_once = self.file_parts_at_once = self.ranges_at_once = threads
            self.part_size = max(self.transfer_config.multipart_chunksize, SMALLEST_PART)


class S3StaticStorage(S3Storage):
    """Static files in S3, under URLs that are not signed: the bucket or a CDN must let everybody read them."""

    querystring_auth = False
    url_without_name = True


class S3ManifestStaticStorage(ManifestFilesMixin, S3StaticStorage):  # type: ignore[misc]
    """Static files in S3 under names that carry a hash of the content."""


_CAPABILITIES = Capabilities(
    ranges=True,
    parts=True,
    create_only=True,
    if_match=True,
    copy=True,
    delete_many=True,
    content_type=True,
    presign=frozenset({"GET", "HEAD", "PUT", "DELETE"}),
    missing={
        "created_time": "S3 keeps the time of the last write only.",
        "accessed_time": "S3 does not note reads.",
    },
)
_CAPABILITIES_WITHOUT_CONDITIONS = Capabilities(
    **{**vars(_CAPABILITIES), "create_only": False, "missing": {"create_only": "The service ignores If-None-Match."}}
)


class _Body:
    """The body of a GetObject answer."""

    def __init__(self, answer: dict[str, Any]):
        self.stat: Stat | None = _stat_of(answer)
        self.etag_may_be_md5 = (
            answer["ContentLength"] == self.stat.size
            and _MD5.fullmatch(self.stat.etag or "")
            and "SSECustomerAlgorithm" not in answer
            and not answer.get("ServerSideEncryption", "").startswith("aws:")
        )
        self.read, self.close = answer["Body"].read, answer["Body"].close


class _VerifiedBody:
    """The body of a range that happens to be the whole object, compared with its ETag when it is read at once.

    S3 sends a checksum, which botocore verifies, with whole answers only. The ETag often is the MD5 of the bytes but
    need not be, so a difference is no verdict: the object is asked for again, whole and with its checksum. Where that
    gives the same bytes, the service's ETags are something else, and are left alone from then on.
    """

    def __init__(self, body: _Body, ask_again: Callable[[], dict[str, Any]], found: dict[str, Any]):
        self.stat = body.stat
        self._body = body
        self._ask_again = ask_again
        self._found = found
        self.close = body.close

    def read(self, size: int = -1, /) -> bytes:
        if size >= 0:
            return self._body.read(size)
        data: bytes = self._body.read()
        if f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"' == (self.stat and self.stat.etag):
            return data
        with contextlib.closing(self._ask_again()["Body"]) as whole:
            verified: bytes = whole.read()
        self._found["md5"] = verified != data
        return verified


class _Parts:
    """A multipart upload."""

    def __init__(self, storage: S3Storage, key: str, options: WriteOptions):
        self._storage = storage
        self._client = storage.client
        self._parameters = _known(options.parameters, self._client)
        if self._client.meta.config.request_checksum_calculation == "when_supported":
            # What the parts are checked with must be said at the start.
            self._parameters.setdefault("ChecksumAlgorithm", "CRC32")
        self._key = key
        self._options = options
        self._done: dict[int, dict[str, Any]] = {}
        self._upload_id = self._client.create_multipart_upload(**self._arguments("CreateMultipartUpload"))["UploadId"]

    def send(self, number: int, body: Any) -> None:
        arguments = self._arguments("UploadPart")
        answer = self._client.upload_part(
            PartNumber=number, Body=SmallReads(body), UploadId=self._upload_id, **arguments
        )
        checks = {
            name: value for name, value in answer.items() if name.startswith("Checksum") and name != "ChecksumType"
        }
        self._done[number] = {"PartNumber": number, "ETag": answer["ETag"], **checks}

    def complete(self) -> None:
        arguments = self._arguments("CompleteMultipartUpload")
        parts = {"Parts": [self._done[number] for number in sorted(self._done)]}
        complete = functools.partial(
            self._client.complete_multipart_upload, MultipartUpload=parts, UploadId=self._upload_id, **arguments
        )
        self._storage._conditionally(self._key, self._options, complete)

    def abort(self) -> None:
        arguments = self._arguments("AbortMultipartUpload")
        self._client.abort_multipart_upload(UploadId=self._upload_id, **arguments)

    def _arguments(self, operation: str) -> dict[str, Any]:
        return self._storage._arguments(operation, self._key, self._parameters)


def _known(parameters: Mapping[str, Any], client: Any) -> dict[str, Any]:
    """Return ``parameters``; raise ImproperlyConfigured for one that no write of S3 takes."""
    known = client.meta.service_model.operation_model("PutObject").input_shape.members
    for name in parameters:
        if name not in known:
            raise ImproperlyConfigured(f"S3 has no object parameter {name!r}{nearest(name, known)}")
    return dict(parameters)


def _taken(operation: str) -> Exception:
    return exceptions.ClientError({"Error": {"Code": "PreconditionFailed", "Message": "It is there"}}, operation)


def _conditions(options: WriteOptions) -> dict[str, str]:
    # Without its quotes, as S3's own examples have it; Ceph takes it no other way.
    etag = (options.if_match or "").strip('"')
    conditions = {"IfMatch": etag, "IfNoneMatch": "*" if options.create_only else ""}
    return {name: value for name, value in conditions.items() if value}


def _stat_of(answer: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Stat:
    """Return the Stat in the answer to a HEAD or a GET, of which a range says the size of the whole."""
    return Stat(
        size=size_of_whole(answer.get("ContentRange", ""), answer["ContentLength"]),
        modified=answer.get("LastModified"),
        etag=answer.get("ETag"),
        content_type=answer.get("ContentType"),
        content_encoding=answer.get("ContentEncoding"),
        headers=headers,
    )


def _answer_beyond(error: Any) -> dict[str, Any]:
    """Return the answer to a range after the end, whose size S3 tells in the one place and its likes in the other."""
    headers = error.response["ResponseMetadata"]["HTTPHeaders"]
    size = error.response["Error"].get("ActualObjectSize") or size_of_whole(headers.get("content-range", ""), 0)
    return {"Body": io.BytesIO(), "ContentLength": int(size)}


def _entries(page: Mapping[str, Any]) -> Iterator[Entry]:
    for item in page.get("Contents", ()):
        if not item["Key"].endswith("/"):  # what consoles put there to show an empty directory
            yield Entry(item["Key"], False, item["Size"], item["LastModified"], item.get("ETag"))


def _parse_time(text: Any) -> datetime.datetime:
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc)
    except (TypeError, ValueError):
        return botocore_parsers.parse_timestamp(text)
