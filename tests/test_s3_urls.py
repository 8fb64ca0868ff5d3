"""The URLs of S3Storage: who signs them, for how long, and whether botocore and CloudFront would do the same."""

from __future__ import annotations

import base64
import datetime
import json
import os
import pickle
import time
import traceback
import urllib.request
from types import SimpleNamespace
from unittest import mock
from urllib.parse import parse_qs, parse_qsl, urlsplit

import botocore
import pytest
from botocore.config import Config
from botocore.exceptions import ParamValidationError
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import InMemoryStorage
from hypothesis import given, settings
from hypothesis import strategies as st

from storages.backends import cloudfront, sigv4
from storages.backends.s3 import S3ManifestStaticStorage, S3StaticStorage, S3Storage

WEEK = 7 * 24 * 3600
KEYS = {"access_key": "AKIDURL", "secret_key": "SECRETURL"}


@pytest.fixture(autouse=True)
def _no_ambient(monkeypatch, tmp_path):
    """Hide this machine's own credentials."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def offline(cls=S3Storage, **options):
    return cls(**{"bucket_name": "bucket", **KEYS, **options})


def query(url):
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def at(now):
    """Set the time of our signers."""
    clock = SimpleNamespace(time=lambda: now, strftime=time.strftime, gmtime=time.gmtime)
    return mock.patch.multiple(sigv4, time=clock), mock.patch.multiple(cloudfront, time=clock)


def url_at(now, storage, name="a.txt", **options):
    signer, cdn = at(now)
    with signer, cdn:
        return storage.url(name, **options)


# Signatures of S3


@pytest.mark.parametrize(
    ("region", "host", "scope"),
    [
        (None, "bucket.s3.amazonaws.com", "us-east-1"),
        ("us-east-1", "bucket.s3.amazonaws.com", "us-east-1"),
        ("us-east-2", "bucket.s3.us-east-2.amazonaws.com", "us-east-2"),
        ("eu-west-1", "bucket.s3.eu-west-1.amazonaws.com", "eu-west-1"),
        ("eu-central-1", "bucket.s3.eu-central-1.amazonaws.com", "eu-central-1"),
        ("ap-south-2", "bucket.s3.ap-south-2.amazonaws.com", "ap-south-2"),  # opt-in: unknown to the global endpoint
        ("cn-north-1", "bucket.s3.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("us-gov-west-1", "bucket.s3.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
    ],
)
def test_every_region_is_signed_with_version_4_for_its_own_host(region, host, scope):
    url = offline(region_name=region).url("dir/a b.txt")
    asked = query(url)
    assert (urlsplit(url).netloc, urlsplit(url).path) == (host, "/dir/a%20b.txt")
    assert asked["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert asked["X-Amz-Credential"].split("/")[2:] == [scope, "s3", "aws4_request"]


CONFIGURATIONS = {
    "default": {},
    "region": {"region_name": "eu-west-1"},
    "China": {"region_name": "cn-north-1"},
    "endpoint": {"endpoint_url": "https://minio.example.com:9000", "region_name": "us-east-1"},
    "path": {"addressing_style": "path", "region_name": "eu-west-1"},
    "virtual": {"addressing_style": "virtual", "endpoint_url": "https://ewr1.example.com", "region_name": "ewr1"},
    "dots": {"bucket_name": "media.example.com"},
    "token": {"security_token": "a/token+with=all", "location": "site/media"},
    "plain HTTP": {"use_ssl": False},
    "accelerated": {"client_config": Config(s3={"use_accelerate_endpoint": True})},
    "dual stack": {"client_config": Config(s3={"use_dualstack_endpoint": True}), "region_name": "eu-west-1"},
}
NAMES = st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40).filter(
    lambda name: not {"", ".", ".."} & set(name.replace("\\", "/").split("/"))
)


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_fast_signer_is_at_work(configuration):
    storage = offline(**CONFIGURATIONS[configuration])
    storage.url("a.txt")
    with mock.patch.object(storage.client, "generate_presigned_url", side_effect=AssertionError):
        storage.url("b.txt")


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@settings(max_examples=60)
@given(name=NAMES, expire=st.integers(1, WEEK))
def test_fast_signer_gives_the_string_that_botocore_gives(configuration, name, expire):
    botocores, ours = botocores_and_ours(offline(**CONFIGURATIONS[configuration]), name, expire)
    assert ours == botocores


def botocores_and_ours(storage, name, expire, parameters=None):
    """Return the URL that botocore makes, and ours for the same second."""
    arguments = {**(parameters or {}), "Bucket": storage.bucket_name, "Key": storage._key(name)}
    botocores = storage.client.generate_presigned_url("get_object", Params=arguments, ExpiresIn=expire)
    signed_at = datetime.datetime.strptime(query(botocores)["X-Amz-Date"], "%Y%m%dT%H%M%S%z").timestamp()
    return botocores, url_at(signed_at, storage, name, expire=expire, parameters=parameters)


@pytest.mark.parametrize(
    "parameters",
    [
        {"ResponseContentDisposition": 'attachment; filename="ä + b~.txt"'},
        {"ResponseContentType": "text/plain; charset=utf-8", "ResponseCacheControl": "no-store"},
        {"VersionId": "null", "ResponseContentType": "text/plain"},
        {"ResponseExpires": datetime.datetime(2030, 1, 2, tzinfo=datetime.timezone.utc)},
        {"PartNumber": 2},
        {"ResponseContentType": ""},
        {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "0123456789abcdef0123456789abcdef"},
        {"RequestPayer": "requester"},
    ],
    ids="+".join,
)
@pytest.mark.parametrize("configuration", ["default", "token", "path"])
def test_parameters_are_signed_as_botocore_signs_them(configuration, parameters):
    botocores, ours = botocores_and_ours(offline(**CONFIGURATIONS[configuration]), "a b.txt", 60, parameters)
    assert ours.partition("X-Amz-")[0] == botocores.partition("X-Amz-")[0]
    assert {**query(ours), "X-Amz-Date": "", "X-Amz-Signature": ""}.keys() == query(botocores).keys()


@pytest.mark.parametrize(
    "parameters",
    [{"ResponseContentDisposition": "inline"}, {"VersionId": "null", "ResponseContentType": "text/plain"}],
    ids="+".join,
)
def test_parameters_of_the_query_give_the_string_that_botocore_gives(parameters):
    botocores, ours = botocores_and_ours(offline(), "a b.txt", 60, parameters)
    assert ours == botocores


@pytest.mark.parametrize("parameters", [{"NoSuchParameter": "x"}, {"VersionId": 3}], ids=str)
def test_parameter_that_botocore_refuses_is_refused(parameters):
    with pytest.raises(ParamValidationError):
        offline().url("a.txt", parameters=parameters)


@pytest.mark.parametrize(
    ("options", "algorithm"),
    [
        ({"signature_version": "s3"}, None),
        ({"client_config": Config(signature_version="s3")}, None),
        ({"client_config": Config(signature_version="s3-query")}, None),
        ({"client_config": Config(signature_version="s3v4")}, "AWS4-HMAC-SHA256"),
    ],
)
def test_older_signatures_are_left_to_botocore(options, algorithm):
    storage = offline(**options)
    asked = query(storage.url("a.txt"))
    assert asked.get("X-Amz-Algorithm") == algorithm
    assert ("AWSAccessKeyId" in asked) == (algorithm is None)


def test_event_of_the_user_is_left_to_botocore():
    class Subclass(S3Storage):
        def _create_session(self):
            session = super()._create_session()
            session.events.register("before-sign.s3", lambda request, **kwargs: request.params.update(tenant="one"))
            return session

    assert query(offline(Subclass).url("a.txt")).get("tenant") == "one"


def test_unsigned_client_config_gives_plain_urls():
    storage = S3Storage(bucket_name="bucket", client_config=Config(signature_version=botocore.UNSIGNED))
    assert storage.url("a.txt") == "https://bucket.s3.amazonaws.com/a.txt"


def test_session_token_is_in_the_signature():
    assert query(offline(security_token="TOKEN/+=").url("a.txt"))["X-Amz-Security-Token"] == "TOKEN/+="


@pytest.mark.parametrize(
    ("options", "start"),
    [
        ({"addressing_style": "path"}, "https://s3.amazonaws.com/bucket/a.txt?"),
        ({"addressing_style": "virtual"}, "https://bucket.s3.amazonaws.com/a.txt?"),
        ({"addressing_style": "auto"}, "https://bucket.s3.amazonaws.com/a.txt?"),
        (
            {"bucket_name": "media.example.com"},
            "https://s3.amazonaws.com/media.example.com/a.txt?",
        ),  # no such certificate
        ({"endpoint_url": "https://s3.example.com"}, "https://s3.example.com/bucket/a.txt?"),
        (
            {"endpoint_url": "https://s3.example.com", "addressing_style": "virtual"},
            "https://bucket.s3.example.com/a.txt?",
        ),
        (
            {"client_config": Config(s3={"use_accelerate_endpoint": True})},
            "https://bucket.s3-accelerate.amazonaws.com/a.txt?",
        ),
    ],
)
def test_bucket_is_addressed(options, start):
    assert offline(**options).url("a.txt").startswith(start)


# How long


@pytest.mark.parametrize("expire", [60, datetime.timedelta(minutes=1), 60.9])
def test_expire_is_seconds(expire):
    assert query(offline().url("a.txt", expire=expire))["X-Amz-Expires"] == "60"


def test_expire_comes_from_the_option():
    assert query(offline().url("a.txt"))["X-Amz-Expires"] == "3600"
    assert query(offline(querystring_expire=60).url("a.txt"))["X-Amz-Expires"] == "60"
    assert query(offline(querystring_expire=datetime.timedelta(days=7)).url("a.txt"))["X-Amz-Expires"] == str(WEEK)


@pytest.mark.parametrize("expire", [WEEK + 1, datetime.timedelta(days=8), 0, -1, "60", True])
def test_expire_that_s3_refuses_is_refused(expire):
    with pytest.raises(ValueError, match="expire"):
        offline().url("a.txt", expire=expire)


def test_cloudfront_and_version_2_know_no_longest_expire():
    url = offline(signature_version="s3").url("a.txt", expire=2 * WEEK)
    assert int(query(url)["Expires"]) > time.time() + WEEK


@pytest.mark.parametrize("options", [{}, {"parameters": {"ResponseContentType": "text/plain"}}], ids=str)
def test_url_stays_the_same_for_a_window(options):
    storage = offline(querystring_window=600)
    start = int(time.time()) // 600 * 600
    first, last, next_one = (url_at(start + seconds, storage, **options) for seconds in (0, 599, 600))
    assert first == last != next_one
    assert int(query(first)["X-Amz-Expires"]) == 3600 + 600  # at the window's end it still lives as long as asked


def test_window_that_began_yesterday_signs_for_yesterday():
    storage = offline(querystring_window=50_000)
    day = 19_700 * 86_400
    start = day // 50_000 * 50_000
    assert query(url_at(day + 60, storage))["X-Amz-Date"] == time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(start))
    assert url_at(day + 60, storage) == url_at(day - 60, storage)


def test_window_does_not_carry_a_url_past_the_seven_days():
    storage = offline(querystring_window=600)
    assert query(storage.url("a.txt", expire=WEEK - 600))["X-Amz-Expires"] == str(WEEK)
    with pytest.raises(ValueError, match="expire"):
        storage.url("a.txt", expire=WEEK)


# Unsigned


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, "https://bucket.s3.amazonaws.com/dir/caf%C3%A9%20%2B%25.txt"),
        ({"region_name": "eu-west-1"}, "https://bucket.s3.eu-west-1.amazonaws.com/dir/caf%C3%A9%20%2B%25.txt"),
        ({"location": "site"}, "https://bucket.s3.amazonaws.com/site/dir/caf%C3%A9%20%2B%25.txt"),
        ({"endpoint_url": "http://127.0.0.1:9000"}, "http://127.0.0.1:9000/bucket/dir/caf%C3%A9%20%2B%25.txt"),
    ],
)
def test_unsigned_url_needs_no_keys(options, url):
    storage = S3Storage(bucket_name="bucket", querystring_auth=False, **options)
    assert storage.url("dir/café +%.txt") == url


def test_parameters_go_into_an_unsigned_url():
    storage = S3Storage(bucket_name="bucket", querystring_auth=False)
    url = storage.url("a.txt", parameters={"VersionId": "v1"})
    assert url == "https://bucket.s3.amazonaws.com/a.txt?versionId=v1"


def test_static_files_have_a_base_url():
    storage = S3StaticStorage(bucket_name="bucket", location="static", custom_domain="cdn.example.com")
    assert storage.url("") == "https://cdn.example.com/static/"


def test_directory_of_hashed_static_files_has_a_url():
    storage = S3ManifestStaticStorage(bucket_name="bucket", location="static", manifest_storage=InMemoryStorage())
    assert storage.url("img/") == "https://bucket.s3.amazonaws.com/static/img/"


@pytest.mark.parametrize("name", ["", None])
def test_no_name_has_no_url(name):
    with pytest.raises(ValueError):
        offline().url(name)


def test_directory_keeps_its_slash():
    assert urlsplit(offline(location="media").url("dir/")).path == "/media/dir/"


# A domain of one's own


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, "https://cdn.example.com/a%20b%23.txt"),
        ({"location": "media"}, "https://cdn.example.com/media/a%20b%23.txt"),
        ({"url_protocol": "http:"}, "http://cdn.example.com/a%20b%23.txt"),
        ({"custom_domain": "cdn.example.com/bucket"}, "https://cdn.example.com/bucket/a%20b%23.txt"),
        ({"custom_domain": "cdn.example.com/bucket/"}, "https://cdn.example.com/bucket/a%20b%23.txt"),
        ({"querystring_auth": True}, "https://cdn.example.com/a%20b%23.txt"),  # who has no signer signs nothing
    ],
)
def test_custom_domain_replaces_the_services(options, url):
    storage = S3Storage(**{"custom_domain": "cdn.example.com", "querystring_auth": False, **options})
    assert storage.url("a b#.txt") == url


def test_parameters_are_the_query_of_a_custom_domain():
    storage = S3Storage(custom_domain="cdn.example.com", querystring_auth=False)
    given = {"w": "100", "text": "ä b"}
    assert storage.url("a.png", parameters=given) == "https://cdn.example.com/a.png?w=100&text=%C3%A4+b"
    assert given == {"w": "100", "text": "ä b"}


# CloudFront


@pytest.fixture(scope="module")
def cdn_key():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def pem(cdn_key):
    kind = serialization.PrivateFormat.TraditionalOpenSSL
    return cdn_key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()).decode()


def cdn_storage(pem, cls=S3Storage, **options):
    return cls(custom_domain="cdn.example.com", cloudfront_key_id="K1", cloudfront_key=pem, **options)


def unescaped(text):
    """Undo CloudFront's own base 64."""
    return base64.b64decode(text.translate(str.maketrans("-_~", "+=/")))


def verify(cdn_key, url, policy):
    cdn_key.public_key().verify(unescaped(query(url)["Signature"]), policy.encode(), padding.PKCS1v15(), hashes.SHA1())


def canned(resource, expires):
    return f'{{"Statement":[{{"Resource":"{resource}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{expires}}}}}}}]}}'


@pytest.fixture(params=["cryptography", "rsa"])
def library(request, monkeypatch):
    """Sign with either library, as when the other is not installed."""
    if request.param == "rsa":
        monkeypatch.setattr(cloudfront._serialization, "is_installed", lambda: False)
    monkeypatch.setattr("storages.process._shared", {})


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("as_bytes", [False, True])
def test_cloudfront_url_is_verified_with_the_public_key(cdn_key, pem, as_bytes):
    storage = cdn_storage(pem.encode() if as_bytes else pem, location="media")
    url = url_at(1_700_000_000, storage, "a b.txt", expire=60)
    assert url.startswith("https://cdn.example.com/media/a%20b.txt?")
    assert {name: value for name, value in query(url).items() if name != "Signature"} == {
        "Expires": "1700000060",
        "Key-Pair-Id": "K1",
    }
    verify(cdn_key, url, canned("https://cdn.example.com/media/a%20b.txt", 1_700_000_060))


def test_parameters_are_signed_by_cloudfront(cdn_key, pem):
    url = url_at(1_700_000_000, cdn_storage(pem), expire=60, parameters={"w": "100"})
    verify(cdn_key, url, canned("https://cdn.example.com/a.txt?w=100", 1_700_000_060))


def test_custom_policy_opens_all_that_it_names_and_is_signed_once_a_window(cdn_key, pem):
    storage = cdn_storage(pem, cloudfront_policy="https://cdn.example.com/media/*", querystring_window=600)
    start = 1_700_000_000 // 600 * 600
    urls = [url_at(start + seconds, storage, name) for seconds, name in [(1, "media/a.txt"), (600, "media/b.txt")]]
    policies = [unescaped(query(url)["Policy"]).decode() for url in urls]
    assert policies[0] == policies[1]
    assert json.loads(policies[0])["Statement"][0]["Resource"] == "https://cdn.example.com/media/*"
    assert query(urls[0])["Signature"] == query(urls[1])["Signature"]
    verify(cdn_key, urls[0], policies[0])
    assert url_at(start + 601, storage) != url_at(start + 600, storage)


def test_canned_cloudfront_url_stays_the_same_for_a_window(pem):
    storage = cdn_storage(pem, querystring_window=600)
    start = 1_700_000_000 // 600 * 600
    first, last, next_one = (url_at(start + seconds, storage) for seconds in (1, 600, 601))
    assert first == last != next_one
    assert int(query(first)["Expires"]) >= start + 600 + 3600


def test_cloudfront_key_is_parsed_once(pem, monkeypatch):
    monkeypatch.setattr("storages.process._shared", {})
    with mock.patch.object(cloudfront, "make_signer", wraps=cloudfront.make_signer) as made:
        signers = [cdn_storage(pem).cloudfront_signer for _ in range(3)]
    assert made.call_count == 1
    assert signers[0] is signers[1] is signers[2]


@pytest.mark.parametrize(
    "options",
    [{"querystring_auth": False}, {"cloudfront_signer": None}],
    ids=["querystring_auth", "no signer"],
)
def test_cloudfront_signing_can_be_switched_off(pem, options):
    assert cdn_storage(pem, **options).url("a.txt") == "https://cdn.example.com/a.txt"


def test_class_attribute_switches_cloudfront_signing_off(pem):
    class Public(S3Storage):
        cloudfront_signer = None

    assert cdn_storage(pem, Public).url("a.txt") == "https://cdn.example.com/a.txt"


class Signer:
    """A signer as projects have made them for django-storages."""

    def generate_presigned_url(self, url, date_less_than=None, policy=None):
        return f"{url}?until={int(date_less_than.timestamp())}"


def test_signer_made_elsewhere_is_asked():
    storage = S3Storage(custom_domain="cdn.example.com", cloudfront_signer=Signer())
    assert url_at(1_700_000_000, storage, expire=60) == "https://cdn.example.com/a.txt?until=1700000060"


def test_overridden_signer_hook_gets_the_key(pem):
    class Subclass(S3Storage):
        def get_cloudfront_signer(self, key_id, key):
            assert (key_id, key) == ("K1", pem)
            return Signer()

    assert url_at(1_700_000_000, cdn_storage(pem, Subclass), expire=60).endswith("?until=1700000060")


def test_cloudfront_key_works_without_custom_domain_for_s3_itself(pem):
    storage = offline(cloudfront_key_id="K1", cloudfront_key=pem)
    assert "X-Amz-Signature" in storage.url("a.txt")


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("key", ["NOTAPEM", "NÖTAPEM", b"NOTAPEM"])
def test_key_that_is_no_key_is_refused_without_showing_it(key):
    with pytest.raises(ImproperlyConfigured, match="AWS_CLOUDFRONT_KEY") as caught:
        cdn_storage(key)
    assert str(key) not in "".join(traceback.format_exception(caught.value))


def test_elliptic_key_is_refused_at_construction():
    key = ec.generate_private_key(ec.SECP256R1())
    kind = serialization.PrivateFormat.PKCS8
    with pytest.raises(ImproperlyConfigured, match="RSA"):
        cdn_storage(key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()))


def test_missing_signing_library_is_named(pem, monkeypatch):
    monkeypatch.setattr("storages.process._shared", {})
    for module in (cloudfront._serialization, cloudfront._rsa):
        monkeypatch.setattr(module, "is_installed", lambda: False)
    with pytest.raises(ImproperlyConfigured, match="cloudfront"):
        cdn_storage(pem)


def test_storage_with_a_cloudfront_key_pickles(pem):
    storage = pickle.loads(pickle.dumps(cdn_storage(pem)))
    assert url_at(1_700_000_000, storage) == url_at(1_700_000_000, cdn_storage(pem))


# On a server


@pytest.fixture
def storage(seaweedfs):
    return S3Storage(
        bucket_name=seaweedfs.make_bucket(),
        endpoint_url=seaweedfs.endpoint_url,
        access_key=seaweedfs.access_key,
        secret_key=seaweedfs.secret_key,
        region_name=seaweedfs.region,
        location="media",
    )


def fetch(url, method="GET", body=None, **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    with urllib.request.urlopen(urllib.request.Request(url, body, names, method=method), timeout=30) as answer:
        return answer.status, answer.headers, answer.read()


def test_signed_upload_is_stored_with_the_type_that_was_signed(storage):
    url = storage.url("a.bin", {"ContentType": "image/webp"}, http_method="PUT")
    assert fetch(url, "PUT", b"bytes", Content_Type="image/webp")[0] == 200
    with storage.open("a.bin") as file:
        assert (file.read(), file.stat.content_type) == (b"bytes", "image/webp")


def test_signed_head_and_delete_do_what_they_say(storage):
    fetch(storage.url("a.txt", http_method="put"), "PUT", b"12345")
    assert fetch(storage.url("a.txt", http_method="HEAD"), "HEAD")[1]["Content-Length"] == "5"
    assert fetch(storage.url("a.txt", http_method="delete"), "DELETE")[0] == 204
    assert not storage.exists("a.txt")


@pytest.mark.parametrize("parameters", [{}, {"ResponseContentDisposition": 'inline; filename="ä.txt"'}], ids=str)
def test_windowed_url_is_accepted(storage, parameters):
    storage.querystring_window = 3600
    fetch(storage.url("ä b+c.txt", http_method="PUT"), "PUT", b"bytes")
    assert fetch(storage.url("ä b+c.txt", parameters))[2] == b"bytes"


def test_parameters_override_the_headers_of_the_answer(storage):
    fetch(storage.url("a.txt", http_method="PUT"), "PUT", b"bytes")
    parameters = {"ResponseCacheControl": "no-store", "ResponseContentType": "text/x-mine"}
    _, headers, body = fetch(storage.url("a.txt", parameters))
    assert (headers["Cache-Control"], headers["Content-Type"], body) == ("no-store", "text/x-mine", b"bytes")
    assert parameters == {"ResponseCacheControl": "no-store", "ResponseContentType": "text/x-mine"}


@pytest.mark.parametrize("method", ["POST", "PATCH", "OPTIONS"])
def test_other_methods_are_refused(method):
    with pytest.raises(ValueError, match="DELETE, GET, HEAD, PUT"):
        offline().url("a.txt", http_method=method)


def test_query_of_a_signed_url_is_in_botocores_order():
    names = [name for name, _ in parse_qsl(urlsplit(offline(security_token="T").url("a.txt")).query)]
    assert names == [
        f"X-Amz-{name}"
        for name in ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Security-Token", "Signature")
    ]
