"""Signed URLs that say as what the object is sent: nothing of them can be changed by who has one."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from cryptography.exceptions import InvalidSignature
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile

from storages.backends.azure_storage import AzureStorage
from storages.backends.b2 import B2Storage
from storages.backends.gcloud import GoogleCloudStorage
from storages.backends.memory import MemoryStorage
from storages.backends.s3 import S3Storage
from tests.buckets import WiredBucket
from tests.conftest import running
from tests.servers.azurite import Azurite
from tests.servers.b2 import B2
from tests.servers.google import Google
from tests.test_gcloud_urls import assert_signed

NAME = "dir/a b+c%2F#?ü.html"
TYPE = "application/octet-stream"
REFUSED = {400, 403, 404, 500}
DISPOSITION = 'attachment; filename="a \\"b\\".html"; filename*=UTF-8\'\'%C3%BC%20%22.html'


class Answer(NamedTuple):
    status: int
    headers: Any
    body: bytes


def get(url: str, method: str = "GET") -> Answer:
    request = urllib.request.Request(url, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return Answer(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


@pytest.fixture(scope="module")
def azurite(pytestconfig: pytest.Config) -> Iterator[Azurite]:
    yield from running(Azurite(), pytestconfig)


@pytest.fixture(scope="module")
def b2() -> Iterator[B2]:
    with B2() as server:
        yield server


def on_seaweedfs(request: pytest.FixtureRequest, **options: Any) -> S3Storage:
    server = request.getfixturevalue("seaweedfs")
    with WiredBucket(server) as bucket:
        return bucket.storage(**options)


def on_azurite(request: pytest.FixtureRequest, **options: Any) -> AzureStorage:
    server = request.getfixturevalue("azurite")
    return AzureStorage(
        connection_string=server.connection_string(), azure_container=server.make_bucket(), azure_ssl=False, **options
    )


def on_b2(request: pytest.FixtureRequest, **options: Any) -> B2Storage:
    server = request.getfixturevalue("b2")
    account = {"realm": server.url, "application_key_id": server.key.id, "application_key": server.key.secret}
    return B2Storage(**account, bucket=server.make_bucket(), account_info={"type": "memory"}, **options)


SERVICES: dict[str, Callable[..., Any]] = {"SeaweedFS": on_seaweedfs, "Azurite": on_azurite}


@pytest.fixture(params=[*SERVICES, "B2"])
def storage(request: pytest.FixtureRequest) -> Any:
    return {**SERVICES, "B2": on_b2}[request.param](request)


@pytest.fixture(params=SERVICES)
def exact(request: pytest.FixtureRequest) -> Any:
    """A storage whose signature is for one key alone."""
    return SERVICES[request.param](request)


def signed(storage: Any, name: str = NAME, **options: Any) -> str:
    given = {"content_type": TYPE, "content_disposition": DISPOSITION, "expire": 60, **options}
    return storage.download_url(name, **given)


def test_answer_has_the_type_and_the_disposition_of_the_url(storage):
    name = storage.save(NAME, ContentFile(b"<script>"))
    answer = get(signed(storage, name))
    assert (answer.status, answer.body) == (200, b"<script>")
    assert answer.headers["Content-Type"] == TYPE
    assert answer.headers["Content-Disposition"] == DISPOSITION


def changed(text: str, at: int) -> str:
    return f"{text[:at]}{'1' if text[at] != '1' else '2'}{text[at + 1 :]}"


def other_paths(url: str) -> Iterator[str]:
    """Yield URLs that differ from ``url`` in one byte of the path."""
    parts = urlsplit(url)
    for at in range(1, len(parts.path)):
        yield parts._replace(path=changed(parts.path, at)).geturl()


def other_queries(url: str) -> Iterator[str]:
    """Yield URLs that differ from ``url`` in one parameter, changed, longer or left out."""
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    for at, (name, value) in enumerate(pairs):
        for altered in ([(name, changed(value, len(value) // 2))], [(name, value + "x")], []):
            query = urlencode([*pairs[:at], *altered, *pairs[at + 1 :]], quote_via=quote)
            yield parts._replace(query=query).geturl()


@pytest.mark.threat("T-10")
@pytest.mark.parametrize("others", [other_paths, other_queries])
def test_no_byte_of_the_url_can_be_changed(exact, others):
    url = signed(exact, exact.save(NAME, ContentFile(b"content")))
    assert get(url).status == 200
    answers = {mutation: get(mutation) for mutation in others(url)}
    assert len(answers) >= 15
    # Azurite breaks on a path that is no UTF-8.
    assert {mutation: answer for mutation, answer in answers.items() if answer.status not in REFUSED} == {}
    assert Counter(answer.status for answer in answers.values()).most_common(1)[0][0] == 403


@pytest.mark.threat("T-10")
def test_url_is_for_reading_only(exact):
    url = signed(exact, exact.save(NAME, ContentFile(b"content")))
    assert {get(url, method).status for method in ("PUT", "DELETE", "POST")} <= {400, 403, 405}
    assert get(url).body == b"content"


@pytest.mark.parametrize("service", SERVICES)
def test_url_is_signed_where_others_are_not(service, request):
    unsigned = {"SeaweedFS": {"querystring_auth": False}, "Azurite": {"expiration_secs": None}}[service]
    storage = SERVICES[service](request, **unsigned)
    storage.save(NAME, ContentFile(b"content"))
    assert "?" not in storage.url(NAME)
    assert get(signed(storage)).body == b"content"


def test_url_of_s3_leads_past_the_cdn_and_ends_when_it_is_to(request):
    storage = on_seaweedfs(request, custom_domain="cdn.example.com", querystring_window=3600)
    storage.save(NAME, ContentFile(b"content"))
    assert get(signed(storage)).body == b"content"
    assert dict(parse_qsl(urlsplit(signed(storage)).query))["X-Amz-Expires"] == "60"


def test_url_of_google_has_both_in_its_signature():
    with Google() as google:
        storage = GoogleCloudStorage(bucket_name="bkt", credentials=google.key(), querystring_auth=False)
        url = signed(storage)
    assert_signed(url)
    query = dict(parse_qsl(urlsplit(url).query))
    assert (query["response-content-type"], query["response-content-disposition"]) == (TYPE, DISPOSITION)
    with pytest.raises(InvalidSignature):
        assert_signed(url.replace("octet-stream", "xhtml%2Bxml"))


def test_signature_of_b2_holds_for_all_names_that_begin_with_the_same(request):
    storage = on_b2(request)
    for name in ("a", "ab"):
        storage.save(name, ContentFile(name.encode()))
    assert get(signed(storage, "a").replace("/a?", "/ab?")).body == b"ab"
    assert storage.signs_prefixes


@pytest.mark.parametrize(
    ("storage", "reason"),
    [
        (MemoryStorage(), "MemoryStorage signs no URLs that set the content_"),
        (
            AzureStorage(account_name="a", azure_container="c", sas_token="sv=2022-11-02&sr=c&sp=r&sig=a"),
            "A SAS token can't be given 'content_",
        ),
    ],
)
def test_url_that_cannot_be_signed_is_a_value_error(storage, reason):
    with pytest.raises(ValueError, match=reason):
        signed(storage)


def test_life_is_limited_as_that_of_every_url(request):
    with pytest.raises(ValueError, match="at most"):
        signed(on_seaweedfs(request), expire=10 * 86400)
    with pytest.raises(SuspiciousFileOperation):
        signed(on_seaweedfs(request), "../a")
