"""What a browser may do with what GoogleCloudStorage signs: on a bucket that says no, and on fake-gcs-server.

fake-gcs-server looks at no signature, no condition and no range of sizes, and takes a question about a session for its
end, so that what it lets pass is told apart in the tables. The other server follows Google's documentation.
"""

from __future__ import annotations

import base64
import datetime
import time
import traceback
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from google.auth.credentials import AnonymousCredentials
from google.oauth2.credentials import Credentials as UserCredentials

from storages.backends.gcloud import CHUNK_UNIT, LARGEST_OBJECT, GoogleCloudStorage
from storages.contract import Enforced, PartsMissing, Received, SignedRequest, UploadLimits, UploadTerms
from tests.conftest import running
from tests.servers.gcs import FakeGCS
from tests.servers.google import ACCOUNT, TOKEN, Answer, Google, Scripted, private_pem
from tests.servers.google_uploads import Bucket
from tests.test_gcloud_urls import assert_signed
from tests.uploads.sending import break_off, send

TERMS = UploadTerms(size=3, content_type="image/png", seconds=300)
CONTENT = bytes(range(256)) * 2500  # 640 000 bytes: two parts and a half
PAGE = "https://page.example.com"
LONG = UploadTerms(len(CONTENT), "video/x-mine", 300, part_size=CHUNK_UNIT, origin=PAGE)


@pytest.fixture(scope="module")
def google():
    with Google() as google:
        yield google


@pytest.fixture
def strict():
    """A bucket that refuses what Google's documentation says."""
    with Scripted(Bucket()) as server:
        server.bucket = server.script
        yield server


@pytest.fixture
def storage(google, strict):
    return made(google, strict.url)


@pytest.fixture(scope="module")
def fake(request):
    yield from running(FakeGCS(), request.config)


@pytest.fixture
def emulated(google, fake):
    """A storage on a bucket of fake-gcs-server."""
    return made(google, fake.endpoint_url, bucket_name=fake.make_bucket())


def made(google, url: str, **options: Any) -> GoogleCloudStorage:
    given = {"bucket_name": "bkt", "credentials": google.key(), "client_options": {"api_endpoint": url}}
    return GoogleCloudStorage(**{**given, **options})


def contents(strict) -> dict[str, bytes]:
    return {key: found.content for key, found in strict.bucket.objects.items()}


def query_of(request: SignedRequest) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(request.url).query).items()}


# What is offered


@pytest.mark.threat("T-25")
def test_service_keeps_size_type_and_a_second_write(google):
    offered = made(google, "https://storage.googleapis.com").upload_kinds
    chunks = UploadLimits(LARGEST_OBJECT, smallest_part=CHUNK_UNIT, part_multiple=CHUNK_UNIT)
    assert offered == {
        "put": Enforced("exact", "signed", "none", "denied", UploadLimits(LARGEST_OBJECT)),
        "resumable": Enforced("exact", "signed", "none", "denied", chunks),
    }


class Shaping(GoogleCloudStorage):
    def get_object_parameters(self, name):
        return {"acl": "publicRead"}


@pytest.mark.threat("T-34")
@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (GoogleCloudStorage, {"default_acl": "publicRead"}),
        (GoogleCloudStorage, {"object_parameters": {"acl": "publicRead"}}),
        (GoogleCloudStorage, {"object_parameters": lambda key, content: {"cache_control": "no-cache"}}),
        (Shaping, {}),
    ],
)
@pytest.mark.parametrize("kind", ["put", "resumable"])
def test_what_new_objects_are_given_is_given_by_a_copy(google, strict, cls, options, kind):
    storage = cls(bucket_name="bkt", credentials=google.key(), client_options={"api_endpoint": strict.url}, **options)
    assert storage.upload_kinds[kind].overwrite == "promote"
    request = storage.presign_upload("a.png", "put", TERMS)
    storage.open_upload("b.bin", "resumable", LONG)
    assert "acl" not in f"{request.headers} {request.url} {strict.requests[-1]}".lower()


@pytest.mark.parametrize(
    ("credentials", "kinds"),
    [
        (AnonymousCredentials(), ["resumable"]),
        (UserCredentials(TOKEN), ["resumable"]),
    ],
)
def test_who_cannot_sign_opens_sessions_only(google, credentials, kinds):
    storage = made(google, "https://storage.googleapis.com", credentials=credentials)
    assert list(storage.upload_kinds) == kinds
    with pytest.raises(ValueError, match="offers none"):
        storage.presign_upload("a.png", "put", TERMS)


def test_iam_signs_for_who_has_no_key(google, strict):
    storage = made(google, strict.url, credentials=UserCredentials(TOKEN), sa_email=ACCOUNT)
    assert send(storage.presign_upload("a.png", "put", TERMS), b"abc").status == 200


@pytest.mark.parametrize("part_size", [CHUNK_UNIT - 1, CHUNK_UNIT + 1, 1])
def test_parts_are_multiples_of_what_the_service_keeps(storage, part_size):
    with pytest.raises(ValueError, match=str(CHUNK_UNIT)):
        storage.open_upload("a", "resumable", UploadTerms(10**9, "video/mp4", 300, part_size=part_size))


# put


@pytest.mark.threat("T-25")
@pytest.mark.parametrize("location", ["", "site/media"])
@pytest.mark.parametrize("name", ["a.png", "dir/with space.png", "100%25.png", "文件 é.png"])
def test_everything_is_in_the_signature(google, name, location):
    storage = made(google, "https://storage.googleapis.com", location=location)
    request = storage.presign_upload(name, "put", TERMS)
    signed = {
        "content-type": "image/png",
        "x-goog-content-length-range": "3,3",
        "x-goog-if-generation-match": "0",
    }
    assert request.method == "PUT"
    assert {header.lower(): value for header, value in request.headers.items()} == signed
    assert query_of(request)["X-Goog-SignedHeaders"].split(";") == sorted([*signed, "host"])
    assert query_of(request)["X-Goog-Expires"] == "300"
    assert_signed(request.url, "PUT", signed)


@pytest.mark.threat("T-22")
def test_host_of_other_urls_takes_no_uploads(google):
    storage = made(google, "https://storage.googleapis.com", custom_endpoint="https://cdn.example.com")
    assert storage.presign_upload("a.png", "put", TERMS).url.startswith("https://storage.googleapis.com/bkt/a.png?")


@pytest.mark.parametrize("name", ["a.png", "dir/with space.png", "100%25.png", "文件 é.png"])
def test_put_makes_the_object(storage, strict, name):
    assert send(storage.presign_upload(name, "put", TERMS), b"abc").status == 200
    assert contents(strict) == {name: b"abc"}
    stat = storage.stat(name)
    assert (stat.size, stat.content_type) == (3, "image/png")


@pytest.mark.parametrize("content", [b"", b"abc"])
def test_put_makes_the_object_on_fake_gcs_server(emulated, content):
    terms = UploadTerms(len(content), "image/png", 300)
    assert send(emulated.presign_upload("dir/a b.png", "put", terms), content).status == 200
    with emulated.open("dir/a b.png") as file:
        assert file.read() == content
    assert emulated.stat("dir/a b.png").content_type == "image/png"


def bent(url: str, old: str, new: str) -> str:
    assert old in url
    return url.replace(old, new)


# What becomes of the request, the body, the answer of the documentation, and that of fake-gcs-server.
TAMPERED: dict[str, tuple[Any, bytes, int, int]] = {
    "a byte more": (lambda r: {}, b"abcd", 400, 200),
    "a byte less": (lambda r: {}, b"ab", 400, 200),
    "a hundred times as much": (lambda r: {}, b"abc" * 100, 400, 200),
    "nothing": (lambda r: {}, b"", 400, 200),
    "another type": (lambda r: {"headers": {"Content-Type": "text/html"}}, b"abc", 403, 200),
    "no type": (lambda r: {"headers": {"Content-Type": None}}, b"abc", 403, 200),
    "another range": (lambda r: {"headers": {"x-goog-content-length-range": "0,999"}}, b"abc", 403, 200),
    "no range": (lambda r: {"headers": {"x-goog-content-length-range": None}}, b"abcdef", 403, 200),
    "no condition": (lambda r: {"headers": {"x-goog-if-generation-match": None}}, b"abc", 403, 200),
    "another condition": (lambda r: {"headers": {"x-goog-if-generation-match": "1"}}, b"abc", 403, 200),
    "an ACL": (lambda r: {"headers": {"x-goog-acl": "public-read"}}, b"abc", 403, 200),
    "metadata": (lambda r: {"headers": {"x-goog-meta-owner": "eve"}}, b"abc", 403, 200),
    "a source to copy": (lambda r: {"headers": {"x-goog-copy-source": "/bkt/other"}}, b"abc", 403, 200),
    "another key": (lambda r: {"url": bent(r.url, "/a.png?", "/b.png?")}, b"abc", 403, 200),
    "a key above": (lambda r: {"url": bent(r.url, "/a.png?", "/../a.png?")}, b"abc", 403, 200),
    "another bucket": (lambda r: {"url": bent(r.url, "/a.png?", "x/a.png?")}, b"abc", 403, 404),
    "a longer life": (lambda r: {"url": bent(r.url, "Expires=300", "Expires=604800")}, b"abc", 403, 200),
    "another day": (lambda r: {"url": bent(r.url, "X-Goog-Date=20", "X-Goog-Date=21")}, b"abc", 403, 200),
    "one more parameter": (lambda r: {"url": f"{r.url}&userProject=mine"}, b"abc", 403, 200),
    "fewer signed headers": (lambda r: {"url": bent(r.url, "content-type%3B", "")}, b"abc", 403, 200),
    "another signature": (lambda r: {"url": r.url[:-4] + "0000"}, b"abc", 403, 200),
    "DELETE": (lambda r: {"method": "DELETE"}, b"", 403, 404),
    "POST": (lambda r: {"method": "POST"}, b"abc", 403, 500),
    "the start of a session": (lambda r: {"headers": {"x-goog-resumable": "start"}}, b"abc", 403, 200),
}


@pytest.mark.threat("T-25")
@pytest.mark.parametrize(("change", "body", "status", "_"), TAMPERED.values(), ids=TAMPERED)
def test_changed_put_is_refused(storage, strict, change, body, status, _):
    request = storage.presign_upload("a.png", "put", TERMS)
    assert send(request, body, **change(request)).status == status
    assert contents(strict) == {}
    assert send(request, b"abc").status == 200  # it was the change


@pytest.mark.parametrize(("change", "body", "_", "status"), TAMPERED.values(), ids=TAMPERED)
def test_what_fake_gcs_server_lets_pass_is_known(emulated, change, body, _, status):
    request = emulated.presign_upload("a.png", "put", TERMS)
    assert send(request, body, **change(request)).status == status


@pytest.mark.threat("T-22")
def test_signature_ends(storage, strict):
    request = storage.presign_upload("a.png", "put", TERMS)
    then = datetime.datetime.now(datetime.timezone.utc)
    strict.bucket.now = lambda: then + datetime.timedelta(seconds=301)
    assert send(request, b"abc").status == 400
    strict.bucket.now = lambda: then + datetime.timedelta(seconds=290)
    assert send(request, b"abc").status == 200


@pytest.mark.threat("T-24")
def test_second_put_changes_nothing(storage, strict):
    request = storage.presign_upload("a.png", "put", TERMS)
    assert [send(request, body).status for body in (b"abc", b"xyz")] == [200, 412]
    assert send(storage.presign_upload("a.png", "put", TERMS), b"xyz").status == 412
    assert contents(strict) == {"a.png": b"abc"}


@pytest.mark.threat("T-33")
def test_grant_holds_no_secret(storage):
    said = repr(storage.presign_upload("a.png", "put", TERMS).__dict__)
    secrets = [TOKEN, private_pem(), *private_pem().splitlines()[1:-1]]
    assert [secret for secret in secrets if secret in said or base64.b64encode(secret.encode()).decode() in said] == []


# resumable


def content_range(start: int, end: int) -> dict[str, str]:
    return {"Content-Range": f"bytes {start}-{end - 1}/{len(CONTENT)}"}


@pytest.fixture
def session(storage):
    return storage.open_upload("v.mp4", "resumable", LONG)


@pytest.fixture
def part(storage, session):
    return storage.presign_part("v.mp4", "resumable", session, 1, LONG)


def put(part: SignedRequest, start: int, end: int, **options: Any) -> Any:
    return send(part, CONTENT[start:end], headers=content_range(start, end), **options)


def arrived(storage, session, least: int) -> int:
    """Return the offset, once the server has looked at what a broken connection brought it."""
    deadline = time.monotonic() + 10
    while True:
        offset = sum(part.size for part in storage.received_parts("v.mp4", "resumable", session))
        if offset >= least or time.monotonic() > deadline:
            return offset
        time.sleep(0.02)


@pytest.mark.threat("T-25")
def test_server_opens_the_session_with_everything(strict, session):
    (request,) = [one for one in strict.requests if one.method == "POST"]
    assert parse_qs(urlsplit(request.path).query)["ifGenerationMatch"] == ["0"]
    wanted = {"X-Upload-Content-Length": "640000", "X-Upload-Content-Type": "video/x-mine", "Origin": PAGE}
    assert {name: request.headers[name] for name in wanted} == wanted
    assert b'"name": "v.mp4"' in request.body
    assert b"video/x-mine" in request.body


def test_request_for_a_part_is_the_session_and_nothing_else(part, session):
    assert (part.method, part.url, part.headers) == ("PUT", session, {})


def test_session_takes_all_in_one_request(storage, strict, session, part):
    assert put(part, 0, len(CONTENT)).status == 200
    storage.close_upload("v.mp4", "resumable", session, LONG)
    assert contents(strict) == {"v.mp4": CONTENT}
    assert storage.stat("v.mp4").content_type == "video/x-mine"


def test_upload_goes_on_after_a_broken_connection(storage, strict, session, part):
    break_off(part, CONTENT, 400_000, content_range(0, len(CONTENT)))
    offset = arrived(storage, session, 1)
    assert offset == CHUNK_UNIT
    assert storage.received_parts("v.mp4", "resumable", session) == [Received(1, offset)]
    again = storage.presign_part("v.mp4", "resumable", session, 1, LONG)
    assert put(again, offset, len(CONTENT)).status == 200
    storage.close_upload("v.mp4", "resumable", session, LONG)
    assert contents(strict) == {"v.mp4": CONTENT}


def test_browser_goes_on_by_the_answers_of_the_session(storage, strict, session, part):
    first = put(part, 0, CHUNK_UNIT)
    assert (first.status, first.headers["Range"]) == (308, f"bytes=0-{CHUNK_UNIT - 1}")
    assert (first.headers["Access-Control-Allow-Origin"], first.headers["Access-Control-Expose-Headers"]) == (
        PAGE,
        "Range",
    )
    assert put(part, CHUNK_UNIT, 2 * CHUNK_UNIT).status == 308
    assert put(part, 2 * CHUNK_UNIT, len(CONTENT)).status == 200
    assert contents(strict) == {"v.mp4": CONTENT}


def test_nothing_has_arrived_at_first(storage, session):
    assert storage.received_parts("v.mp4", "resumable", session) == []


def test_everything_has_arrived_at_last(storage, session, part):
    put(part, 0, len(CONTENT))
    assert storage.received_parts("v.mp4", "resumable", session) == [Received(1, len(CONTENT))]


@pytest.mark.parametrize(("sent", "numbers"), [(0, [1, 2, 3]), (CHUNK_UNIT, [2, 3]), (2 * CHUNK_UNIT, [3])])
def test_session_is_not_closed_before_its_end(storage, strict, session, part, sent, numbers):
    if sent:
        put(part, 0, sent)
    with pytest.raises(PartsMissing) as error:
        storage.close_upload("v.mp4", "resumable", session, LONG)
    assert error.value.numbers == numbers
    assert contents(strict) == {}
    assert put(part, sent, len(CONTENT)).status == 200  # nor has it ended
    storage.close_upload("v.mp4", "resumable", session, LONG)


def test_closing_twice_is_silent(storage, session, part):
    put(part, 0, len(CONTENT))
    for _ in range(2):
        storage.close_upload("v.mp4", "resumable", session, LONG)


def test_session_that_was_forgotten_after_its_end_does_not_matter(storage, strict, session, part):
    put(part, 0, len(CONTENT))
    strict.bucket.sessions.clear()
    storage.close_upload("v.mp4", "resumable", session, LONG)
    assert storage.received_parts("v.mp4", "resumable", session) == [Received(1, len(CONTENT))]


@pytest.mark.parametrize("deed", ["received_parts", "close_upload"])
def test_session_that_is_gone_is_not_found(storage, strict, session, deed):
    strict.bucket.sessions.clear()
    terms = (LONG,) if deed == "close_upload" else ()
    with pytest.raises(FileNotFoundError):
        getattr(storage, deed)("v.mp4", "resumable", session, *terms)


def test_abandoned_session_is_gone(storage, strict, session, part):
    put(part, 0, CHUNK_UNIT)
    for _ in range(2):
        storage.abandon_upload("v.mp4", "resumable", session)
    assert strict.bucket.sessions == {}
    assert put(part, CHUNK_UNIT, len(CONTENT)).status == 404
    assert contents(strict) == {}


@pytest.mark.threat("T-24")
def test_session_replaces_nothing(storage, strict, session, part):
    strict.bucket.write("v.mp4", b"somebody else's", "text/plain")
    assert put(part, 0, len(CONTENT)).status == 412
    assert contents(strict) == {"v.mp4": b"somebody else's"}
    with pytest.raises(FileExistsError):
        storage.close_upload("v.mp4", "resumable", session, LONG)


@pytest.mark.threat("T-24")
def test_session_that_is_complete_takes_no_other_bytes(strict, session, part):
    put(part, 0, len(CONTENT))
    send(part, bytes(len(CONTENT)), headers=content_range(0, len(CONTENT)))
    assert contents(strict) == {"v.mp4": CONTENT}


BENT_RANGES = {
    "more than was said": f"bytes 0-{len(CONTENT)}/{len(CONTENT) + 1}",
    "less than was said": f"bytes 0-{CHUNK_UNIT - 1}/{CHUNK_UNIT}",
    "past the end": f"bytes 0-{len(CONTENT)}/{len(CONTENT)}",
    "a gap": f"bytes {CHUNK_UNIT}-{2 * CHUNK_UNIT - 1}/{len(CONTENT)}",
}


@pytest.mark.threat("T-25")
@pytest.mark.parametrize("span", BENT_RANGES.values(), ids=BENT_RANGES)
def test_session_keeps_the_size(storage, strict, session, part, span):
    first, last = map(int, span.removeprefix("bytes ").partition("/")[0].split("-"))
    assert send(part, bytes(last - first + 1), headers={"Content-Range": span}).status == 400
    assert contents(strict) == {}
    assert storage.received_parts("v.mp4", "resumable", session) == []


@pytest.mark.threat("T-35")
def test_part_sent_twice_is_there_once(storage, strict, session, part):
    for start, end in [(0, CHUNK_UNIT), (0, CHUNK_UNIT), (CHUNK_UNIT, len(CONTENT))]:
        put(part, start, end)
    storage.close_upload("v.mp4", "resumable", session, LONG)
    assert contents(strict) == {"v.mp4": CONTENT}


@pytest.mark.threat("T-33")
def test_error_does_not_tell_the_session(storage, strict, session):
    strict.script = lambda request: Answer(403, {"error": {"code": 403, "message": f"no {session}"}})
    with pytest.raises(PermissionError) as error:
        storage.received_parts("v.mp4", "resumable", session)
    assert session.partition("upload_id=")[2] not in f"{error.value} {error.value.__cause__}"


@pytest.mark.threat("T-33")
@pytest.mark.parametrize("method", ["received_parts", "abandon_upload"])
def test_connection_that_fails_does_not_tell_the_session(google, strict, method):
    storage = made(google, strict.url, connect_timeout=1, retry_deadline=0.1)
    session = f"http://127.0.0.1:1/upload/b/bkt/o?uploadType=resumable&upload_id={'S' * 40}"
    with pytest.raises(ConnectionError) as error:
        getattr(storage, method)("v.mp4", "resumable", session)
    assert "upload_id=" in str(error.value)
    assert "SSS" not in "".join(traceback.format_exception(error.value))  # as a log has it


@pytest.mark.threat("T-33")
def test_session_is_not_in_a_repr(part, session):
    assert session not in repr(part)


# resumable, on fake-gcs-server


def test_session_on_fake_gcs_server_takes_an_upload_in_two(emulated):
    state = emulated.open_upload("v.mp4", "resumable", LONG)
    part = emulated.presign_part("v.mp4", "resumable", state, 1, LONG)
    with pytest.raises(PartsMissing):
        # Before a byte is there: later, the question would end the session.
        emulated.close_upload("w.mp4", "resumable", emulated.open_upload("w.mp4", "resumable", LONG), LONG)
    first = put(part, 0, CHUNK_UNIT)
    assert (first.status, first.headers["Range"]) == (308, f"bytes=0-{CHUNK_UNIT - 1}")
    again = emulated.presign_part("v.mp4", "resumable", state, 1, LONG)
    assert put(again, CHUNK_UNIT, len(CONTENT)).status == 200
    emulated.close_upload("v.mp4", "resumable", state, LONG)
    with emulated.open("v.mp4") as file:
        assert file.read() == CONTENT
    assert emulated.stat("v.mp4").content_type == "video/x-mine"
    assert emulated.received_parts("v.mp4", "resumable", state) == [Received(1, len(CONTENT))]


def test_session_on_fake_gcs_server_can_be_abandoned(emulated):
    state = emulated.open_upload("v.mp4", "resumable", LONG)
    put(emulated.presign_part("v.mp4", "resumable", state, 1, LONG), 0, CHUNK_UNIT)
    emulated.abandon_upload("v.mp4", "resumable", state)
    assert not emulated.exists("v.mp4")


def test_fake_gcs_server_lets_any_page_use_a_session(emulated):
    """It asks neither the bucket's CORS nor the origin that the session was opened for."""
    state = emulated.open_upload("v.mp4", "resumable", LONG)
    part = emulated.presign_part("v.mp4", "resumable", state, 1, LONG)
    for origin in (PAGE, "https://evil.example.com"):
        asked = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
        headers = {**asked, "Access-Control-Request-Headers": "content-range"}
        preflight = send(part, method="OPTIONS", headers=headers)
        assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (200, "*")


@pytest.mark.threat("T-24")
def test_fake_gcs_server_does_not_ask_for_the_generation_so_that_close_looks_at_the_size(emulated):
    state = emulated.open_upload("v.mp4", "resumable", LONG)
    part = emulated.presign_part("v.mp4", "resumable", state, 1, LONG)
    assert send(part, b"short", headers={"Content-Range": "bytes 0-4/5"}).status == 200
    with pytest.raises(FileExistsError):
        emulated.close_upload("v.mp4", "resumable", state, LONG)
