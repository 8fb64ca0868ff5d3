"""The options of S3Storage: where they come from, what they do to the client, and what a subclass may override."""

from __future__ import annotations

import datetime
import json
import os
import pickle
import re
import sys
import textwrap
import threading
import time
import warnings
from urllib.parse import parse_qs, urlsplit

import botocore
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.test import override_settings

from storages.backends import s3, s3boto3, sigv4
from storages.backends.s3 import S3File, S3StaticStorage, S3Storage

MIB = 1024**2
KEYS = {"access_key": "AKIDOPTION", "secret_key": "SECRETOPTION"}
CLIENT = Config(region_name="eu-north-1")
TRANSFER = TransferConfig(max_concurrency=3)

# Every Django setting of the S3 backend, with a value that is not the default.
SETTINGS = [
    ("access_key", "AWS_S3_ACCESS_KEY_ID", "AKID"),
    ("access_key", "AWS_ACCESS_KEY_ID", "AKID"),
    ("secret_key", "AWS_S3_SECRET_ACCESS_KEY", "SECRET"),
    ("secret_key", "AWS_SECRET_ACCESS_KEY", "SECRET"),
    ("security_token", "AWS_SESSION_TOKEN", "TOKEN"),
    ("security_token", "AWS_SECURITY_TOKEN", "TOKEN"),
    ("session_profile", "AWS_S3_SESSION_PROFILE", "work"),
    ("bucket_name", "AWS_STORAGE_BUCKET_NAME", "media"),
    ("file_overwrite", "AWS_S3_FILE_OVERWRITE", False),
    ("create_only", "AWS_S3_CREATE_ONLY", True),
    ("post_uploads", "AWS_S3_POST_UPLOADS", False),
    ("unsigned_headers", "AWS_S3_UNSIGNED_HEADERS", "named"),
    ("object_parameters", "AWS_S3_OBJECT_PARAMETERS", {"CacheControl": "max-age=60"}),
    ("default_acl", "AWS_DEFAULT_ACL", "private"),
    ("querystring_auth", "AWS_QUERYSTRING_AUTH", False),
    ("querystring_expire", "AWS_QUERYSTRING_EXPIRE", 60),
    ("querystring_window", "AWS_QUERYSTRING_WINDOW", 600),
    ("signature_version", "AWS_S3_SIGNATURE_VERSION", "s3"),
    ("location", "AWS_LOCATION", "media"),
    ("custom_domain", "AWS_S3_CUSTOM_DOMAIN", "cdn.example.com"),
    ("url_protocol", "AWS_S3_URL_PROTOCOL", "http:"),
    ("cloudfront_policy", "AWS_CLOUDFRONT_POLICY", "https://cdn.example.com/*"),
    ("addressing_style", "AWS_S3_ADDRESSING_STYLE", "path"),
    ("file_name_charset", "AWS_S3_FILE_NAME_CHARSET", "UTF-8"),
    ("gzip", "AWS_IS_GZIPPED", True),
    ("gzip_content_types", "GZIP_CONTENT_TYPES", ("text/html",)),
    ("endpoint_url", "AWS_S3_ENDPOINT_URL", "http://127.0.0.1:1"),
    ("proxies", "AWS_S3_PROXIES", {"http": "http://127.0.0.1:1"}),
    ("region_name", "AWS_S3_REGION_NAME", "eu-west-1"),
    ("use_ssl", "AWS_S3_USE_SSL", False),
    ("verify", "AWS_S3_VERIFY", "/etc/ca.pem"),
    ("verify", "AWS_S3_VERIFY", False),
    ("checksums", "AWS_S3_CHECKSUMS", "when_required"),
    ("connect_timeout", "AWS_S3_CONNECT_TIMEOUT", 1.5),
    ("read_timeout", "AWS_S3_READ_TIMEOUT", 7),
    ("max_attempts", "AWS_S3_MAX_ATTEMPTS", 2),
    ("max_memory_size", "AWS_S3_MAX_MEMORY_SIZE", 1000),
    ("part_size", "AWS_S3_FILE_BUFFER_SIZE", 5 * MIB),
    ("transfer_config", "AWS_S3_TRANSFER_CONFIG", TRANSFER),
    ("client_config", "AWS_S3_CLIENT_CONFIG", CLIENT),
]
# What makes no sense alone, or warns, and has a test of its own.
TESTED_APART = {"AWS_CLOUDFRONT_KEY_ID", "AWS_CLOUDFRONT_KEY", "AWS_S3_USE_THREADS"}

# For each option of which a missing one would be an error, what goes with it.
COMPANIONS = {"access_key": {"secret_key": "SECRET"}, "secret_key": {"access_key": "AKID"}}


@pytest.fixture(autouse=True)
def _no_ambient(monkeypatch, tmp_path):
    """Hide this machine's own credentials; give the test clients of its own."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setattr("storages.process._shared", {})


def offline(cls=S3Storage, **options):
    """Return a storage that is never asked for anything that needs a server."""
    return cls(**{"bucket_name": "bucket", **KEYS, **options})


def query(url):
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


# Where a value comes from


@pytest.mark.parametrize(("option", "name", "value"), SETTINGS)
def test_django_setting_gives_the_option(option, name, value):
    with override_settings(**{name: value}):
        assert getattr(S3Storage(**COMPANIONS.get(option, {})), option) == value


def test_every_setting_is_in_the_table():
    declared = {name for setting in S3Storage.declared_settings().values() for name in setting.names}
    assert declared == {name for _, name, _ in SETTINGS} | TESTED_APART


@pytest.mark.parametrize(
    ("option", "first", "second"),
    [
        ("access_key", "AWS_S3_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"),
        ("secret_key", "AWS_S3_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"),
        ("security_token", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"),
    ],
)
def test_first_spelling_of_a_setting_wins(option, first, second):
    with override_settings(**{second: "second", first: "first"}):
        assert getattr(S3Storage(**COMPANIONS.get(option, {})), option) == "first"


@pytest.mark.parametrize(
    ("environment", "signed_by"),
    [
        ({"AWS_S3_ACCESS_KEY_ID": "S3", "AWS_S3_SECRET_ACCESS_KEY": "s"}, ("S3", None)),
        ({"AWS_ACCESS_KEY_ID": "ANY", "AWS_SECRET_ACCESS_KEY": "s"}, ("ANY", None)),
        ({"AWS_S3_ACCESS_KEY_ID": "S3", "AWS_SECRET_ACCESS_KEY": "s"}, ("S3", None)),
        ({"AWS_ACCESS_KEY_ID": "ANY", "AWS_S3_SECRET_ACCESS_KEY": "s"}, ("ANY", None)),
        ({"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "T"}, ("A", "T")),
        ({"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SECURITY_TOKEN": "T"}, ("A", "T")),
        ({"AWS_S3_ACCESS_KEY_ID": "S3", "AWS_S3_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "T"}, ("S3", "T")),
        # A token belongs to the key that stands beside it, not to another one.
        (
            {
                "AWS_S3_ACCESS_KEY_ID": "S3",
                "AWS_S3_SECRET_ACCESS_KEY": "s",
                "AWS_ACCESS_KEY_ID": "A",
                "AWS_SECRET_ACCESS_KEY": "t",
                "AWS_SESSION_TOKEN": "T",
            },
            ("S3", None),
        ),
    ],
)
def test_environment_gives_the_keys(monkeypatch, environment, signed_by):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    asked = query(S3Storage(bucket_name="bucket").url("a.txt"))
    assert (asked["X-Amz-Credential"].split("/")[0], asked.get("X-Amz-Security-Token")) == signed_by


def test_environment_completes_a_lone_token(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    asked = query(S3Storage(bucket_name="bucket", security_token="GIVEN").url("a.txt"))
    assert (asked["X-Amz-Credential"].split("/")[0], asked["X-Amz-Security-Token"]) == ("A", "GIVEN")


def test_environment_names_a_profile(monkeypatch):
    monkeypatch.setenv("AWS_S3_SESSION_PROFILE", "work")
    assert S3Storage().session_profile == "work"


def test_precedence_is_keyword_attribute_setting_environment_default(monkeypatch):
    class Subclass(S3Storage):
        session_profile = "attribute"

    assert S3Storage().session_profile is None
    monkeypatch.setenv("AWS_S3_SESSION_PROFILE", "environment")
    assert S3Storage().session_profile == "environment"
    with override_settings(AWS_S3_SESSION_PROFILE="setting"):
        assert S3Storage().session_profile == "setting"
        assert Subclass().session_profile == "attribute"
        assert Subclass(session_profile="keyword").session_profile == "keyword"


def test_settings_are_read_at_every_construction():
    with override_settings(AWS_STORAGE_BUCKET_NAME="one"):
        assert S3Storage().bucket_name == "one"
    with override_settings(AWS_STORAGE_BUCKET_NAME="two"):
        assert S3Storage().bucket_name == "two"


def test_empty_protocol_is_the_default():
    with override_settings(AWS_S3_URL_PROTOCOL=""):
        storage = offline(custom_domain="cdn.example.com", querystring_auth=False)
    assert storage.url("a.txt") == "https://cdn.example.com/a.txt"


@pytest.mark.parametrize("option", ["endpoint_url", "region_name", "custom_domain", "addressing_style", "default_acl"])
def test_empty_text_counts_as_not_set(option):
    """As os.environ.get(..., "") gives it."""
    assert offline(**{option: ""}).url("a.txt").startswith("https://bucket.s3.amazonaws.com/a.txt?")


# Subclasses


def test_subclasses_are_buckets():
    class Public(S3Storage):
        bucket_name = "public-files"
        location = "site"
        default_acl = "public-read"
        querystring_auth = False

    class Private(S3Storage):
        bucket_name = "private-files"
        file_overwrite = False
        querystring_expire = 60
        custom_domain = False  # how many projects switch off AWS_S3_CUSTOM_DOMAIN

    with override_settings(AWS_STORAGE_BUCKET_NAME="other", AWS_S3_CUSTOM_DOMAIN="cdn.example.com", AWS_LOCATION="x"):
        assert Public(**KEYS).url("a.txt") == "https://cdn.example.com/site/a.txt"
        url = Private(**KEYS).url("a.txt")
    assert urlsplit(url).netloc == "private-files.s3.amazonaws.com"
    assert query(url)["X-Amz-Expires"] == "60"


@pytest.mark.parametrize(
    ("attribute", "start"),
    [
        ("location", "https://bucket.s3.amazonaws.com/{}/a.txt?"),
        ("bucket_name", "https://{}.s3.amazonaws.com/a.txt?"),
    ],
)
def test_property_of_a_subclass_is_read_at_use(attribute, start):
    """As sites with tenants have it."""
    tenant = "first"
    cls = type("Tenants", (S3Storage,), {attribute: property(lambda self: tenant)})
    storage = cls(**({} if attribute == "bucket_name" else {"bucket_name": "bucket"}), **KEYS)
    assert storage.url("a.txt").startswith(start.format("first"))
    tenant = "second"
    assert storage.url("a.txt").startswith(start.format("second"))


@pytest.mark.parametrize("querystring_auth", [True, False])
def test_bucket_property_is_read_by_both_kinds_of_url(querystring_auth):
    tenant = "first"
    cls = type("Tenants", (S3Storage,), {"bucket_name": property(lambda self: tenant)})
    storage = cls(**KEYS, querystring_auth=querystring_auth)
    assert "first" in storage.url("a.txt")
    tenant = "second"
    assert "first" not in storage.url("a.txt")


@pytest.mark.parametrize(
    ("attribute", "value", "start"),
    [
        ("bucket_name", "other", "https://other.s3.amazonaws.com/a.txt?"),
        ("location", "below", "https://bucket.s3.amazonaws.com/below/a.txt?"),
        ("custom_domain", "cdn.example.com", "https://cdn.example.com/a.txt"),
        ("querystring_auth", False, "https://bucket.s3.amazonaws.com/a.txt"),
        ("endpoint_url", "http://127.0.0.1:9000", "http://127.0.0.1:9000/bucket/a.txt?"),
        ("region_name", "cn-north-1", "https://bucket.s3.cn-north-1.amazonaws.com.cn/a.txt?"),
    ],
)
def test_assigned_attribute_is_read_at_use(attribute, value, start):
    storage = offline()
    before = storage.url("a.txt")
    setattr(storage, attribute, value)
    assert storage.url("a.txt").startswith(start)
    assert storage.url("a.txt") != before


def test_get_default_settings_may_add_an_option_and_change_a_default():
    class Subclass(S3Storage):
        def get_default_settings(self):
            settings = super().get_default_settings()
            settings.update({"bucket_name": "changed", "colour": "red"})
            return settings

    storage = Subclass()
    assert (storage.bucket_name, storage.colour) == ("changed", "red")
    assert Subclass(colour="blue", bucket_name="given").colour == "blue"


def test_subclass_may_name_its_own_key_settings(monkeypatch):
    class Subclass(S3Storage):
        access_key_names = ["MY_KEY_ID"]
        secret_key_names = ["MY_SECRET"]
        security_token_names = ["MY_TOKEN"]

    monkeypatch.setenv("MY_SECRET", "from the environment")
    with override_settings(MY_KEY_ID="mine", MY_TOKEN="token", AWS_ACCESS_KEY_ID="not mine"):
        storage = Subclass(bucket_name="bucket")
    assert (storage.access_key, storage.secret_key, storage.security_token) == ("mine", "from the environment", "token")


def test_alias_module_names_the_same_classes():
    assert s3boto3.S3Boto3Storage is s3.S3Storage
    assert s3boto3.S3Boto3StorageFile is s3.S3File
    assert s3boto3.S3StaticStorage is s3.S3StaticStorage
    assert s3boto3.S3ManifestStaticStorage is s3.S3ManifestStaticStorage


def test_static_storage_of_a_class_attribute_does_not_sign():
    assert offline(S3StaticStorage).url("a.css") == "https://bucket.s3.amazonaws.com/a.css"
    assert "X-Amz-Signature" in offline(S3StaticStorage, querystring_auth=True).url("a.css")


# Bad input

CLOUDFRONT_PAIR = "'cloudfront_key_id' (Django setting AWS_CLOUDFRONT_KEY_ID)"
BAD_OPTIONS = [
    ({"bucket": "media"}, "use 'bucket_name' (AWS_STORAGE_BUCKET_NAME)"),
    ({"acl": "private"}, "use 'default_acl' (AWS_DEFAULT_ACL)"),
    ({"auto_create_bucket": True}, "create the bucket once"),
    ({"bucket_acl": "private"}, "on the bucket itself"),
    ({"reduced_redundancy": True}, "'StorageClass': 'REDUCED_REDUNDANCY'"),
    ({"encryption": True}, "'ServerSideEncryption': 'AES256'"),
    ({"preload_metadata": True}, "leave it out"),
    ({"bucketname": "media"}, "did you mean 'bucket_name'?"),
    ({"querystring_expires": 60}, "did you mean 'querystring_expire'?"),
    ({"querystring_expire": "1h"}, "AWS_QUERYSTRING_EXPIRE"),
    ({"querystring_auth": "False"}, "AWS_QUERYSTRING_AUTH"),
    ({"file_overwrite": "no"}, "AWS_S3_FILE_OVERWRITE"),
    ({"object_parameters": "CacheControl=60"}, "AWS_S3_OBJECT_PARAMETERS"),
    ({"proxies": "http://127.0.0.1:1"}, "AWS_S3_PROXIES"),
    ({"addressing_style": "subdomain"}, "must be one of 'auto', 'virtual', 'path'"),
    ({"checksums": "never"}, "must be one of 'when_supported', 'when_required'"),
    ({"access_key": "AKID"}, "AWS_S3_SECRET_ACCESS_KEY"),
    ({"secret_key": "SECRETALONE"}, "AWS_S3_ACCESS_KEY_ID"),
    ({"session_profile": "work", **KEYS}, "AWS_S3_SESSION_PROFILE"),
    ({"cloudfront_key_id": "K1"}, CLOUDFRONT_PAIR),
    ({"cloudfront_key": "SECRETPEM"}, CLOUDFRONT_PAIR),
    ({"location": "/media"}, "write 'media'"),
    ({"location": "../media"}, "AWS_LOCATION"),
    ({"part_size": 1 * MIB}, "AWS_S3_FILE_BUFFER_SIZE"),
    ({"querystring_window": -1, "bucket_name": "bucket", **KEYS}, "AWS_QUERYSTRING_WINDOW"),
    ({"endpoint_url": "localhost:9000", "bucket_name": "bucket", **KEYS}, "AWS_S3_ENDPOINT_URL"),
]


@pytest.mark.parametrize(
    ("options", "advice"), BAD_OPTIONS, ids=lambda value: "" if isinstance(value, str) else str(value)
)
def test_bad_option_is_refused_with_advice(options, advice):
    with pytest.raises(ImproperlyConfigured) as caught:
        S3Storage(**options).url("a.txt")
    assert advice in str(caught.value)
    assert not re.search("SECRET(OPTION|ALONE|PEM)", str(caught.value))


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (KEYS, "AWS_STORAGE_BUCKET_NAME"),
        ({"bucket_name": "bucket"}, "AWS_S3_ACCESS_KEY_ID"),
        ({"bucket_name": "bucket", "session_profile": "absent"}, "absent"),
        ({"bucket_name": "bucket", "region_name": "EU (Ireland)", **KEYS}, "EU (Ireland)"),
    ],
    ids=["bucket", "keys", "profile", "region"],
)
@pytest.mark.parametrize(
    "use",
    [
        lambda storage: storage.url("a.txt"),
        lambda storage: storage.exists("a.txt"),
        lambda storage: storage.save("a.txt", ContentFile(b"x")),
    ],
    ids=["url", "exists", "save"],
)
def test_what_only_shows_at_use_is_refused_there(options, advice, use):
    storage = S3Storage(**options)
    with pytest.raises(ImproperlyConfigured) as caught:
        use(storage)
    assert advice in str(caught.value)


def test_unknown_object_parameter_is_refused_with_the_nearest():
    storage = offline(object_parameters={"CacheControle": "max-age=60"})
    with pytest.raises(ImproperlyConfigured, match="did you mean 'CacheControl'"):
        storage.save("a.txt", ContentFile(b"x"))


def test_missing_sdk_is_told_at_construction(monkeypatch):
    monkeypatch.setattr(S3Storage, "sdk", s3.OptionalModule("no_such_boto3", "s3"))
    with pytest.raises(ImproperlyConfigured, match=re.escape("pip install 'django-storages-ng[s3]'")):
        S3Storage()


def test_key_of_1025_bytes_is_refused_before_any_request():
    storage = offline(location="media", endpoint_url="http://127.0.0.1:1")
    with pytest.raises(SuspiciousFileOperation, match="1025 bytes"):
        storage.open("ü" * 509 + "x")


# Deprecated, and still at work


def test_config_attribute_is_taken_with_a_warning():
    class Subclass(S3Storage):
        config = CLIENT

    with pytest.warns(DeprecationWarning, match="client_config"):
        assert Subclass().client_config is CLIENT


@pytest.mark.parametrize(("secure", "protocol"), [(False, "http:"), (True, "https:")])
def test_secure_urls_is_taken_with_a_warning(secure, protocol):
    with pytest.warns(DeprecationWarning, match="url_protocol"):
        assert S3Storage(secure_urls=secure).url_protocol == protocol
    with override_settings(AWS_S3_SECURE_URLS=secure), pytest.warns(DeprecationWarning, match="AWS_S3_SECURE_URLS"):
        assert S3Storage().url_protocol == protocol


def test_use_threads_is_taken_with_a_warning():
    with override_settings(AWS_S3_USE_THREADS=False), pytest.warns(DeprecationWarning, match="AWS_S3_USE_THREADS"):
        storage = S3Storage()
    assert (storage.parts_at_once, storage.ranges_at_once) == (0, 0)


def test_no_other_option_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        offline(transfer_config=TRANSFER, client_config=CLIENT, url_protocol="http:")


# Clients


def test_timeouts_and_retries_are_explicit_by_default():
    config = offline().client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (5, 30)
    assert (config.retries["mode"], config.retries["total_max_attempts"]) == ("standard", 8)


@pytest.mark.parametrize(
    ("options", "attribute", "value"),
    [
        ({"connect_timeout": 1}, "connect_timeout", 1),
        ({"read_timeout": 2}, "read_timeout", 2),
        ({"signature_version": "s3"}, "signature_version", "s3"),
        ({}, "signature_version", "s3v4"),
        ({"region_name": "eu-west-1"}, "region_name", "eu-west-1"),
        ({"proxies": {"http": "http://127.0.0.1:1"}}, "proxies", {"http": "http://127.0.0.1:1"}),
        ({"client_config": Config(connect_timeout=9)}, "connect_timeout", 9),
        ({"client_config": Config(signature_version="s3"), "signature_version": "s3v4"}, "signature_version", "s3"),
        ({"client_config": Config(max_pool_connections=7)}, "read_timeout", 30),  # what it leaves open is ours
        ({"checksums": "when_required"}, "request_checksum_calculation", "when_required"),
        ({}, "request_checksum_calculation", "when_supported"),
        ({"endpoint_url": "http://127.0.0.1:1"}, "request_checksum_calculation", "when_required"),
        ({"endpoint_url": "http://127.0.0.1:1"}, "response_checksum_validation", "when_required"),
        (
            {"endpoint_url": "http://127.0.0.1:1", "checksums": "when_supported"},
            "response_checksum_validation",
            "when_supported",
        ),
    ],
)
def test_option_reaches_the_client(options, attribute, value):
    assert getattr(offline(**options).client.meta.config, attribute) == value


@pytest.mark.parametrize(
    ("options", "start"),
    [
        ({"use_ssl": False}, "http://"),
        ({}, "https://"),
        ({"endpoint_url": "http://127.0.0.1:1"}, "http://127.0.0.1:1"),
        ({"region_name": "eu-west-1"}, "https://s3.eu-west-1.amazonaws.com"),
    ],
)
def test_option_leads_to_the_endpoint(options, start):
    assert offline(**options).client.meta.endpoint_url.startswith(start)


def test_client_is_one_per_configuration_not_per_instance_or_thread():
    found = []
    threads = [threading.Thread(target=lambda: found.append(offline().client)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {id(client) for client in found} == {id(offline(location="other", bucket_name="other").client)}


@pytest.mark.parametrize(
    "options",
    [
        {"region_name": "eu-west-1"},
        {"endpoint_url": "http://127.0.0.1:1"},
        {"access_key": "AKIDOTHER"},
        {"security_token": "other"},
        {"verify": False},
        {"read_timeout": 1},
        {"proxies": {"http": "http://127.0.0.1:1"}},
        {"client_config": Config(max_pool_connections=3)},
    ],
    ids=", ".join,
)
def test_other_configuration_has_another_client(options):
    assert offline(**options).client is not offline().client


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_forked_process_has_a_client_of_its_own():
    storage = offline()
    parents = storage.client
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forking with threads, which is the point
        child = os.fork()
    if not child:
        os._exit(storage.client is parents)
    assert os.waitpid(child, 0)[1] == 0
    assert storage.client is parents


def test_connection_is_of_one_thread_over_the_shared_client():
    storage, others = offline(), []
    thread = threading.Thread(target=lambda: others.append(storage.connection))
    thread.start()
    thread.join()
    assert storage.connection is storage.connection
    assert others[0] is not storage.connection
    assert others[0].meta.client is storage.connection.meta.client is storage.client


def test_unsigned_connection_signs_nothing():
    storage = offline()
    assert storage.unsigned_connection.meta.client.meta.config.signature_version is botocore.UNSIGNED
    assert storage.connection.meta.client.meta.config.signature_version == "s3v4"
    assert storage.unsigned_connection is not storage.connection


def test_bucket_is_boto3s():
    bucket = offline(bucket_name="media").bucket
    assert (bucket.name, bucket.Object("a.txt").key) == ("media", "a.txt")


def test_own_session_of_a_subclass_is_used_and_not_shared():
    class Subclass(S3Storage):
        sessions = 0

        def _create_session(self):
            type(self).sessions += 1
            session = super()._create_session()
            session.events.register("before-sign.s3", lambda **kwargs: None)
            return session

    first, second = offline(Subclass), offline(Subclass)
    assert first.client is first.client
    assert first.client is not second.client
    assert first.client is not offline().client
    assert Subclass.sessions == 2


# Keys that change


class Clock:
    """The time of the URL signer, which asks for the keys once a second."""

    strftime, gmtime = staticmethod(time.strftime), staticmethod(time.gmtime)

    def __init__(self):
        self.now = int(time.time()) // 7200 * 7200

    def time(self):
        return self.now

    def tick(self):
        self.now += 1


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(sigv4, "time", clock)
    return clock


def write_profile(tmp_path, name, **lines):
    (tmp_path / "config").write_text(
        f"[profile {name}]\n" + "".join(f"{option} = {value}\n" for option, value in lines.items())
    )


def signed_by(storage):
    return query(storage.url("a.txt"))["X-Amz-Credential"].split("/")[0]


def test_profile_gives_keys_and_region(tmp_path):
    write_profile(tmp_path, "work", aws_access_key_id="AKIDWORK", aws_secret_access_key="s", region="eu-west-3")
    storage = S3Storage(bucket_name="bucket", session_profile="work")
    assert query(storage.url("a.txt"))["X-Amz-Credential"].split("/")[:3:2] == ["AKIDWORK", "eu-west-3"]
    assert storage.access_key is None


def test_keys_of_a_process_are_refreshed(tmp_path, clock):
    """Each key lives a minute, and botocore renews what has less than ten left: every second asks for a new one."""
    program, count = tmp_path / "keys.py", tmp_path / "count"
    count.write_text("0")
    program.write_text(
        textwrap.dedent(f"""
        import datetime, json, pathlib
        count = pathlib.Path({str(count)!r})
        number = int(count.read_text()) + 1
        count.write_text(str(number))
        expires = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=1)
        print(json.dumps({{"Version": 1, "AccessKeyId": f"AKID{{number}}", "SecretAccessKey": "s",
                          "SessionToken": f"TOKEN{{number}}", "Expiration": expires.isoformat()}}))
        """)
    )
    write_profile(tmp_path, "rotating", credential_process=f"{sys.executable} {program}")
    storage = S3Storage(bucket_name="bucket", session_profile="rotating")
    first = query(storage.url("a.txt"))
    clock.tick()
    second = query(storage.url("a.txt"))
    assert first["X-Amz-Credential"] != second["X-Amz-Credential"]
    assert first["X-Amz-Credential"].split("/")[0] == first["X-Amz-Security-Token"].replace("TOKEN", "AKID")
    assert second["X-Amz-Credential"].split("/")[0] == second["X-Amz-Security-Token"].replace("TOKEN", "AKID")


@pytest.mark.parametrize("window", [0, 7200])
def test_keys_of_the_environment_are_refreshed(monkeypatch, clock, window):
    def renew(number):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"AKID{number}")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
        monkeypatch.setenv("AWS_SESSION_TOKEN", f"TOKEN{number}")
        monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", in_minutes(60 * number or 5))  # below ten they are renewed

    storage = S3Storage(bucket_name="bucket", querystring_window=window)
    renew(0)
    assert signed_by(storage) == "AKID0"
    renew(1)
    clock.tick()
    assert signed_by(storage) == "AKID1"


def in_minutes(minutes):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)).isoformat()


def test_ambient_keys_are_not_copied_into_the_storage(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDAMBIENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRETAMBIENT")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "TOKENAMBIENT")
    storage = S3Storage(bucket_name="bucket")
    assert signed_by(storage) == "AKIDAMBIENT"
    assert "AMBIENT" not in json.dumps([storage.access_key, storage.secret_key, storage.security_token])
    assert b"AMBIENT" not in pickle.dumps(storage)


# Transfers


@pytest.mark.parametrize(
    ("transfer", "parts_at_once", "part_size"),
    [
        (TransferConfig(max_concurrency=3), 3, 8 * MIB),
        (TransferConfig(use_threads=False), 0, 8 * MIB),
        (TransferConfig(multipart_chunksize=16 * MIB), 10, 16 * MIB),
        (TransferConfig(multipart_chunksize=1 * MIB), 10, 5 * MIB),  # S3 refuses smaller parts
    ],
)
def test_transfer_config_sets_parts_and_threads(transfer, parts_at_once, part_size):
    storage = offline(transfer_config=transfer)
    assert (storage.parts_at_once, storage.part_size) == (parts_at_once, part_size)


# Pickling


@pytest.mark.parametrize(
    "options",
    [{}, {"client_config": Config(region_name="eu-west-1")}, {"transfer_config": TRANSFER}, {"security_token": "T"}],
    ids=", ".join,
)
def test_used_storage_pickles_and_signs_again(options):
    storage = offline(**options)
    assert storage.bucket.name == storage.connection.Bucket("bucket").name
    restored = pickle.loads(pickle.dumps(storage))
    assert restored.url("a.txt").partition("X-Amz-Date")[0] == storage.url("a.txt").partition("X-Amz-Date")[0]
    assert restored.bucket.name == "bucket"


# The file


def test_file_of_the_class_knows_its_object(monkeypatch):
    storage = offline(location="media")
    monkeypatch.setattr(storage, "_put", lambda key, body, options: None)
    with S3File("a.txt", "wb", storage) as file:
        assert (file.obj.bucket_name, file.obj.key, file.name, file.mode) == ("bucket", "media/a.txt", "a.txt", "wb")
