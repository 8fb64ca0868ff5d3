"""URLs of GoogleCloudStorage: signed ones are recomputed with the public key, because no emulator looks at them."""

from __future__ import annotations

import base64
import datetime
import hashlib
import re
import time
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from cryptography.exceptions import InvalidSignature
from django.core.exceptions import ImproperlyConfigured
from google.auth import compute_engine
from google.oauth2.credentials import Credentials as UserCredentials

from storages.backends import gcloud
from storages.backends.gcloud import GoogleCloudStorage
from tests.servers.google import ACCOUNT, TOKEN, Answer, Google, verify

DAY = 24 * 3600


@pytest.fixture(scope="module")
def accounts():
    with Google() as google:
        yield google


@pytest.fixture
def google(accounts):
    accounts.requests.clear()
    yield accounts
    accounts.refusals.clear()


@pytest.fixture
def storage(google):
    return make_storage(google)


def make_storage(google, **options):
    return GoogleCloudStorage(**{"bucket_name": "bkt", "credentials": google.key(), **options})


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def assert_signed(url: str, method: str = "GET", headers: dict[str, str] | None = None) -> None:
    """Recompute what the signature of ``url`` is of, as Google's documentation says, and verify it."""
    parts = urlsplit(url)
    query = query_of(url)
    signature = bytes.fromhex(query.pop("X-Goog-Signature"))
    signed = {"host": parts.netloc, **(headers or {})}
    assert query["X-Goog-SignedHeaders"] == ";".join(sorted(signed))
    request = [
        method,
        parts.path,
        urlencode(sorted(query.items()), quote_via=quote, safe="-_.~"),
        *(f"{name}:{signed[name]}" for name in sorted(signed)),
        "",
        query["X-Goog-SignedHeaders"],
        "UNSIGNED-PAYLOAD",
    ]
    moment = query["X-Goog-Date"]
    scope = f"{moment[:8]}/auto/storage/goog4_request"
    assert query["X-Goog-Credential"] == f"{ACCOUNT}/{scope}"
    digest = hashlib.sha256("\n".join(request).encode()).hexdigest()
    verify(signature, f"GOOG4-RSA-SHA256\n{moment}\n{scope}\n{digest}".encode())


def test_verification_notices_a_change(storage):
    with pytest.raises(InvalidSignature):
        assert_signed(storage.url("a.txt").replace("a.txt", "b.txt"))


@pytest.mark.parametrize("location", ["", "site/media"])
@pytest.mark.parametrize("name", ["a.txt", "dir/with space.txt", "100%25.txt", "what?a=b&c#d.txt", "文件 é.txt"])
def test_signature_covers_the_key(google, name, location):
    url = make_storage(google, location=location).url(name)
    key = f"{location}/{name}" if location else name
    assert urlsplit(url).path == f"/bkt/{quote(key, safe='/~')}"
    assert urlsplit(url).netloc == "storage.googleapis.com"
    assert_signed(url)


def test_signing_with_a_private_key_asks_nobody(google, storage):
    storage.url("a.txt")
    assert google.requests == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
def test_signature_covers_the_method(storage, method):
    assert_signed(storage.url("a.txt", http_method=method.lower()), method)


def test_start_of_a_browsers_upload_can_be_signed(storage):
    url = storage.url("a.txt", {"method": "RESUMABLE", "content_type": "image/png"})
    assert_signed(url, "POST", {"content-type": "image/png", "x-goog-resumable": "start"})


def test_parameters_are_those_of_the_sdk(storage):
    parameters = {
        "response_disposition": "attachment; filename=x",
        "response_type": "text/plain",
        "query_parameters": {"userProject": "p"},
        "headers": {"x-goog-meta-a": "b"},
    }
    url = storage.url("a.txt", parameters)
    assert_signed(url, headers={"x-goog-meta-a": "b"})
    query = query_of(url)
    assert query["response-content-disposition"] == "attachment; filename=x"
    assert query["response-content-type"] == "text/plain"
    assert query["userProject"] == "p"


def test_parameters_of_the_caller_stay_as_they_are(storage):
    parameters = {"query_parameters": {"a": "b"}, "headers": {"x-goog-meta-a": "b"}, "version": "v4"}
    storage.url("a.txt", parameters=parameters)
    assert parameters == {"query_parameters": {"a": "b"}, "headers": {"x-goog-meta-a": "b"}, "version": "v4"}


def test_version_2_can_be_asked_for(storage):
    query = query_of(storage.url("a.txt", {"version": "v2"}))
    assert query.keys() == {"GoogleAccessId", "Expires", "Signature"}
    assert abs(int(query["Expires"]) - time.time() - DAY) < 60


@pytest.mark.parametrize(
    ("expiration", "seconds"),
    [
        (None, DAY),
        (datetime.timedelta(minutes=5), 300),
        (300, 300),
        (lambda: int(time.time()) + 300, 300),
        (lambda: datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=300), 300),
        (
            lambda: datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=5))) + datetime.timedelta(0, 300),
            300,
        ),
        (lambda: datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) + datetime.timedelta(0, 300), 300),
    ],
    ids=["default", "timedelta", "seconds", "epoch", "aware", "elsewhere", "naive"],
)
def test_expiration_is_a_span_or_a_moment(google, expiration, seconds):
    expiration = expiration() if callable(expiration) else expiration
    url = make_storage(google, expiration=expiration).url("a.txt")
    assert seconds - 60 <= int(query_of(url)["X-Goog-Expires"]) <= seconds


def test_moment_that_has_passed_is_refused(google):
    with pytest.raises(ValueError, match="more than 0 seconds"):
        make_storage(google, expiration=datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)).url("a.txt")


def test_expiration_is_a_django_setting(google, settings):
    settings.GS_EXPIRATION = datetime.timedelta(hours=1)
    assert query_of(make_storage(google).url("a.txt"))["X-Goog-Expires"] == "3600"


def test_expire_of_the_call_wins(google, storage):
    assert query_of(storage.url("a.txt", expire=60))["X-Goog-Expires"] == "60"
    assert query_of(storage.url("a.txt", {"expiration": datetime.timedelta(0, 61)}))["X-Goog-Expires"] == "61"


@pytest.mark.parametrize("options", [{"querystring_auth": False}, {"default_acl": "publicRead"}], ids=str)
def test_public_objects_have_plain_urls(google, options):
    storage = make_storage(google, location="media", **options)
    assert storage.url("a b/c.txt") == "https://storage.googleapis.com/bkt/media/a%20b/c.txt"
    assert storage.url("a", {"query_parameters": {"v": "1"}}) == "https://storage.googleapis.com/bkt/media/a?v=1"


def test_plain_url_needs_neither_credentials_nor_a_client(monkeypatch):
    monkeypatch.setattr(gcloud, "Client", lambda **_: pytest.fail("no client is needed for this"))
    storage = GoogleCloudStorage(bucket_name="bkt", querystring_auth=False)
    assert storage.url("a") == "https://storage.googleapis.com/bkt/a"


@pytest.mark.parametrize("endpoint", ["https://cdn.example.com", "https://cdn.example.com/", "cdn.example.com"])
def test_custom_endpoint_stands_for_the_bucket(google, endpoint):
    plain = make_storage(google, custom_endpoint=endpoint, querystring_auth=False).url("a b.txt")
    assert plain == "https://cdn.example.com/a%20b.txt"
    signed = make_storage(google, custom_endpoint=endpoint).url("a b.txt")
    assert signed.startswith("https://cdn.example.com/a%20b.txt?")
    assert_signed(signed)


def test_url_is_at_the_endpoint_of_the_client(google, monkeypatch):
    private = make_storage(google, client_options={"api_endpoint": "https://storage.private.example"})
    assert private.url("a").startswith("https://storage.private.example/bkt/a?")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://localhost:4443")
    assert make_storage(google, querystring_auth=False).url("a") == "http://localhost:4443/bkt/a"
    assert make_storage(google).url("a").startswith("http://localhost:4443/bkt/a?")


def test_other_way_to_the_bucket_can_be_asked_for(google):
    storage = make_storage(google, custom_endpoint="https://cdn.example.com")
    url = storage.url("a.txt", {"virtual_hosted_style": True})
    assert url.startswith("https://bkt.storage.googleapis.com/a.txt?")
    assert_signed(url)


# Without a private key


def test_user_credentials_sign_by_iam_in_the_name_of_an_account(google):
    storage = make_storage(google, credentials=UserCredentials(TOKEN), sa_email=ACCOUNT)
    assert_signed(storage.url("a.txt"))
    assert [request.path for request in google.requests] == [f"/{ACCOUNT}:signBlob"]
    assert google.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"


def test_machine_signs_by_iam_in_the_name_of_its_account(google):
    storage = make_storage(google, credentials=compute_engine.Credentials())
    assert_signed(storage.url("a.txt"))
    asked = len(google.requests)
    assert_signed(storage.url("b.txt"))
    # The account and the token are known by now.
    assert [request.path for request in google.requests[asked:]] == [f"/{ACCOUNT}:signBlob"]


def test_iam_signs_when_told_to(google):
    storage = make_storage(google, iam_sign_blob=True)
    assert_signed(storage.url("a.txt"))
    paths = [request.path for request in google.requests]
    assert paths == ["/token", f"/{ACCOUNT}:signBlob"]
    assert b"cloud-platform" in jwt_payload(google.requests[0].body)


def jwt_payload(body: bytes) -> bytes:
    payload = re.search(rb"assertion=[^.]+\.([^.]+)\.", body)[1]
    return base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4))


def test_credentials_without_key_and_account_say_what_to_do(google):
    storage = make_storage(google, credentials=UserCredentials(TOKEN))
    with pytest.raises(ImproperlyConfigured, match=r"'sa_email' \(Django setting GS_SA_EMAIL\)"):
        storage.url("a.txt")
    assert google.requests == []


@pytest.mark.parametrize(
    ("status", "said", "error"),
    [
        (403, "PERMISSION_DENIED", PermissionError),
        (404, "NOT_FOUND", ImproperlyConfigured),
    ],
)
def test_refusal_of_iam_names_the_permission(google, status, said, error):
    google.refusals[":signBlob"] = Answer(status, {"error": {"code": status, "status": said}})
    storage = make_storage(google, credentials=UserCredentials(TOKEN), sa_email=ACCOUNT)
    with pytest.raises(error, match=re.escape("iam.serviceAccounts.signBlob")):
        storage.url("a.txt")


def test_refused_url_leaves_the_storage_usable(google):
    storage = make_storage(google, credentials=UserCredentials(TOKEN), sa_email=ACCOUNT)
    google.refusals[":signBlob"] = Answer(403, {"error": {"status": "PERMISSION_DENIED"}})
    with pytest.raises(PermissionError):
        storage.url("a.txt")
    google.refusals.clear()
    assert_signed(storage.url("a.txt"))
