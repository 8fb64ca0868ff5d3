"""S3DirectStorage on a real server: the dict AWS, the signed form, and what the server refuses."""

from __future__ import annotations

import base64
import json
import re
import urllib.error
import urllib.request
import uuid

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from storages.testing.harness import content_of
from storages.uploads import addresses
from storages.uploads.models import State, Upload
from storages.uploads.storage import S3DirectStorage
from tests.buckets import WiredBucket
from tests.uploads.seed_fixtures import *  # noqa: F403
from tests.uploads.seed_fixtures import STATIC
from tests.uploads.seed_site.models import Report

AWS = {"BUCKET": "a-bucket", "ACCESS_KEY": "access", "SECRET_KEY": "secret", "REGION": "eu-west-2"}


@pytest.fixture
def bucket(seaweedfs):
    with WiredBucket(seaweedfs) as bucket:
        yield bucket
        bucket.empty()


@pytest.fixture
def project(bucket, settings, db):
    """The settings of a project of django-buckets, but for where the service is."""
    settings.AWS = {
        "BUCKET": bucket.name,
        "ACCESS_KEY": bucket.server.access_key,
        "SECRET_KEY": bucket.server.secret_key,
        "REGION": bucket.server.region,
        "MAX_FILE_SIZE": 100,
    }
    settings.AWS_S3_ENDPOINT_URL, settings.AWS_S3_ADDRESSING_STYLE = bucket.server.endpoint_url, "path"
    backend = "storages.uploads.storage.S3DirectStorage"
    settings.STORAGES = {"default": {"BACKEND": backend}, "staticfiles": STATIC}


def send(form, content, name="x.txt", **changes):
    """Post a form as a browser does: all fields, the file last. Return status and body."""
    boundary = uuid.uuid4().hex
    fields = {**form["fields"], **changes}
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields.items()]
    file = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    body = "".join([*parts, file]).encode() + content + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    request = urllib.request.Request(form["url"], body, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


class TestS3DirectStorage:
    backend, server = "S3 (forms)", "SeaweedFS"

    def test_file_is_stored(self, project, bucket):
        name = default_storage.save("a.txt", ContentFile(b"content"))
        assert bucket.get(name) == content_of(default_storage, name) == b"content"
        assert default_storage.exists(name)
        default_storage.delete(name)
        assert not default_storage.exists(name)

    def test_signed_form_is_taken(self, project, bucket):
        form = default_storage.get_signed_url("dir/a.txt")
        assert send(form, b"content")[0] == 204
        assert bucket.get("dir/a.txt") == b"content"
        assert default_storage.stat("dir/a.txt").content_type == "text/plain"

    @pytest.mark.parametrize(("size", "status"), [(100, 204), (101, 400), (0, 400)])
    def test_length_is_kept_by_the_service(self, project, bucket, size, status):
        found, _ = send(default_storage.get_signed_url("a.txt"), b"x" * size)
        assert found == status
        assert bool(bucket.objects()) is (status == 204)

    @pytest.mark.parametrize(
        "changes",
        [
            {"key": "b.txt"},
            {"Content-Type": "text/html"},
            {"x-amz-signature": "0" * 64},
            {"policy": base64.b64encode(b'{"expiration": "2999-01-01T00:00:00Z", "conditions": []}').decode()},
            {"x-amz-credential": "nobody/20200101/us-east-1/s3/aws4_request"},
        ],
        ids=str,
    )
    @pytest.mark.seed("S3")
    def test_tampered_form_is_refused_by_the_service(self, project, bucket, changes):
        status, _ = send(default_storage.get_signed_url("a.txt"), b"content", **changes)
        assert status in (400, 403)
        assert bucket.objects() == {}

    def test_form_of_the_view_ends_in_a_model(self, project, bucket, seed_browser):
        form = seed_browser.sign("reports/a.txt").json()
        assert send(form, b"some text")[0] == 204
        url = addresses.join(form["url"], form["fields"]["key"])
        answer = seed_browser.post("/reports/", {"name": "x", "file": url})
        assert answer.status_code == 200, answer.content
        saved = Report.objects.get().file
        with saved.open() as file:
            assert file.read() == b"some text"
        assert Upload.objects.get().state == State.CLAIMED
        assert saved.url == answer.json()["url"] == addresses.address_of(default_storage, saved.name)
        assert list(bucket.objects()) == [saved.name]

    def test_wrong_content_is_refused_and_deleted(self, project, bucket, seed_browser):
        form = seed_browser.sign("reports/a.txt").json()
        send(form, b"<html><script>")
        url = addresses.join(form["url"], form["fields"]["key"])
        assert seed_browser.post("/reports/", {"name": "x", "file": url}).status_code == 400
        assert bucket.objects() == {}

    def test_file_that_is_assigned_is_stored_and_replaced(self, project, bucket):
        report = Report.objects.create(file=ContentFile(b"first", "a.txt"))
        assert bucket.get("reports/a.txt") == b"first"
        assert report.file.url == f"{bucket.server.endpoint_url}/{bucket.name}/reports/a.txt"

    def test_location_is_part_of_the_key(self, project, bucket):
        storage = S3DirectStorage(location="media")
        form = storage.get_signed_url("a.txt")
        assert form["fields"]["key"] == "media/a.txt"
        assert addresses.name_in(storage, addresses.join(form["url"], "media/a.txt")) == "a.txt"
        assert addresses.name_in(storage, addresses.join(form["url"], "a.txt")) is None


@pytest.fixture
def seed_browser(project, settings):
    from django.contrib.auth.models import User

    from tests.uploads.seed_fixtures import Browser

    settings.ROOT_URLCONF = "tests.uploads.seed_site.urls"
    browser = Browser()
    browser.force_login(User.objects.create_user("somebody"))
    return browser


# Without a server


@pytest.mark.parametrize("key", ["BUCKET", "ACCESS_KEY", "SECRET_KEY"])
def test_missing_key_is_named(settings, key):
    settings.AWS = {name: value for name, value in AWS.items() if name != key}
    with pytest.raises(ImproperlyConfigured, match=f"AWS\\['{key}'\\]"):
        S3DirectStorage()


def test_bucket_is_named_without_any_settings(settings):
    with pytest.raises(ImproperlyConfigured, match=r"AWS\['BUCKET'\]"):
        S3DirectStorage()


@pytest.mark.parametrize("optional", ["REGION", "MAX_FILE_SIZE"])
def test_three_keys_are_enough(settings, optional):
    settings.AWS = {name: value for name, value in AWS.items() if name != optional}
    storage = S3DirectStorage()
    assert (storage.bucket_name, storage.access_key, storage.secret_key) == ("a-bucket", "access", "secret")
    assert storage.max_file_size is None


def test_region_is_where_the_form_goes(settings):
    settings.AWS = AWS
    form = S3DirectStorage().get_signed_url("a.txt")
    assert "eu-west-2" in form["fields"]["x-amz-credential"]
    assert "eu-west-2" in form["url"]


def test_options_come_before_the_dict(settings):
    settings.AWS = AWS
    assert S3DirectStorage(bucket_name="another").bucket_name == "another"
    settings.AWS_STORAGE_BUCKET_NAME = "third"
    assert S3DirectStorage().bucket_name == "third"


def test_keys_are_never_of_two_accounts(settings):
    settings.AWS, settings.AWS_ACCESS_KEY_ID, settings.AWS_SECRET_ACCESS_KEY = AWS, "one", "another"
    storage = S3DirectStorage()
    assert (storage.access_key, storage.secret_key) == ("one", "another")


def test_secret_is_in_no_text(settings):
    settings.AWS = {**AWS, "SECRET_KEY": "planted-secret"}
    storage = S3DirectStorage()
    assert "planted-secret" not in repr(storage) + json.dumps(storage.get_signed_url("a.txt"))


def test_form_has_the_fields_of_s3(settings):
    settings.AWS = {**AWS, "MAX_FILE_SIZE": 7}
    form = S3DirectStorage().get_signed_url(key="file.txt")
    names = {"key", "policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature", "Content-Type"}
    assert (form.keys(), form["fields"].keys(), form["fields"]["key"]) == ({"url", "fields"}, names, "file.txt")
    policy = json.loads(base64.b64decode(form["fields"]["policy"]))["conditions"]
    assert {"key": "file.txt"} in policy
    assert {"bucket": "a-bucket"} in policy
    assert ["content-length-range", 1, 7] in policy


def test_length_is_bounded_without_a_setting(settings):
    settings.AWS = AWS
    policy = base64.b64decode(S3DirectStorage().get_signed_url("a.txt")["fields"]["policy"])
    assert ["content-length-range", 1, 5 * 1024**3] in json.loads(policy)["conditions"]


def test_name_of_the_client_is_never_filled_in(settings):
    settings.AWS = AWS
    with pytest.raises(ValueError, match="dollar"):
        S3DirectStorage().get_signed_url("${filename}")


URLS = [
    "https://s3-eu-west-2.amazonaws.com/a-bucket/dir/a%20b.txt",
    "https://s3.eu-west-2.amazonaws.com/a-bucket/dir/a%20b.txt",
    "https://a-bucket.s3.eu-west-2.amazonaws.com/dir/a%20b.txt",
    "https://a-bucket.s3.amazonaws.com/dir/a%20b.txt?X-Amz-Signature=x",
]
OTHERS = [
    "https://a-bucket.s3.amazonaws.com.example.com/dir/a.txt",
    "https://s3.amazonaws.com/another-bucket/dir/a.txt",
    "https://user:password@a-bucket.s3.amazonaws.com/dir/a.txt",
    "http://a-bucket.s3.amazonaws.com/dir/a.txt",
    "https://a-bucket.s3.amazonaws.com/dir/../a.txt",
    "https://a-bucket.s3.amazonaws.com/dir/%00.txt",
    "https://a-bucket.s3.amazonaws.com/",
]


@pytest.mark.parametrize("url", URLS)
def test_every_spelling_of_a_url_is_known(settings, url):
    settings.AWS = AWS
    assert addresses.name_in(S3DirectStorage(), url) == "dir/a b.txt"


@pytest.mark.parametrize("url", OTHERS)
def test_other_urls_are_none_of_ours(settings, url):
    settings.AWS = AWS
    assert addresses.name_in(S3DirectStorage(), url) is None


@pytest.mark.parametrize("url", ["https://s3.amazonaws.com/bucket", "https://bucket.s3.amazonaws.com/"])
def test_key_is_joined_with_either_url(url):
    assert re.fullmatch(r"https://[a-z0-9.]+(/bucket)?/dir/a%20b\.txt", addresses.join(url, "dir/a b.txt"))
