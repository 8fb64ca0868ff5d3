"""URLs of Azure: plain, signed with the account key, by a SAS token, and with a user delegation key."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.storage.blob import BlobServiceClient, UserDelegationKey, generate_blob_sas
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from storages.backends import azure_storage
from storages.backends.azure_storage import CLOCK_SKEW, AzureStorage

KEY = base64.b64encode(b"an account key").decode()
DAY = 24 * 3600
NOW = datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.timezone.utc)
SAS_FOR_READING = "sv=2022-11-02&sr=c&sp=r&se=2100-01-01&sig=ab%2Fcd"


def storage_with(**options):
    given = {"account_name": "mine", "account_key": KEY, "azure_container": "files"}
    return AzureStorage(**{**given, **options})


def fields(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


@pytest.fixture
def clock(monkeypatch):
    """The time, which stands still unless it is moved on."""

    class Clock:
        now = NOW

        def move(self, **by):
            self.now += datetime.timedelta(**by)

    clock = Clock()
    monkeypatch.setattr(timezone, "now", lambda: clock.now)
    return clock


# Plain


def test_url_is_plain_without_a_life():
    assert storage_with().url("dir/a b#.txt") == "https://mine.blob.core.windows.net/files/dir/a%20b%23.txt"


PLAIN = {
    "no TLS": ({"azure_ssl": False}, "http://mine.blob.core.windows.net/files/a.txt"),
    "another cloud": (
        {"endpoint_suffix": "core.chinacloudapi.cn"},
        "https://mine.blob.core.chinacloudapi.cn/files/a.txt",
    ),
    "custom domain": ({"custom_domain": "cdn.example.com"}, "https://cdn.example.com/files/a.txt"),
    "location": ({"location": "site"}, "https://mine.blob.core.windows.net/files/site/a.txt"),
    "SAS token": (
        {"account_key": None, "sas_token": SAS_FOR_READING},
        "https://mine.blob.core.windows.net/files/a.txt",
    ),
    "SAS token in a connection string": (
        {"connection_string": f"AccountName=mine;SharedAccessSignature={SAS_FOR_READING}"},
        "https://mine.blob.core.windows.net/files/a.txt",
    ),
}


@pytest.mark.parametrize(("options", "url"), PLAIN.values(), ids=PLAIN)
def test_plain_url_follows_the_options(options, url):
    assert storage_with(**options).url("a.txt") == url


def test_plain_url_leaves_out_what_only_a_signature_can_say():
    url = storage_with().url("a.txt", parameters={"content_disposition": "inline", "v": 2}, mode="w")
    assert url == "https://mine.blob.core.windows.net/files/a.txt?v=2"


# The account key


def test_positions_are_those_of_earlier_releases(clock):
    url = storage_with().url("a.txt", 60, {"content_disposition": "inline"}, "rw")
    found = fields(url)
    assert (found["se"], found["rscd"], found["sp"]) == ("2026-11-20T12:01:00Z", "inline", "rw")


LIVES = [
    ({"expiration_secs": 60}, None, "2026-11-20T12:01:00Z"),
    ({"expiration_secs": datetime.timedelta(hours=1)}, None, "2026-11-20T13:00:00Z"),
    ({"expiration_secs": 60}, 120, "2026-11-20T12:02:00Z"),
    ({}, 120, "2026-11-20T12:02:00Z"),
    ({}, datetime.timedelta(days=400), "2027-12-25T12:00:00Z"),
]


@pytest.mark.parametrize(("options", "expire", "end"), LIVES)
def test_url_ends_when_it_should(clock, options, expire, end):
    storage = storage_with(**options)
    assert fields(storage.url("a.txt", expire))["se"] == end
    assert storage.expiration_secs == options.get("expiration_secs")


@pytest.mark.parametrize("expire", [0, -1, "60", True])
def test_life_is_a_positive_number(expire):
    with pytest.raises(ValueError):
        storage_with().url("a.txt", expire)


METHODS = {"GET": "r", "HEAD": "r", "PUT": "cw", "DELETE": "d"}


@pytest.mark.parametrize(("method", "permission"), METHODS.items())
def test_method_permits_what_it_needs(method, permission):
    assert fields(storage_with().url("a.txt", 60, http_method=method))["sp"] == permission


@pytest.mark.parametrize("ssl", [True, False])
@pytest.mark.parametrize("name", ["a.txt", "dir/é %2F#?.txt"])
def test_signature_is_the_sdks(clock, monkeypatch, ssl, name):
    url = storage_with(azure_ssl=ssl, expiration_secs=60).url(name)
    monkeypatch.setattr("azure.storage.blob._shared_access_signature.X_MS_VERSION", azure_storage._SAS_VERSION)
    end = NOW + datetime.timedelta(seconds=60)
    protocol = {"protocol": "https"} if ssl else {}
    theirs = generate_blob_sas("mine", "files", name, account_key=KEY, permission="r", expiry=end, **protocol)
    assert fields(url) == fields(f"?{theirs}")


def test_signed_url_is_for_tls_only_where_the_storage_is():
    assert fields(storage_with().url("a.txt", 60))["spr"] == "https"
    assert "spr" not in fields(storage_with(azure_ssl=False).url("a.txt", 60))


def test_custom_domain_changes_no_signature(clock):
    one, other = storage_with(expiration_secs=60), storage_with(expiration_secs=60, custom_domain="cdn.example.com")
    assert other.url("a.txt") == one.url("a.txt").replace("mine.blob.core.windows.net", "cdn.example.com")


def test_unknown_parameter_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'content_disposition'"):
        storage_with().url("a.txt", 60, {"ContentDisposition": "inline"})


def test_what_cannot_sign_says_what_is_missing():
    with pytest.raises(ImproperlyConfigured, match="AZURE_ACCOUNT_KEY"):
        storage_with(account_key=None).url("a.txt", 60)


# A SAS token


@pytest.mark.parametrize("token", [SAS_FOR_READING, f"?{SAS_FOR_READING}", "sv=1&si=policy&sr=c&sig=x"])
def test_sas_token_for_reading_goes_into_a_signed_url(token):
    url = storage_with(account_key=None, sas_token=token).url("a.txt", 60)
    assert url == f"https://mine.blob.core.windows.net/files/a.txt?{token.lstrip('?')}"


REFUSED = [("r", "rw", "does not permit 'w'"), ("racwdl", "r", "permits 'acdlw' as well"), ("rl", "r", "permits 'l'")]


@pytest.mark.parametrize(("permitted", "mode", "message"), REFUSED)
def test_sas_token_that_permits_something_else_is_not_given_away(permitted, mode, message):
    storage = storage_with(account_key=None, sas_token=SAS_FOR_READING.replace("sp=r", f"sp={permitted}"))
    with pytest.raises(ValueError, match=message) as error:
        storage.url("a.txt", 60, mode=mode)
    assert "ab%2Fcd" not in str(error.value)


# A user delegation key, of a service that azurite cannot stand for


class Identity:
    def get_token(self, *scopes, **options):
        raise AssertionError("no other request was to be sent")


@pytest.fixture
def given(monkeypatch):
    """The keys that the service gave: start and end of each."""
    given: list[tuple[datetime.datetime, datetime.datetime]] = []

    def get_user_delegation_key(client, start, end, **options):
        given.append((start, end))
        key = UserDelegationKey()
        key.signed_oid, key.signed_tid = "who", "where"
        key.signed_start, key.signed_expiry = f"{start:%Y-%m-%dT%H:%M:%SZ}", f"{end:%Y-%m-%dT%H:%M:%SZ}"
        key.signed_service, key.signed_version = "b", "2022-11-02"
        key.signed_delegated_user_tid = None
        key.value = base64.b64encode(b"delegated %d" % len(given)).decode()
        return key

    monkeypatch.setattr(BlobServiceClient, "get_user_delegation_key", get_user_delegation_key)
    return given


@pytest.fixture
def delegated(given):
    return storage_with(account_key=None, token_credential=Identity(), expiration_secs=3600)


def signature(query: dict[str, str], resource: str, secret: bytes) -> str:
    """Make the signature as learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas says."""
    first = [query["sp"], query.get("st", ""), query["se"], resource]
    key = [query[name] for name in ("skoid", "sktid", "skt", "ske", "sks", "skv")]
    agents = ["", "", ""]
    # Of this version on, the tenant and the id of a user to whom the URL is bound, then headers and query of a request.
    newer = (["", ""], ["", ""]) if query["sv"] >= "2025-07-05" else ([], [])
    last = [query.get("sip", ""), query.get("spr", ""), query["sv"], query["sr"], "", ""]
    overrides = [query.get(name, "") for name in ("rscc", "rscd", "rsce", "rscl", "rsct")]
    text = "\n".join([*first, *key, *agents, *newer[0], *last, *newer[1], *overrides])
    return base64.b64encode(hmac.digest(secret, text.encode(), hashlib.sha256)).decode()


def test_delegation_key_signs(delegated, given, clock):
    query = fields(delegated.url("dir/a b.txt", parameters={"content_type": "text/plain"}))
    assert query["sig"] == signature(query, "/blob/mine/files/dir/a b.txt", b"delegated 1")
    assert (query["skoid"], query["se"], query["spr"]) == ("who", "2026-11-20T13:00:00Z", "https")


def test_delegation_key_begins_in_the_past_and_ends_before_the_limit(delegated, given, clock):
    delegated.url("a.txt")
    ((start, end),) = given
    assert start <= NOW - datetime.timedelta(minutes=5)
    assert NOW + datetime.timedelta(days=6) < end < NOW + datetime.timedelta(days=7)


@pytest.mark.usefixtures("clock")
def test_delegation_key_begins_in_the_past_without_time_zones(delegated, given, monkeypatch):
    monkeypatch.setattr(timezone, "now", lambda: NOW.astimezone().replace(tzinfo=None))
    delegated.url("a.txt")
    ((start, _),) = given
    assert start == NOW - CLOCK_SKEW


def test_delegation_key_is_asked_for_once_in_its_life(delegated, given, clock):
    for _ in range(6):
        delegated.url("a.txt")
        storage_with(account_key=None, token_credential=delegated.token_credential).url("b.txt", 60)
        clock.move(days=1)
    assert len(given) == 1
    clock.move(days=1)
    query = fields(delegated.url("a.txt"))
    assert len(given) == 2
    assert query["sig"] == signature(query, "/blob/mine/files/a.txt", b"delegated 2")


def test_seven_days_are_the_most(delegated, given, clock):
    assert fields(delegated.url("a.txt", 7 * DAY))["se"] == "2026-11-27T12:00:00Z"
    with pytest.raises(ValueError, match="604800 seconds"):
        delegated.url("a.txt", 7 * DAY + 1)


def test_long_lives_do_not_ask_for_a_key_each(delegated, given, clock):
    ends = []
    for _ in range(5):
        ends.append(fields(delegated.url("a.txt", 7 * DAY))["se"])
        clock.move(minutes=10)
    assert len(given) == 1
    assert set(ends) == {"2026-11-27T12:00:00Z"}


def test_no_url_outlives_its_key(delegated, given, clock):
    for _ in range(20):
        query = fields(delegated.url("a.txt", 7 * DAY - 60))
        assert query["se"] <= query["ske"]
        clock.move(hours=7)


def test_public_member_gives_the_key(delegated, given, clock):
    assert delegated.get_user_delegation_key(NOW + datetime.timedelta(days=1)).signed_oid == "who"
    delegated.url("a.txt")
    assert len(given) == 1


def test_account_key_has_no_longest_life():
    assert storage_with().longest_expire is None
    assert storage_with(account_key=None, token_credential=Identity()).longest_expire == 7 * DAY
