"""Private storages: which one is found, where its files lie, what its URLs are, which settings it reads."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, InMemoryStorage, storages
from django.test import override_settings
from django.urls import NoReverseMatch, include, path, set_script_prefix

import storages as package
from storages.backends.memory import MemoryStorage
from storages.backends.s3 import S3Storage
from storages.private.storage import (
    PrivateAzureStorage,
    PrivateEncryptedS3BotoStorage,
    PrivateEncryptedS3Storage,
    PrivateFileSystemStorage,
    PrivateGoogleCloudStorage,
    PrivateMinioStorage,
    PrivateS3BotoStorage,
    PrivateS3Storage,
    PrivateStorage,
    PrivateStorageMixin,
    get_private_storage,
    private_storage,
)
from storages.testing.files import pattern
from tests.buckets import WiredBucket

PUBLIC = {
    "AWS_STORAGE_BUCKET_NAME": "public",
    "AWS_LOCATION": "media",
    "AWS_DEFAULT_ACL": "public-read",
    "AWS_QUERYSTRING_AUTH": False,
    "AWS_S3_CUSTOM_DOMAIN": "cdn.example.com",
    "AWS_S3_ENDPOINT_URL": "https://public.example.com",
    "AWS_S3_FILE_OVERWRITE": True,
    "AWS_S3_OBJECT_PARAMETERS": {"ACL": "public-read"},
}


class PrivateMemoryStorage(PrivateStorageMixin, MemoryStorage):
    """One of ours."""


class PrivateForeignStorage(PrivateStorageMixin, InMemoryStorage):
    """One of Django's."""

    view_name = "vault:file"


class Urls:
    urlpatterns = [
        path("private-media/", include("storages.private.urls")),
        path("vault/<path:path>", lambda request, path: None, name="vault"),
    ]


class NoUrls:
    urlpatterns: tuple = ()


@pytest.fixture(autouse=True)
def urls(settings):
    settings.ROOT_URLCONF = Urls


@pytest.fixture
def root(settings, tmp_path):
    settings.PRIVATE_STORAGE_ROOT = str(tmp_path / "private")
    return tmp_path / "private"


# Which storage


def test_default_is_on_disk_below_the_private_root(root):
    assert private_storage.save("a/b.txt", ContentFile(b"x")) == "a/b.txt"
    assert (root / "a/b.txt").read_bytes() == b"x"
    assert isinstance(private_storage, PrivateFileSystemStorage)


def test_storage_follows_the_settings(tmp_path):
    for name in ("one", "two"):
        with override_settings(PRIVATE_STORAGE_ROOT=tmp_path / name):
            assert private_storage.path("a") == str(tmp_path / name / "a")
    with override_settings(PRIVATE_STORAGE_CLASS="tests.private.test_storage.PrivateMemoryStorage"):
        assert type(private_storage._wrapped if private_storage.capabilities else None) is PrivateMemoryStorage
    with override_settings(PRIVATE_STORAGE_CLASS=PrivateForeignStorage):
        assert isinstance(private_storage, PrivateForeignStorage)


def test_alias_in_storages_comes_first(settings, root):
    settings.STORAGES = {**settings.STORAGES, "private": {"BACKEND": "tests.private.test_storage.PrivateMemoryStorage"}}
    settings.PRIVATE_STORAGE_CLASS = "nowhere.Storage"
    assert isinstance(private_storage, PrivateMemoryStorage)
    assert PrivateStorage().deconstruct()[0] == "tests.private.test_storage.PrivateMemoryStorage"
    private_storage.save("a", ContentFile(b"x"))
    assert storages["private"].exists("a")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("private_storage.storage.files.PrivateFileSystemStorage", PrivateFileSystemStorage),
        ("private_storage.storage.s3boto3.PrivateS3BotoStorage", PrivateS3Storage),
        ("private_storage.storage.s3boto3.PrivateEncryptedS3BotoStorage", PrivateEncryptedS3Storage),
    ],
)
def test_old_dotted_paths_are_understood(settings, old, new):
    settings.PRIVATE_STORAGE_CLASS = old
    assert isinstance(private_storage, new)


def test_storage_is_made_at_its_first_use(settings):
    settings.PRIVATE_STORAGE_CLASS = "nowhere.Storage"
    storage = get_private_storage()
    assert storage is private_storage
    with pytest.raises(ImportError):
        storage.exists("a")


def test_app_needs_no_sdk():
    code = """
import sys
for name in ("boto3", "botocore", "azure", "google", "b2sdk", "PIL"):
    sys.modules[name] = None
from django.conf import settings
apps = ["django.contrib.auth", "django.contrib.contenttypes", "storages.private"]
settings.configure(INSTALLED_APPS=apps, PRIVATE_STORAGE_ROOT="x")
import django
django.setup()
import storages.private.fields, storages.private.storage, storages.private.views, storages.private.checks
print(*[name for name in sys.modules if name.startswith("storages.backends")])
"""
    cwd = Path(package.__file__).parent.parent
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=cwd)
    assert answer.stdout.split() == []


def test_unknown_name_of_the_module_is_an_attribute_error():
    with pytest.raises(ImportError):
        exec("from storages.private.storage import PrivateNowhereStorage")


# On disk


@pytest.mark.seed("S7")
@pytest.mark.parametrize("unset", [None, ""])
def test_unset_root_is_an_error_and_never_media_root(settings, tmp_path, unset):
    settings.MEDIA_ROOT, settings.PRIVATE_STORAGE_ROOT = str(tmp_path), unset
    storage = PrivateFileSystemStorage()  # which a model's module may do
    for use in (storage.listdir, storage.exists, storage.path):
        with pytest.raises(ImproperlyConfigured, match="set PRIVATE_STORAGE_ROOT to a directory outside of MEDIA_ROOT"):
            use("a")
    with pytest.raises(ImproperlyConfigured):
        storage.save("a", ContentFile(b"x"))
    assert list(tmp_path.iterdir()) == []


def test_media_settings_change_nothing(settings, tmp_path):
    storage = PrivateFileSystemStorage(tmp_path / "here", "/x/")
    settings.MEDIA_ROOT, settings.MEDIA_URL = str(tmp_path / "media"), "/media/"
    assert storage.path("a") == str(tmp_path / "here/a")
    assert storage.url("a") == "/x/a"


@pytest.mark.threat("T-04")
@pytest.mark.parametrize("link", ["file", "directory"])
def test_link_out_of_the_root_is_refused(root, tmp_path, link):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(b"secret")
    root.mkdir()
    (root / "link").symlink_to(tmp_path / ("outside/secret" if link == "file" else "outside"))
    name = "link" if link == "file" else "link/secret"
    storage = PrivateFileSystemStorage()
    for use in (storage.open, storage.exists, storage.size, storage.path, storage.delete):
        with pytest.raises(SuspiciousFileOperation):
            use(name)


def test_link_within_the_root_and_root_that_is_a_link_are_followed(root, tmp_path):
    (tmp_path / "disk").mkdir()
    root.symlink_to(tmp_path / "disk")
    (root / "a").write_bytes(b"x")
    (root / "link").symlink_to(root / "a")
    storage = PrivateFileSystemStorage()
    assert storage.size("a") == storage.size("link") == 1


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/../../b"])
def test_name_that_leaves_the_root_is_refused(root, name):
    with pytest.raises(SuspiciousFileOperation):
        PrivateFileSystemStorage().open(name)
    with pytest.raises(SuspiciousFileOperation):
        PrivateFileSystemStorage().url(name)


def test_storage_is_deconstructed_by_what_it_was_given():
    storage = PrivateFileSystemStorage("/srv/x", base_url="/x/", view_name="vault", server="nginx")
    path_, args, kwargs = storage.deconstruct()
    assert path_ == "storages.private.storage.PrivateFileSystemStorage"
    assert (args, kwargs) == (("/srv/x",), {"base_url": "/x/", "view_name": "vault", "server": "nginx"})


# URLs


@pytest.mark.parametrize(
    "storage", [PrivateFileSystemStorage("/srv"), PrivateMemoryStorage(), PrivateForeignStorage(view_name="vault")]
)
def test_url_is_that_of_the_view(storage):
    base = "/vault" if isinstance(storage, PrivateForeignStorage) else "/private-media"
    assert storage.url("a b/ü#1?.txt") == f"{base}/a%20b/%C3%BC%231%3F.txt"
    assert storage.url("a/./b//c") == f"{base}/a/b/c"
    assert storage.url("a", parameters={"x": "1 2"}) == f"{base}/a?x=1+2"
    assert storage.url("a", expire=60, http_method="HEAD") == f"{base}/a"


@pytest.mark.parametrize("cls", [PrivateFileSystemStorage, PrivateMemoryStorage, PrivateForeignStorage])
@pytest.mark.parametrize("base_url", ["/elsewhere/", "/elsewhere", "https://files.example.com/x/"])
def test_explicit_base_url_wins(cls, base_url):
    storage = cls(base_url=base_url)
    assert storage.url("a b.txt") == f"{base_url.rstrip('/')}/a%20b.txt"


def test_base_url_that_djangos_storage_takes_by_position_wins():
    cls = type("Private", (PrivateStorageMixin, FileSystemStorage), {})
    assert cls("/srv", "/x").url("a") == "/x/a"


@pytest.mark.seed("C14")
def test_nothing_of_a_request_stays_on_the_storage(root):
    storage = PrivateFileSystemStorage()
    before = dict(vars(storage))
    try:
        set_script_prefix("/app/")
        assert storage.url("a") == "/app/private-media/a"
    finally:
        set_script_prefix("/")
    assert storage.url("a") == "/private-media/a"
    assert vars(storage) == before


@pytest.mark.parametrize("name", [None, "", "/"])
def test_nothing_has_no_url(name, root):
    with pytest.raises((ValueError, SuspiciousFileOperation)):
        private_storage.url(name)


@override_settings(ROOT_URLCONF=NoUrls)
def test_url_without_a_view_is_no_reverse_match(root):
    with pytest.raises(NoReverseMatch, match="serve_private_file"):
        private_storage.url("a")


@pytest.mark.parametrize("cls", [PrivateFileSystemStorage, PrivateMemoryStorage, PrivateForeignStorage])
def test_delivery_is_an_option(cls):
    storage = cls(server="nginx", internal_url="/internal/", view_name="vault")
    assert (storage.server, storage.internal_url, storage.view_name) == ("nginx", "/internal/", "vault")
    assert cls().server is None
    assert cls(server=dict).server is dict


def test_unknown_option_is_refused():
    with pytest.raises(ImproperlyConfigured, match="did you mean 'view_name'"):
        PrivateMemoryStorage(view_nam="x")


def test_storage_can_be_pickled(root):
    for storage in (PrivateFileSystemStorage(view_name="vault"), PrivateMemoryStorage(view_name="vault")):
        assert pickle.loads(pickle.dumps(storage)).url("a") == "/vault/a"


# Amazon S3, and what it is told


@pytest.fixture
def clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("AWS_", "MINIO_")):
            monkeypatch.delenv(name)


def s3(cls=PrivateS3Storage, options=None, **settings):
    """Return a storage made under ``settings``, beside those of a public one."""
    with override_settings(**PUBLIC, **settings):
        return cls(**(options or {}))


def test_old_names_are_the_same_classes():
    assert PrivateS3BotoStorage is PrivateS3Storage
    assert PrivateEncryptedS3BotoStorage is PrivateEncryptedS3Storage
    assert issubclass(PrivateS3Storage, S3Storage)


@pytest.mark.usefixtures("clean_environment")
def test_nothing_of_the_public_storage_is_read():
    storage = s3()
    assert (storage.bucket_name, storage.location, storage.default_acl) == (None, "", None)
    assert (storage.querystring_auth, storage.querystring_expire, storage.file_overwrite) == (True, 3600, False)
    assert (storage.custom_domain, storage.endpoint_url, storage.object_parameters) == (None, None, {})


VALUES = {bool: True, int: 8 * 1024**2, dict: {"CacheControl": "no-store"}, float: 9}


def twins():
    """Return every setting of the public storage with its private twin and a value for it."""
    for option, setting in S3Storage.declared_settings().items():
        for name in setting.names:
            if name.startswith("AWS_"):
                kinds = setting.type if isinstance(setting.type, tuple) else (setting.type,)
                value = next((VALUES[kind] for kind in kinds if kind in VALUES), None)
                value = setting.choices[0] if setting.choices else value or "text"
                yield name.replace("AWS_", "AWS_PRIVATE_", 1), option, value


PAIRS = {
    "access_key": "secret_key",
    "secret_key": "access_key",
    "security_token": "access_key",
    "cloudfront_key_id": "cloudfront_key",
    "cloudfront_key": "cloudfront_key_id",
}
NEEDS_MORE = {"access_key", "secret_key", "security_token", "cloudfront_key", "cloudfront_key_id", "transfer_config"}


@pytest.mark.usefixtures("clean_environment")
@pytest.mark.parametrize(("name", "option", "value"), [row for row in twins() if row[1] not in NEEDS_MORE])
def test_every_setting_has_a_private_twin(name, option, value):
    if option == "endpoint_url":
        value = "https://private.example.com"
    assert getattr(s3(**{name: value}), option) == value


@pytest.mark.usefixtures("clean_environment")
def test_keys_have_private_twins():
    for prefix in ("AWS_PRIVATE_S3_", "AWS_PRIVATE_"):
        keys = {f"{prefix}ACCESS_KEY_ID": "id", f"{prefix}SECRET_ACCESS_KEY": "secret"}
        storage = s3(**keys, AWS_PRIVATE_SESSION_TOKEN="token")
        assert (storage.access_key, storage.secret_key, storage.security_token) == ("id", "secret", "token")


@pytest.mark.usefixtures("clean_environment")
@pytest.mark.parametrize(
    ("others", "option", "value"),
    [
        ({"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}, "access_key", "id"),
        ({"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}, "secret_key", "secret"),
        ({"AWS_S3_URL_PROTOCOL": "http:"}, "url_protocol", "http:"),
        ({"AWS_S3_REGION_NAME": "eu-west-1"}, "region_name", "eu-west-1"),
        ({"AWS_IS_GZIPPED": True}, "gzip", True),
    ],
)
def test_five_settings_fall_back_to_the_public_ones(others, option, value):
    assert getattr(s3(**others), option) == value


def test_keys_come_from_the_environment_before_the_public_ones(monkeypatch):
    monkeypatch.setenv("AWS_PRIVATE_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_PRIVATE_S3_SECRET_ACCESS_KEY", "mine too")
    public = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "public"}
    storage = s3(**public)
    assert (storage.access_key, storage.secret_key, storage.security_token) == ("mine", "mine too", None)


@pytest.mark.usefixtures("clean_environment")
def test_private_key_never_goes_with_a_public_secret():
    with pytest.raises(ImproperlyConfigured, match="go together"):
        s3(AWS_PRIVATE_ACCESS_KEY_ID="mine", AWS_ACCESS_KEY_ID="id", AWS_SECRET_ACCESS_KEY="secret")


@pytest.mark.seed("C10")
def test_options_win_over_settings():
    storage = s3(options={"bucket_name": "b", "querystring_expire": 60}, AWS_PRIVATE_STORAGE_BUCKET_NAME="a")
    assert (storage.bucket_name, storage.querystring_expire) == ("b", 60)


def test_secure_urls_is_understood():
    with pytest.warns(DeprecationWarning, match="url_protocol"):
        assert s3(AWS_PRIVATE_S3_SECURE_URLS=False).url_protocol == "http:"


def test_migration_holds_no_secret():
    storage = s3(options={"bucket_name": "b", "access_key": "id", "secret_key": "hidden"})
    assert storage.deconstruct()[2] == {"bucket_name": "b"}
    assert "hidden" not in repr(storage)


# Amazon S3: URLs

KEYS = {"bucket_name": "bucket", "access_key": "id", "secret_key": "secret", "region_name": "eu-west-1"}


def test_url_is_signed_with_version_4():
    url = urlsplit(s3(options=KEYS).url("a b.txt"))
    query = parse_qs(url.query)
    assert url.hostname == "bucket.s3.eu-west-1.amazonaws.com"
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["3600"]


@pytest.mark.parametrize(
    ("options", "others"),
    [
        ({"querystring_auth": False}, {}),
        ({}, {"AWS_PRIVATE_QUERYSTRING_AUTH": False}),
        ({}, {"PRIVATE_STORAGE_S3_REVERSE_PROXY": True}),
        ({"custom_domain": "cdn.example.com"}, {}),  # which could not be signed
        ({"base_url": "/private-media/"}, {}),
    ],
)
def test_url_is_that_of_the_view_where_it_is_to_be(others, options):
    with override_settings(**others):
        storage = PrivateS3Storage(**KEYS, **options)
        assert storage.url("a b.txt") == "/private-media/a%20b.txt"


def test_delivery_gets_a_signed_url_whatever_the_url_is():
    storage = PrivateS3Storage(**KEYS, querystring_auth=False)
    signed = storage.signed_url("a.txt", parameters={"ResponseContentType": "text/plain"}, expire=60)
    query = parse_qs(urlsplit(signed).query)
    assert (query["X-Amz-Expires"], query["response-content-type"]) == (["60"], ["text/plain"])


# MinIO, and what it is told

MINIO = {
    "MINIO_STORAGE_ENDPOINT": "minio.example.com:9000",
    "MINIO_STORAGE_ACCESS_KEY": "id",
    "MINIO_STORAGE_SECRET_KEY": "secret",
    "MINIO_STORAGE_MEDIA_BUCKET_NAME": "public",
    "MINIO_PRIVATE_STORAGE_MEDIA_BUCKET_NAME": "private",
}


def test_minio_falls_back_but_not_for_the_bucket():
    storage = s3(PrivateMinioStorage, **MINIO)
    assert storage.endpoint_url == "https://minio.example.com:9000"
    assert (storage.access_key, storage.secret_key, storage.bucket_name) == ("id", "secret", "private")
    without = {name: value for name, value in MINIO.items() if name != "MINIO_PRIVATE_STORAGE_MEDIA_BUCKET_NAME"}
    assert s3(PrivateMinioStorage, **without).bucket_name is None


def test_minio_has_settings_of_its_own():
    storage = s3(
        PrivateMinioStorage,
        **MINIO,
        MINIO_PRIVATE_STORAGE_ENDPOINT="localhost:9000",
        MINIO_PRIVATE_STORAGE_USE_HTTPS=False,
        MINIO_PRIVATE_STORAGE_ACCESS_KEY="mine",
        MINIO_PRIVATE_STORAGE_SECRET_KEY="mine too",
        MINIO_PRIVATE_STORAGE_OBJECT_METADATA={"Cache-Control": "no-store", "Project": "x"},
    )
    assert storage.endpoint_url == "http://localhost:9000"
    assert (storage.access_key, storage.secret_key) == ("mine", "mine too")
    assert storage.object_parameters == {"CacheControl": "no-store", "Metadata": {"project": "x"}}


def test_minio_without_an_endpoint_is_an_error_and_not_amazon():
    with pytest.raises(ImproperlyConfigured, match="MINIO_PRIVATE_STORAGE_ENDPOINT"):
        s3(PrivateMinioStorage)


@pytest.mark.parametrize("spelling", ["PRIVATE_STORAGE_MINIO_REVERSE_PROXY", "PRIVATE_STORAGE_MINO_REVERSE_PROXY"])
def test_minio_signs_when_it_is_asked_to(spelling):
    presigned = {**MINIO, "MINIO_PRIVATE_STORAGE_MEDIA_USE_PRESIGNED": True}
    assert s3(PrivateMinioStorage, **MINIO).url("a") == "/private-media/a"
    assert s3(PrivateMinioStorage, **presigned).url("a").startswith("https://minio.example.com:9000/private/a?X-Amz-")
    with override_settings(**presigned, **{spelling: True}):
        assert PrivateMinioStorage().url("a") == "/private-media/a"


# Other clouds


def test_other_clouds_have_a_namespace_of_their_own():
    settings = {
        "AZURE_CONTAINER": "public",
        "AZURE_PRIVATE_CONTAINER": "private",
        "GS_BUCKET_NAME": "public",
        "GS_PRIVATE_BUCKET_NAME": "private",
        "GS_DEFAULT_ACL": "publicRead",
    }
    with override_settings(**settings):
        azure, google = PrivateAzureStorage(account_name="a"), PrivateGoogleCloudStorage()
    assert (azure.azure_container, google.bucket_name, google.default_acl) == ("private", "private", None)
    assert azure.url("a") == google.url("a") == "/private-media/a"


# On a server


@pytest.fixture
def bucket(seaweedfs, wire):
    with WiredBucket(seaweedfs, wire) as bucket:
        yield bucket


@pytest.mark.seed("S7")
@pytest.mark.parametrize(
    ("cls", "options", "algorithm"),
    [
        (PrivateEncryptedS3Storage, {}, "AES256"),
        (PrivateEncryptedS3Storage, {"object_parameters": {"CacheControl": "no-store"}}, "AES256"),
        (PrivateS3Storage, {"encryption": True}, "AES256"),
        (PrivateS3Storage, {}, None),
    ],
)
def test_encryption_is_asked_for_in_every_write(bucket, cls, options, algorithm):
    storage = cls(**bucket.options(**options), part_size=5 * 1024**2)
    storage.save("small", ContentFile(b"x"))
    storage.save("long", ContentFile(pattern(6 * 1024**2)))
    with storage.open("written", "wb") as file:
        file.write(b"x")
    storage.copy("small", "copied")
    for key in ("small", "long", "written", "copied"):
        assert bucket.client.head_object(Bucket=bucket.name, Key=key).get("ServerSideEncryption") == algorithm, key
    with storage.open("long") as file:
        assert file.read() == pattern(6 * 1024**2)


def test_encryption_outlives_a_subclass_that_chooses_its_parameters(bucket):
    class Mine(PrivateEncryptedS3Storage):
        def get_object_parameters(self, name):
            return {"CacheControl": "no-store"}

    Mine(**bucket.options()).save("a", ContentFile(b"x"))
    head = bucket.client.head_object(Bucket=bucket.name, Key="a")
    assert (head["ServerSideEncryption"], head["CacheControl"]) == ("AES256", "no-store")


def test_encryption_that_is_enforced_is_not_switched_off():
    with pytest.raises(ImproperlyConfigured, match="always encrypts"):
        PrivateEncryptedS3Storage(encryption=False)
    assert s3(PrivateEncryptedS3Storage, AWS_PRIVATE_S3_ENCRYPTION=False).encryption is True


def test_minio_class_stores_on_a_server(bucket, settings):
    settings.MINIO_PRIVATE_STORAGE_ENDPOINT = urlsplit(bucket.wire.url).netloc
    settings.MINIO_PRIVATE_STORAGE_USE_HTTPS = False
    settings.MINIO_PRIVATE_STORAGE_ACCESS_KEY = bucket.server.access_key
    settings.MINIO_PRIVATE_STORAGE_SECRET_KEY = bucket.server.secret_key
    settings.MINIO_PRIVATE_STORAGE_MEDIA_BUCKET_NAME = bucket.name
    settings.PRIVATE_STORAGE_CLASS = "private_storage.storage.minio.PrivateMinioStorage"
    private_storage.save("a.txt", io.BytesIO(b"content"))
    assert bucket.get("a.txt") == b"content"
