"""Private storages in Amazon S3 and MinIO, configured apart from the public one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured

from storages.backends.s3 import S3Storage
from storages.private import settings
from storages.private.storage import PrivateStorageMixin
from storages.settings import Renamed, Setting

Cls = TypeVar("Cls", bound=type[S3Storage])

_WRITES = ("PutObject", "CreateMultipartUpload", "CopyObject")

# Headers among the metadata of MinIO's own client, and what S3 calls them.
_HEADERS = {
    "cache-control": "CacheControl",
    "content-disposition": "ContentDisposition",
    "content-encoding": "ContentEncoding",
    "content-language": "ContentLanguage",
    "content-type": "ContentType",
}

# Both of a kind come from one place: a private key never goes with the secret of the public storage.
_OWN_KEYS = {
    option: Setting(names=names, env=names)
    for option, names in {
        "access_key": ("AWS_PRIVATE_S3_ACCESS_KEY_ID", "AWS_PRIVATE_ACCESS_KEY_ID"),
        "secret_key": ("AWS_PRIVATE_S3_SECRET_ACCESS_KEY", "AWS_PRIVATE_SECRET_ACCESS_KEY"),
        "security_token": ("AWS_PRIVATE_SESSION_TOKEN", "AWS_PRIVATE_SECURITY_TOKEN"),
    }.items()
}


class _ServedS3Storage(PrivateStorageMixin, S3Storage):
    """Objects whose URLs are signed, or are those of the view."""

    proxy_setting = "PRIVATE_STORAGE_S3_REVERSE_PROXY"

    encryption = Setting(
        False,
        type=(bool, str),
        help="Whether objects are written with server-side encryption: True for AES256, or a name such as 'aws:kms'.",
    )

    def _is_served(self) -> bool:
        signs = self.querystring_auth and self._signs_urls()
        return bool(self.base_url or not signs or settings.get(self.proxy_setting))

    def _signs_urls(self) -> bool:
        # signed_url() is asked by deliveries too, whatever url() does.
        return bool(not self.custom_domain or self.cloudfront_signer)

    def _arguments(self, operation: str, key: str | None = None, parameters: Mapping[str, Any] | None = None) -> dict:
        # Here, because it is what no subclass passes by that chooses its own parameters.
        arguments = super()._arguments(operation, key, parameters)
        if self.encryption and operation in _WRITES and "SSECustomerAlgorithm" not in arguments:
            arguments.setdefault("ServerSideEncryption", "AES256" if self.encryption is True else self.encryption)
        return arguments


def _apart(cls: Cls) -> Cls:
    """Have ``cls`` read no setting of the public storage but those that it names itself."""
    for name, setting in S3Storage.declared_settings().items():
        if name not in vars(cls):
            setattr(cls, name, setting.named(env=()))
    return cls


@_apart
class PrivateS3Storage(_ServedS3Storage):
    """Private files in Amazon S3, by the settings AWS_PRIVATE_*; five of them fall back to AWS_*.

    URLs are signed, unless AWS_PRIVATE_QUERYSTRING_AUTH is false or PRIVATE_STORAGE_S3_REVERSE_PROXY true: then they
    are those of the view.
    """

    access_key = S3Storage.access_key.named(
        "AWS_PRIVATE_S3_ACCESS_KEY_ID", "AWS_PRIVATE_ACCESS_KEY_ID", "AWS_S3_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"
    )
    secret_key = S3Storage.secret_key.named(
        "AWS_PRIVATE_S3_SECRET_ACCESS_KEY",
        "AWS_PRIVATE_SECRET_ACCESS_KEY",
        "AWS_S3_SECRET_ACCESS_KEY",
        "AWS_SECRET_ACCESS_KEY",
    )
    security_token = S3Storage.security_token.named(
        "AWS_PRIVATE_SESSION_TOKEN", "AWS_PRIVATE_SECURITY_TOKEN", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"
    )
    session_profile = S3Storage.session_profile.named("AWS_PRIVATE_S3_SESSION_PROFILE", env=())
    bucket_name = S3Storage.bucket_name.named("AWS_PRIVATE_STORAGE_BUCKET_NAME")
    file_overwrite = S3Storage.file_overwrite.named("AWS_PRIVATE_S3_FILE_OVERWRITE", default=False)
    create_only = S3Storage.create_only.named("AWS_PRIVATE_S3_CREATE_ONLY")
    post_uploads = S3Storage.post_uploads.named("AWS_PRIVATE_S3_POST_UPLOADS")
    unsigned_headers = S3Storage.unsigned_headers.named("AWS_PRIVATE_S3_UNSIGNED_HEADERS")
    object_parameters = S3Storage.object_parameters.named("AWS_PRIVATE_S3_OBJECT_PARAMETERS")
    # Sent with no write by default: objects are private without, and buckets of today refuse every ACL.
    default_acl = S3Storage.default_acl.named("AWS_PRIVATE_DEFAULT_ACL")
    encryption = _ServedS3Storage.encryption.named("AWS_PRIVATE_S3_ENCRYPTION")
    querystring_auth = S3Storage.querystring_auth.named("AWS_PRIVATE_QUERYSTRING_AUTH")
    querystring_expire = S3Storage.querystring_expire.named("AWS_PRIVATE_QUERYSTRING_EXPIRE")
    querystring_window = S3Storage.querystring_window.named("AWS_PRIVATE_QUERYSTRING_WINDOW")
    signature_version = S3Storage.signature_version.named("AWS_PRIVATE_S3_SIGNATURE_VERSION")
    location = S3Storage.location.named("AWS_PRIVATE_LOCATION")
    custom_domain = S3Storage.custom_domain.named("AWS_PRIVATE_S3_CUSTOM_DOMAIN")
    url_protocol = S3Storage.url_protocol.named("AWS_PRIVATE_S3_URL_PROTOCOL", "AWS_S3_URL_PROTOCOL")
    cloudfront_key_id = S3Storage.cloudfront_key_id.named("AWS_PRIVATE_CLOUDFRONT_KEY_ID")
    cloudfront_key = S3Storage.cloudfront_key.named("AWS_PRIVATE_CLOUDFRONT_KEY")
    cloudfront_policy = S3Storage.cloudfront_policy.named("AWS_PRIVATE_CLOUDFRONT_POLICY")
    addressing_style = S3Storage.addressing_style.named("AWS_PRIVATE_S3_ADDRESSING_STYLE")
    file_name_charset = S3Storage.file_name_charset.named("AWS_PRIVATE_S3_FILE_NAME_CHARSET")
    gzip = S3Storage.gzip.named("AWS_PRIVATE_IS_GZIPPED", "AWS_IS_GZIPPED")
    gzip_content_types = S3Storage.gzip_content_types.named("GZIP_CONTENT_TYPES")
    endpoint_url = S3Storage.endpoint_url.named("AWS_PRIVATE_S3_ENDPOINT_URL")
    proxies = S3Storage.proxies.named("AWS_PRIVATE_S3_PROXIES")
    region_name = S3Storage.region_name.named("AWS_PRIVATE_S3_REGION_NAME", "AWS_S3_REGION_NAME")
    use_ssl = S3Storage.use_ssl.named("AWS_PRIVATE_S3_USE_SSL")
    verify = S3Storage.verify.named("AWS_PRIVATE_S3_VERIFY")
    checksums = S3Storage.checksums.named("AWS_PRIVATE_S3_CHECKSUMS")
    connect_timeout = S3Storage.connect_timeout.named("AWS_PRIVATE_S3_CONNECT_TIMEOUT")
    read_timeout = S3Storage.read_timeout.named("AWS_PRIVATE_S3_READ_TIMEOUT")
    max_attempts = S3Storage.max_attempts.named("AWS_PRIVATE_S3_MAX_ATTEMPTS")
    max_memory_size = S3Storage.max_memory_size.named("AWS_PRIVATE_S3_MAX_MEMORY_SIZE")
    part_size = S3Storage.part_size.named("AWS_PRIVATE_S3_FILE_BUFFER_SIZE")
    use_threads = S3Storage.use_threads.named("AWS_PRIVATE_S3_USE_THREADS")
    transfer_config = S3Storage.transfer_config.named("AWS_PRIVATE_S3_TRANSFER_CONFIG")
    client_config = S3Storage.client_config.named("AWS_PRIVATE_S3_CLIENT_CONFIG")

    renamed = {
        **S3Storage.renamed,
        "secure_urls": Renamed(
            "url_protocol", ("AWS_PRIVATE_S3_SECURE_URLS",), lambda secure: "https:" if secure else "http:"
        ),
    }
    removed = {
        "acl": "use 'default_acl' (AWS_PRIVATE_DEFAULT_ACL)",
        "bucket": "use 'bucket_name' (AWS_PRIVATE_STORAGE_BUCKET_NAME)",
        **{name: S3Storage.removed[name] for name in S3Storage.removed if name not in ("acl", "bucket", "encryption")},
    }

    def get_default_settings(self) -> dict[str, Any]:
        """Return the options that neither a keyword nor a subclass gives; private keys come first, wherever from."""
        defaults = super().get_default_settings()
        own = {option: setting.lookup() for option, setting in _OWN_KEYS.items()}
        return {**defaults, **own} if any(own.values()) else defaults


class PrivateEncryptedS3Storage(PrivateS3Storage):
    """The same, with server-side encryption that no setting switches off."""

    encryption = True

    def __init__(self, **options: Any):
        super().__init__(**options)
        if not self.encryption:
            raise ImproperlyConfigured(f"{type(self).__name__} always encrypts; use PrivateS3Storage instead")


@_apart
class PrivateMinioStorage(_ServedS3Storage):
    """Private files in MinIO, by the settings MINIO_PRIVATE_STORAGE_*; all but the bucket fall back to MINIO_STORAGE_*.

    URLs are those of the view, unless MINIO_PRIVATE_STORAGE_MEDIA_USE_PRESIGNED is true.
    """

    proxy_setting = "PRIVATE_STORAGE_MINIO_REVERSE_PROXY"

    endpoint = Setting(
        "",
        names=("MINIO_PRIVATE_STORAGE_ENDPOINT", "MINIO_STORAGE_ENDPOINT"),
        help="Host of the server with its port, such as 'minio.example.com:9000'.",
    )
    use_https = Setting(
        True,
        names=("MINIO_PRIVATE_STORAGE_USE_HTTPS", "MINIO_STORAGE_USE_HTTPS"),
        type=bool,
        help="Whether requests go over TLS.",
    )
    object_metadata = Setting(
        names=("MINIO_PRIVATE_STORAGE_OBJECT_METADATA", "MINIO_STORAGE_OBJECT_METADATA"),
        type=dict,
        help="Headers and metadata of every object, such as {'Cache-Control': 'max-age=60'}.",
    )
    access_key = S3Storage.access_key.named(
        "MINIO_PRIVATE_STORAGE_ACCESS_KEY", "MINIO_STORAGE_ACCESS_KEY", env=("MINIO_PRIVATE_STORAGE_ACCESS_KEY",)
    )
    secret_key = S3Storage.secret_key.named(
        "MINIO_PRIVATE_STORAGE_SECRET_KEY", "MINIO_STORAGE_SECRET_KEY", env=("MINIO_PRIVATE_STORAGE_SECRET_KEY",)
    )
    # No fall-back: the bucket of MINIO_STORAGE_* is public as a rule.
    bucket_name = S3Storage.bucket_name.named("MINIO_PRIVATE_STORAGE_MEDIA_BUCKET_NAME")
    querystring_auth = S3Storage.querystring_auth.named(
        "MINIO_PRIVATE_STORAGE_MEDIA_USE_PRESIGNED", "MINIO_STORAGE_MEDIA_USE_PRESIGNED", default=False
    )
    file_overwrite = S3Storage.file_overwrite.named(default=False)
    region_name = S3Storage.region_name.named(default="us-east-1")
    addressing_style = S3Storage.addressing_style.named(default="path")

    def __init__(self, **options: Any):
        super().__init__(**options)
        if not self.endpoint_url:
            scheme = "https" if self.use_https else "http"
            self.endpoint_url = f"{scheme}://{self._needed('endpoint').rstrip('/')}"
        if self.object_metadata and not callable(self.object_parameters):
            self.object_parameters = {**_as_parameters(self.object_metadata), **(self.object_parameters or {})}


def _as_parameters(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata as MinIO's client takes it in the spelling of S3."""
    headers = {name: value for name, value in metadata.items() if name.lower() in _HEADERS}
    others = {name.lower().removeprefix("x-amz-meta-"): str(metadata[name]) for name in metadata if name not in headers}
    parameters = {_HEADERS[name.lower()]: value for name, value in headers.items()}
    return {**parameters, "Metadata": others} if others else parameters


# The names of django-private-storage.
PrivateS3BotoStorage = PrivateS3Storage
PrivateEncryptedS3BotoStorage = PrivateEncryptedS3Storage
