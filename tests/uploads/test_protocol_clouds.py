"""The whole protocol on azurite, fake-gcs-server and the Dropbox fake: what a browser begins, sends and finishes."""

from __future__ import annotations

import ssl
import time
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.test import TestCase

from storages.backends.azure_storage import AzureStorage
from storages.backends.dropbox import DropboxStorage
from storages.backends.gcloud import CHUNK_UNIT, GoogleCloudStorage
from storages.contract import SignedRequest
from storages.uploads import claims
from storages.uploads.fields import delete_owned
from storages.uploads.sweep import sweep
from tests.conftest import running
from tests.servers.azurite import Azurite
from tests.servers.dropbox import TOKEN, FakeDropbox
from tests.servers.gcs import FakeGCS
from tests.servers.google import Google
from tests.uploads.conftest import code_of, row_of, sha256
from tests.uploads.models import Clip
from tests.uploads.sending import Answer, send

# The SDK calls it for each request that a refresh token may be needed for.
pytestmark = pytest.mark.filterwarnings("ignore:.*utcnow.. is deprecated:DeprecationWarning")

BODY = bytes(range(256)) * 2500  # 640 000 bytes
PART = CHUNK_UNIT


class Place:
    """A storage of one of the services, and how it is reached by others."""

    def __init__(self, storage: Any, context: ssl.SSLContext | None = None):
        self.storage = storage
        self._context = context

    def send(self, request: dict[str, Any], body: bytes, **headers: str) -> Answer:
        signed = SignedRequest(request["method"], request["url"], request["headers"])
        return send(signed, body, headers=headers, context=self._context)

    def files(self) -> list[str]:
        return sorted(entry.name for entry in self.storage.walk())


@pytest.fixture(scope="module")
def azure(request):
    for server in running(Azurite(), request.config):
        options = {"connection_string": server.connection_string(), "azure_container": server.make_bucket()}
        yield Place(AzureStorage(**options))


@pytest.fixture(scope="module")
def gcs(request):
    with Google() as google:
        for server in running(FakeGCS(), request.config):
            endpoint = {"api_endpoint": server.endpoint_url}
            bucket = server.make_bucket()
            yield Place(GoogleCloudStorage(bucket_name=bucket, credentials=google.key(), client_options=endpoint))


@pytest.fixture(scope="module")
def dropbox():
    with FakeDropbox() as fake, fake.reached():
        storage = DropboxStorage(oauth2_access_token=TOKEN, ca_certs=str(fake.certificate))
        yield Place(storage, ssl.create_default_context(cafile=str(fake.certificate)))


@pytest.fixture
def place(request, monkeypatch, settings, browser):
    """The service that a test names, in the place of the model's own storage."""
    place = request.getfixturevalue(request.param)
    field = Clip._meta.get_field("file")
    monkeypatch.setattr(field, "storage", place.storage)
    monkeypatch.setattr(field, "max_size", 10**6)
    settings.UPLOADS_PART_SIZE = PART
    place.storage.delete_many(place.files())
    return place


KINDS = [("azure", "put"), ("azure", "blocks"), ("gcs", "put"), ("gcs", "resumable"), ("dropbox", "link")]
SINGLE = [("azure", "put"), ("gcs", "put"), ("dropbox", "link")]


def begun(browser: Any, kind: str, **said: Any) -> Any:
    return browser.begun(BODY, accepts=[kind], content_type="application/x-clip", filename="a.clip", **said)


def request_of(browser: Any, begun: Any, number: int) -> Any:
    (part,) = browser.ok("parts", {"upload": begun["upload"], "numbers": [number]})["parts"]
    return part


def send_all(browser: Any, place: Place, begun: Any, body: bytes = BODY, skip: int = 0) -> None:
    """Send what begin asks for, from part ``skip`` on; a resumable one in chunks."""
    if "request" in begun:
        assert place.send(begun["request"], body).status in (200, 201)
        return
    for number in range(skip + 1, begun["parts"]["count"] + 1):
        start, end = (number - 1) * PART, min(number * PART, len(body))
        is_resumable = begun["kind"] == "resumable"
        span = {"Content-Range": f"bytes {start}-{end - 1}/{len(body)}"} if is_resumable else {}
        request = request_of(browser, begun, 1 if is_resumable else number)
        assert place.send(request, body[start:end], **span).status in (200, 201, 308)


@pytest.mark.parametrize(("place", "kind"), KINDS, indirect=["place"])
def test_file_is_stored_and_nothing_else(place, browser, kind):
    began = begun(browser, kind, checksum=sha256(BODY))
    assert began["kind"] == kind
    send_all(browser, place, began)
    done = browser.ok("finish", {"upload": began["upload"]})
    assert done["size"] == len(BODY)
    row = row_of(done)
    assert place.files() == [row.name]
    with place.storage.open(row.name) as file:
        assert file.read() == BODY
    assert place.storage.stat(row.name).content_type in ("application/x-clip", None)  # Dropbox has none
    assert browser.ok("finish", {"upload": began["upload"]}) == done


@pytest.mark.threat("T-24")
@pytest.mark.parametrize(("place", "kind"), KINDS, indirect=["place"])
def test_name_is_pinned_or_promoted_as_the_kind_promises(place, browser, kind):
    began = begun(browser, kind)
    assert bool(row_of(began).staging) == (began["enforced"]["overwrite"] == "promote") == (kind == "blocks")


@pytest.mark.threat("T-40")
@pytest.mark.parametrize(("place", "kind"), [("azure", "blocks")], indirect=["place"])
def test_upload_goes_on_after_a_reload(place, browser, kind):
    began = begun(browser, kind)
    first = request_of(browser, began, 1)
    assert place.send(first, BODY[:PART]).status == 201
    status = browser.ok("status", {"upload": began["upload"]})
    assert status["received"] == [{"number": 1, "size": PART}]
    assert code_of(browser.call("finish", {"upload": began["upload"]})) == (422, "parts_missing")
    send_all(browser, place, began, skip=1)
    done = browser.ok("finish", {"upload": began["upload"]})
    with place.storage.open(row_of(done).name) as file:
        assert file.read() == BODY


@pytest.mark.threat("T-25")
@pytest.mark.parametrize(("place", "kind"), SINGLE, indirect=["place"])
@pytest.mark.parametrize("body", [BODY + b"!", BODY[:-1], b""], ids=["longer", "shorter", "empty"])
def test_other_size_is_refused_and_deleted(place, browser, kind, body):
    """By the end at the latest; of these three services none looked at it before."""
    began = begun(browser, kind)
    send_all(browser, place, began, body)
    assert code_of(browser.call("finish", {"upload": began["upload"]})) == (422, "size_mismatch")
    assert place.files() == []


@pytest.mark.threat("T-25")
@pytest.mark.parametrize(("place", "kind"), SINGLE[:2], indirect=["place"])
def test_other_type_is_refused_and_deleted(place, browser, kind):
    began = begun(browser, kind)
    assert place.send(began["request"], BODY, **{"Content-Type": "text/html"}).status in (200, 201)
    assert code_of(browser.call("finish", {"upload": began["upload"]})) == (422, "type_mismatch")
    assert place.files() == []


ADDITIONS = [
    ("azure", {"x-ms-blob-cache-control": "max-age=9"}, "cache-control"),
    ("azure", {"x-ms-blob-content-disposition": "inline"}, "content-disposition"),
    ("azure", {"x-ms-blob-content-language": "xx"}, "content-language"),
    ("azure", {"x-ms-meta-A": "b"}, "x-ms-meta-a"),
    ("azure", {"x-ms-access-tier": "Archive"}, "x-ms-access-tier"),
    ("gcs", {"Cache-Control": "max-age=9"}, "cache-control"),
    ("gcs", {"Content-Disposition": "inline"}, "content-disposition"),
    ("gcs", {"Content-Language": "xx"}, "content-language"),
    ("gcs", {"x-goog-meta-A": "b"}, "x-goog-meta-a"),
]


@pytest.mark.threat("T-27")
@pytest.mark.parametrize(("place", "added", "told"), ADDITIONS, indirect=["place"], ids=str)
def test_addition_to_a_put_is_refused_and_deleted(place, browser, added, told):
    """Azure's SAS names no headers, and a signature of Google's none but its own: those of HTTP can be added."""
    began = begun(browser, "put")
    assert place.send(began["request"], BODY, **added).status in (200, 201)
    response = browser.call("finish", {"upload": began["upload"]})
    assert code_of(response) == (422, "type_mismatch")
    assert told in response.json()["error"]["detail"]
    assert place.files() == []


@pytest.mark.threat("T-27")
@pytest.mark.parametrize("place", ["azure"], indirect=True)
def test_another_kind_of_blob_is_refused_and_deleted(place, browser):
    """One of pages has its length from the start, and no bytes."""
    began = begun(browser, "put")
    pages = {"x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": str(len(BODY))}
    assert place.send(began["request"], b"", **pages).status == 201
    response = browser.call("finish", {"upload": began["upload"]})
    assert code_of(response) == (422, "type_mismatch")
    assert "x-ms-blob-type" in response.json()["error"]["detail"]
    assert place.files() == []


@pytest.mark.parametrize(("place", "kind"), KINDS[:4], indirect=["place"])
def test_what_the_storage_gives_its_objects_is_no_addition(place, browser, kind, monkeypatch):
    def own(key: str, content: Any) -> dict[str, Any]:
        at = {"Made_by": "us", "At": str(time.time_ns())}  # another one every time
        return {"cache_control": "max-age=60", "content_disposition": "attachment", "metadata": at}

    monkeypatch.setattr(place.storage, "object_parameters", own)
    began = begun(browser, kind)
    send_all(browser, place, began)
    row = row_of(browser.ok("finish", {"upload": began["upload"]}))
    told = dict(place.storage.stat(row.name).headers)
    assert (told["cache-control"], told["content-disposition"], "us" in told.values()) == (
        "max-age=60",
        "attachment",
        True,
    )


@pytest.mark.threat("T-27")
@pytest.mark.parametrize(
    ("place", "header"), [("azure", "x-ms-blob-cache-control"), ("gcs", "Cache-Control")], indirect=["place"]
)
def test_value_of_a_header_is_the_storages_whatever_the_sender_gave(place, browser, header, monkeypatch):
    monkeypatch.setattr(place.storage, "object_parameters", {"cache_control": "max-age=60"})
    began = begun(browser, "put")
    assert place.send(began["request"], BODY, **{header: "max-age=9"}).status in (200, 201)
    row = row_of(browser.ok("finish", {"upload": began["upload"]}))
    assert place.storage.stat(row.name).headers == {"cache-control": "max-age=60"}


def snapped(browser: Any, place: Place) -> Any:
    """Begin and send an upload to Azure, and take a snapshot of it with what was granted for sending."""
    began = begun(browser, "put")
    send_all(browser, place, began)
    request = {**began["request"], "url": f"{began['request']['url']}&comp=snapshot", "headers": {}}
    assert place.send(request, b"").status == 201
    return began


@pytest.mark.threat("T-30")
@pytest.mark.parametrize("place", ["azure"], indirect=True)
@pytest.mark.parametrize("end", ["aborted", "refused", "swept", "replaced"])
def test_snapshots_by_the_sender_keep_nothing(place, browser, clock, monkeypatch, end):
    began = snapped(browser, place)
    if end == "aborted":
        browser.ok("abort", {"upload": began["upload"]})
    elif end == "refused":
        monkeypatch.setattr("storages.uploads.finishing.additions.of", lambda *args: ["cache-control"])
        assert code_of(browser.call("finish", {"upload": began["upload"]})) == (422, "type_mismatch")
    elif end == "swept":
        clock.forward(2 * 24 * 3600)
        report = sweep()
        assert (report.problems, report.rows) == ([], 1)
    else:
        upload = row_of(browser.ok("finish", {"upload": began["upload"]}))
        claims.take(upload)
        field = Clip._meta.get_field("file")
        with TestCase.captureOnCommitCallbacks(execute=True):
            delete_owned(field, upload.name)
    assert place.files() == []


@pytest.mark.parametrize("place", ["azure"], indirect=True)
def test_snapshots_of_a_projects_own_blob_keep_it(place):
    place.storage.save("own.txt", ContentFile(b"kept"))
    with place.storage.client.get_blob_client("own.txt") as blob:
        blob.create_snapshot()
        with pytest.raises(Exception, match="SnapshotsPresent"):
            place.storage.delete("own.txt")
        assert place.files() == ["own.txt"]
        blob.delete_blob(delete_snapshots="include")


@pytest.mark.threat("T-35")
@pytest.mark.parametrize(("place", "kind"), KINDS, indirect=["place"])
def test_damaged_byte_is_refused_and_deleted(place, browser, kind):
    began = begun(browser, kind, checksum=sha256(BODY))
    send_all(browser, place, began, BODY[:300_000] + b"\xff" + BODY[300_001:])
    assert code_of(browser.call("finish", {"upload": began["upload"]})) == (422, "checksum_mismatch")
    assert place.files() == []


@pytest.mark.threat("T-24")
@pytest.mark.parametrize(
    ("place", "kind"), [("azure", "put"), ("azure", "blocks"), ("dropbox", "link")], indirect=["place"]
)
def test_grant_changes_nothing_after_the_end(place, browser, kind):
    began = begun(browser, kind)
    send_all(browser, place, began)
    late = began.get("request") or request_of(browser, began, 1)
    done = browser.ok("finish", {"upload": began["upload"]})
    whole = {"url": late["url"].partition("&comp=")[0], "headers": {"x-ms-blob-type": "BlockBlob", **late["headers"]}}
    place.send({**late, **whole}, bytes(len(BODY)))
    with place.storage.open(row_of(done).name) as file:
        assert file.read() == BODY


@pytest.mark.parametrize(("place", "kind"), KINDS, indirect=["place"])
def test_abandoned_upload_leaves_nothing(place, browser, kind):
    place.storage.save("kept.txt", ContentFile(b"kept"))
    began = begun(browser, kind)
    send_all(browser, place, began)
    assert browser.call("abort", {"upload": began["upload"]}).status_code == 204
    assert place.files() == ["kept.txt"]


@pytest.mark.parametrize(("place", "kind"), SINGLE, indirect=["place"])
def test_empty_file_is_taken_where_the_field_takes_it(place, browser, kind, monkeypatch):
    monkeypatch.setattr(Clip._meta.get_field("file"), "min_size", 0)
    began = browser.begun(b"", accepts=[kind], checksum=sha256(b""))
    send_all(browser, place, began, b"")
    row = row_of(browser.ok("finish", {"upload": began["upload"]}))
    assert (place.files(), place.storage.size(row.name)) == ([row.name], 0)
