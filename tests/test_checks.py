"""What manage.py check says of a project's storages."""

from __future__ import annotations

import importlib.metadata
import sys
from io import StringIO

import django
import pytest
from django.contrib.staticfiles.storage import ManifestFilesMixin
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import models
from django.test import override_settings
from django.test.utils import isolate_apps

from storages.backends.dropbox import DropboxStorage
from storages.backends.memory import MemoryStorage
from storages.backends.s3 import S3Storage
from storages.checks import CHECKS, LEGACY_SETTINGS
from storages.optional import OptionalModule

MEMORY = "storages.backends.memory.MemoryStorage"
S3 = "storages.backends.s3.S3Storage"
STATIC = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
DECIDED = {"file_overwrite": True}
SECRET = "s3kr1t-value"


class MediaStorage(S3Storage):
    file_overwrite = False


class ChattyStorage(S3Storage):
    """One whose class attributes hold what people write by mistake."""

    file_overwite = False
    acl = "public-read"
    secure_urls = False
    color = "blue"


class TenantStorage(S3Storage):
    """One that takes an option of its own at construction."""

    def __init__(self, **options):
        self.tenant = options.pop("tenant", None)
        super().__init__(**options)


class ManifestMediaStorage(ManifestFilesMixin, S3Storage):
    pass


class SdklessStorage(MemoryStorage):
    sdk = OptionalModule("no_such_sdk", "sdkless")


def found(backend=S3, options=DECIDED, alias="default", **settings):
    """Return the messages of the checks for one storage, as text by id."""
    storages = {"default": {"BACKEND": MEMORY}, "staticfiles": STATIC, alias: {"BACKEND": backend, "OPTIONS": options}}
    with override_settings(STORAGES=storages, **settings):
        messages = run_checks(tags=["storages"])
    return {message.id.removeprefix("storages."): f"{message}" for message in messages}


def test_app_registers_every_check():
    output = StringIO()
    with override_settings(STORAGES={"default": {"BACKEND": S3}, "staticfiles": STATIC}):
        call_command("check", tags=["storages"], stderr=output)
    assert "storages.W004" in output.getvalue()
    assert len(CHECKS) == 12


@pytest.mark.parametrize("backend", [S3, "storages.backends.s3boto3.S3Boto3Storage", MEMORY])
def test_good_configuration_has_nothing_to_report(backend):
    options = {} if backend == MEMORY else {"bucket_name": "b", **DECIDED}
    assert found(backend, options, AWS_S3_ACCESS_KEY_ID="id", AWS_S3_SECRET_ACCESS_KEY=SECRET) == {}


def test_storages_of_others_are_left_alone():
    backend = "django.core.files.storage.InMemoryStorage"
    assert found(backend, {"base_url": "/m/", "no_such": 1}) == {}


# Backends


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("storages.backends.s3boto.S3BotoStorage", "storages.backends.s3boto3.S3Boto3Storage"),
        ("storages.backends.s3.S3Storag", S3),
        ("storages.backends.memroy.MemoryStorage", MEMORY),
        ("storages.s3.S3Storage", S3),
    ],
)
def test_wrong_path_of_a_backend_is_named_with_the_nearest_one(path, nearest):
    message = found(path)["E001"]
    assert "STORAGES['default']" in message
    assert f"Did you mean {nearest!r}?" in message


def test_path_like_no_other_has_no_suggestion():
    message = found("nowhere.at.All")["E001"]
    assert "nowhere" in message
    assert "Did you mean" not in message


def test_absent_sdk_is_named_with_the_extra_to_install():
    message = found("tests.test_checks.SdklessStorage", {})["E002"]
    assert "SdklessStorage needs no_such_sdk: pip install 'django-storages-ng[sdkless]'" in message


# Options


@pytest.mark.parametrize(
    ("option", "advice"),
    [
        ("bucket_nam", "did you mean 'bucket_name'?"),
        ("bucket", "use 'bucket_name' (AWS_STORAGE_BUCKET_NAME)"),
        ("acl", "use 'default_acl' (AWS_DEFAULT_ACL)"),
        ("auto_create_bucket", "create the bucket once"),
    ],
)
def test_unknown_option_is_named_with_what_to_do(option, advice):
    message = found(options={option: SECRET, **DECIDED})["E003"]
    assert f"S3Storage has no option {option!r}; {advice}" in message
    assert SECRET not in message


def test_renamed_option_is_named_with_its_new_name():
    messages = found(options={"secure_urls": False, **DECIDED})
    assert "option 'secure_urls' is deprecated; use 'url_protocol'" in messages["W001"]
    assert set(messages) == {"W001"}


def test_option_that_a_projects_class_takes_is_known():
    assert "E003" not in found("tests.test_checks.TenantStorage", {"tenant": "t", **DECIDED})


def test_option_of_a_django_mixin_is_known():
    path = "storages.backends.s3.S3ManifestStaticStorage"
    assert "E003" not in found(path, {"manifest_storage": None}, alias="staticfiles")


@pytest.mark.parametrize(
    ("options", "settings", "text"),
    [
        (
            {"querystring_expire": "1h"},
            {},
            "option 'querystring_expire' (Django setting AWS_QUERYSTRING_EXPIRE) expects",
        ),
        ({}, {"AWS_S3_PROXIES": "http://proxy"}, "(Django setting AWS_S3_PROXIES) expects dict, not str"),
        ({"addressing_style": "vhost"}, {}, "must be one of 'auto', 'virtual', 'path': 'vhost'"),
    ],
)
def test_value_of_a_wrong_type_is_reported(options, settings, text):
    assert text in found(options={**DECIDED, **options}, **settings)["E004"]


@pytest.mark.parametrize(
    "option", ["access_key", "secret_key", "security_token", "cloudfront_key", "cloudfront_key_id"]
)
def test_message_about_a_bad_value_holds_no_secret(option):
    message = found(options={option: [SECRET], **DECIDED})["E004"]
    assert f"option {option!r}" in message
    assert SECRET not in message


# Class attributes


def test_class_attributes_that_nothing_reads_are_reported():
    with override_settings(STORAGES={"default": {"BACKEND": "tests.test_checks.ChattyStorage", "OPTIONS": DECIDED}}):
        messages = sorted(message.msg for message in run_checks(tags=["storages"]))
    assert messages == [
        "ChattyStorage.acl is not read; use 'default_acl' (AWS_DEFAULT_ACL)",
        "ChattyStorage.secure_urls is deprecated; use 'url_protocol'",
        "Nothing reads ChattyStorage.file_overwite; did you mean 'file_overwrite'?",
    ]


# Django settings of earlier releases


LEGACY = [
    # The setting, and the replacement that the message must hold.
    ("AWS_AUTO_CREATE_BUCKET", "make the bucket once"),
    ("AWS_BUCKET_ACL", "where it is created"),
    ("AWS_HEADERS", "AWS_S3_OBJECT_PARAMETERS"),
    ("AWS_ORIGIN", "AWS_S3_REGION_NAME"),
    ("AWS_PRELOAD_METADATA", "leave it out"),
    ("AWS_REDUCED_REDUNDANCY", "AWS_S3_OBJECT_PARAMETERS"),
    ("AWS_S3_CALLING_FORMAT", "AWS_S3_ADDRESSING_STYLE"),
    ("AWS_S3_ENCRYPTION", "AWS_S3_OBJECT_PARAMETERS"),
    ("AWS_S3_HOST", "AWS_S3_ENDPOINT_URL"),
    ("AWS_S3_PORT", "AWS_S3_ENDPOINT_URL"),
    ("AWS_S3_PROXY_HOST", "AWS_S3_PROXIES"),
    ("AWS_S3_PROXY_PORT", "AWS_S3_PROXIES"),
    ("AWS_S3_SECURE_URLS", "AWS_S3_URL_PROTOCOL"),
    ("AWS_S3_USE_THREADS", "AWS_S3_TRANSFER_CONFIG"),
    ("S3_USE_SIGV4", "AWS_S3_SIGNATURE_VERSION"),
    ("AZURE_CUSTOM_CONNECTION_STRING", "AZURE_CUSTOM_DOMAIN"),
    ("AZURE_EMULATED_MODE", "AZURE_CONNECTION_STRING"),
    ("GS_AUTO_CREATE_ACL", "GS_DEFAULT_ACL"),
    ("GS_AUTO_CREATE_BUCKET", "make the bucket once"),
    ("GS_CACHE_CONTROL", "GS_OBJECT_PARAMETERS"),
    ("GS_FILE_CHARSET", "leave it out"),
    ("ENCODING", "FTP_STORAGE_ENCODING"),
]


@pytest.fixture
def every_backend_in_use(monkeypatch):
    for module in LEGACY_SETTINGS:
        monkeypatch.setitem(sys.modules, module, sys.modules.get(module, sys))


def test_no_legacy_setting_is_left_out_of_the_tests():
    assert {name for name, _ in LEGACY} == {name for settings in LEGACY_SETTINGS.values() for name in settings}


@pytest.mark.usefixtures("every_backend_in_use")
@pytest.mark.parametrize(("name", "replacement"), LEGACY)
@pytest.mark.parametrize("value", [False, SECRET])
def test_legacy_setting_is_named_with_its_replacement(name, replacement, value):
    messages = found(**{name: value})
    assert messages["W001"].startswith(f"?: (storages.W001) {name} is a setting of an earlier release: it is ")
    assert replacement in messages["W001"]
    assert SECRET not in messages["W001"]
    assert "W002" not in messages


def test_legacy_setting_of_a_backend_that_is_not_in_use_is_left_alone(monkeypatch):
    monkeypatch.delitem(sys.modules, "storages.backends.ftp", raising=False)
    assert "W001" not in found(ENCODING="utf-8")


# Misspelt Django settings


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("AWS_BUCKET_NAME", "AWS_STORAGE_BUCKET_NAME"),  # as a page of django-storages has it
        ("AWS_STORAGE_BUCKET", "AWS_STORAGE_BUCKET_NAME"),
        ("AWS_S3_BUCKET_NAME", "AWS_STORAGE_BUCKET_NAME"),
        ("AWS_STORAGE_BUKET_NAME", "AWS_STORAGE_BUCKET_NAME"),
        ("AWS_S3_QUERYSTRING_AUTH", "AWS_QUERYSTRING_AUTH"),
        ("AWS_QUERYSTRING_EXPIRES", "AWS_QUERYSTRING_EXPIRE"),
        ("AWS_QUERYSTING_EXPIRE", "AWS_QUERYSTRING_EXPIRE"),
        ("AWS_S3_LOCATION", "AWS_LOCATION"),
        ("AWS_S3_DEFAULT_ACL", "AWS_DEFAULT_ACL"),
        ("AWS_REGION_NAME", "AWS_S3_REGION_NAME"),
        ("AWS_S3_REGION", "AWS_S3_REGION_NAME"),
        ("AWS_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"),
        ("AWS_S3_ACCESS_KEY", "AWS_S3_ACCESS_KEY_ID"),
        ("AWS_S3_DOMAIN_CUSTOM", "AWS_S3_CUSTOM_DOMAIN"),
        ("AWS_GZIP_CONTENT_TYPE", None),
        ("GZIP_CONTENT_TYPE", "GZIP_CONTENT_TYPES"),
    ],
)
def test_misspelt_setting_is_named_with_the_one_meant(name, meant):
    message = found(**{name: SECRET}).get("W002", "")
    assert (f"Nothing reads {name}; did you mean {meant}?" in message) is (meant is not None)
    assert SECRET not in message


@pytest.mark.parametrize(
    "name",
    [
        "AWS_SES_ACCESS_KEY_ID",
        "AWS_SES_SECRET_ACCESS_KEY",
        "AWS_SES_SESSION_TOKEN",
        "AWS_SES_REGION_NAME",
        "AWS_SES_REGION_ENDPOINT",
        "AWS_SNS_REGION_NAME",
        "AWS_SQS_ENDPOINT_URL",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ACCOUNT_ID",
        "AWS_MEDIA_LOCATION",
        "AWS_STATIC_LOCATION",
        "AWS_MEDIA_BUCKET_NAME",
        "AWS_PRIVATE_STORAGE_BUCKET_NAME",
        "AWS_CLOUDFRONT_DISTRIBUTION_ID",
        "AWS_CLOUDFRONT_DOMAIN",
        "AZURE_STORAGE_CONNECTION_STRING",  # no backend of Azure's is in use
        "LOCATION",
        "STORAGE_BUCKET_NAME",
        "CUSTOM_DOMAIN",
        "SECRET_ACCESS_KEY",
    ],
)
def test_settings_of_other_packages_are_left_alone(name):
    assert "W002" not in found(**{name: "x"})


@pytest.mark.parametrize(
    ("backend", "options", "settings"),
    [
        (S3, {"bucket_name": "b"}, {}),
        (S3, {}, {"AWS_STORAGE_BUCKET_NAME": "b"}),
        ("tests.test_checks.TenantStorage", {}, {}),
    ],
)
def test_setting_like_one_that_is_not_wanted_is_left_alone(backend, options, settings):
    assert "W002" not in found(backend, {**DECIDED, **options}, **settings, AWS_BUCKET_NAME="mine")


# Settings that Django removed


@pytest.mark.skipif(django.VERSION < (5, 1), reason="Django before 5.1 reads them")
def test_settings_that_django_removed_are_answered_with_the_block_to_paste():
    message = found(
        options={"secret_key": SECRET, **DECIDED},
        DEFAULT_FILE_STORAGE="storages.backends.memory.MemoryStorage",
        STATICFILES_STORAGE="storages.backends.s3boto3.S3StaticStorage",
    )["W003"]
    assert "does not read DEFAULT_FILE_STORAGE and STATICFILES_STORAGE" in message
    block = """
STORAGES = {
    "default": {"BACKEND": "storages.backends.memory.MemoryStorage", "OPTIONS": {...}},
    "staticfiles": {"BACKEND": "storages.backends.s3boto3.S3StaticStorage"},
}
"""
    assert block in message
    assert SECRET not in message


@pytest.mark.skipif(django.VERSION < (5, 1), reason="Django before 5.1 reads them")
def test_block_to_paste_is_complete_where_only_one_setting_is_left():
    message = found(MEMORY, {}, STATICFILES_STORAGE="storages.backends.s3.S3StaticStorage")["W003"]
    assert f'"default": {{"BACKEND": "{MEMORY}"}}' in message
    assert '"staticfiles": {"BACKEND": "storages.backends.s3.S3StaticStorage"}' in message
    assert "DEFAULT_FILE_STORAGE" not in message


@pytest.mark.skipif(django.VERSION < (5, 1), reason="Django before 5.1 reads them")
def test_removed_setting_that_agrees_with_storages_is_left_alone():
    assert found(S3, DEFAULT_FILE_STORAGE="storages.backends.s3boto3.S3Boto3Storage") == {}


# Overwriting


def test_overwriting_that_nobody_chose_is_reported():
    message = found(options={})["W004"]
    assert message.startswith("STORAGES['default']: (storages.W004) S3Storage: a saved file replaces another one")
    assert "option 'file_overwrite' (Django setting AWS_S3_FILE_OVERWRITE)" in message


@pytest.mark.parametrize(
    ("backend", "options", "alias", "settings"),
    [
        (S3, {"file_overwrite": True}, "default", {}),
        (S3, {"file_overwrite": False}, "default", {}),
        (S3, {}, "default", {"AWS_S3_FILE_OVERWRITE": True}),
        (S3, {}, "staticfiles", {}),
        ("tests.test_checks.MediaStorage", {}, "default", {}),
        ("tests.test_checks.ManifestMediaStorage", {}, "default", {}),
        ("storages.backends.s3.S3StaticStorage", {}, "assets", {}),
        (MEMORY, {}, "default", {}),
    ],
)
def test_overwriting_that_is_chosen_or_must_be_is_left_alone(backend, options, alias, settings):
    assert "W004" not in found(backend, options, alias, **settings)


# Public access


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ({"default_acl": "public-read"}, {}),
        ({"object_parameters": {"ACL": "public-read-write"}}, {}),
        ({}, {"AWS_DEFAULT_ACL": "public-read"}),
        ({}, {"AWS_S3_OBJECT_PARAMETERS": {"ACL": "authenticated-read"}}),
    ],
)
def test_uploads_open_to_strangers_are_reported(options, settings):
    assert "opens every uploaded file to strangers" in found(options={**DECIDED, **options}, **settings)["W007"]


@pytest.mark.parametrize(
    ("options", "alias"),
    [({"default_acl": "private"}, "default"), ({"default_acl": "public-read"}, "staticfiles"), ({}, "default")],
)
def test_private_uploads_and_public_static_files_are_left_alone(options, alias):
    assert "W007" not in found(options={**DECIDED, **options}, alias=alias)


# Settings that contradict each other

IPFS = "storages.backends.ipfs.IPFSStorage"
GATEWAYS = {"IPFS_STORAGE_GATEWAY_URL": "https://one.example.com/", "IPFS_GATEWAY_API_URL": "https://two.example.com/"}


def test_gateways_that_differ_are_reported():
    message = found(IPFS, {}, **GATEWAYS)["W008"]
    assert "IPFS_STORAGE_GATEWAY_URL and IPFS_GATEWAY_API_URL say different things" in message
    assert "Keep IPFS_STORAGE_GATEWAY_URL alone" in message


@pytest.mark.parametrize(
    ("backend", "settings"),
    [
        (IPFS, {**GATEWAYS, "IPFS_GATEWAY_API_URL": "https://one.example.com"}),
        (IPFS, {"IPFS_GATEWAY_API_URL": "https://two.example.com"}),
        (MEMORY, GATEWAYS),
    ],
)
def test_gateways_that_agree_or_are_not_read_are_left_alone(backend, settings):
    assert "W008" not in found(backend, {}, **settings)


def reported_buckets(config, *kinds, **options):
    storages = {kind: {"BACKEND": f"storages.backends.b2.{kind}", "OPTIONS": options.get(kind, {})} for kind in kinds}
    with override_settings(STORAGES={"staticfiles": STATIC, **storages}, BACKBLAZE_CONFIG=config):
        return [f"{message}" for message in run_checks(tags=["storages"]) if message.id == "storages.W009"]


KEY = {"application_key_id": "id", "application_key": SECRET}
SHARED = [
    (KEY, {}, "django"),
    ({**KEY, "bucket": "mine"}, {}, "mine"),
    ({**KEY, "specificBucketNames": {"public": "open", "staff": "open"}}, {}, "open"),
    ({**KEY, "bucket": "x"}, {"PublicStorage": {"specific_bucket_names": {"public": None}}}, "x"),
    ({**KEY, "bucket": "x"}, {"PublicStorage": {"opts": {"specificBucketNames": {"staff": "y"}}}}, "x"),
]


@pytest.mark.parametrize(("config", "options", "bucket"), SHARED)
def test_audiences_that_share_a_bucket_are_reported(config, options, bucket):
    (message,) = reported_buckets(config, "PublicStorage", "StaffStorage", **options)
    assert f"STORAGES['PublicStorage'] and STORAGES['StaffStorage'] share the bucket {bucket!r}" in message
    assert SECRET not in message


@pytest.mark.parametrize(
    ("config", "options"),
    [
        ({**KEY, "specific_bucket_names": {"staff": "theirs"}}, {}),
        ({**KEY, "specificBucketNames": {"public": "open", "loggedIn": "open"}}, {}),
        (KEY, {"StaffStorage": {"specificBucketNames": {"staff": "theirs"}}}),
        (KEY, {"StaffStorage": {"opts": {"specific_bucket_names": {"staff": "theirs"}}}}),
    ],
)
def test_audiences_with_buckets_of_their_own_are_left_alone(config, options):
    assert reported_buckets(config, "PublicStorage", "StaffStorage", **options) == []


def test_one_kind_may_be_there_twice():
    assert reported_buckets(KEY, "StaffStorage", "B2StaffStorage", "B2Storage") == []


def test_bucket_for_users_is_known_in_both_spellings():
    shared = {**KEY, "specificBucketNames": {"loggedIn": "one", "staff": "one"}}
    assert len(reported_buckets(shared, "LoggedInStorage", "StaffStorage")) == 1
    apart = {**KEY, "specificBucketNames": {"loggedIn": "one"}}
    assert reported_buckets(apart, "LoggedInStorage", "StaffStorage") == []


# The installation


def test_django_storages_beside_this_package_is_reported(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", {"django-storages": "1.14.6"}.__getitem__)
    message = found()["W005"]
    assert "django-storages 1.14.6 is installed too" in message
    assert "pip uninstall -y django-storages django-storages-ng" in message


# Secrets in model fields


def reported_fields(storage):
    class Photo(models.Model):
        image = models.FileField(storage=storage)

        class Meta:
            app_label = "storages"

    config = Photo._meta.apps.get_app_configs()
    messages = run_checks(app_configs=list(config), tags=["storages"])
    return [str(message) for message in messages if message.id == "storages.W006"]


@isolate_apps("storages")
def test_secret_without_its_name_is_reported_too():
    (message,) = reported_fields(DropboxStorage(SECRET, "/folder"))
    assert "'oauth2_access_token' in code" in message
    assert SECRET not in message


@isolate_apps("storages")
@pytest.mark.parametrize("option", ["secret_key", "security_token"])
def test_secret_in_a_fields_storage_is_reported(option):
    (message,) = reported_fields(S3Storage(**{"access_key": SECRET, "secret_key": SECRET, option: SECRET}))
    assert message.startswith("storages.Photo.image: (storages.W006)")
    assert repr(option) in message
    assert SECRET not in message


@isolate_apps("storages")
@pytest.mark.parametrize(
    "storage",
    [None, S3Storage(bucket_name="b"), lambda: S3Storage(access_key="id", secret_key=SECRET), MemoryStorage()],
)
def test_field_without_a_secret_in_code_is_left_alone(storage):
    assert reported_fields(storage) == []
