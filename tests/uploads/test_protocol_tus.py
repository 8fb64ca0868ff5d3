"""The protocol for storages that nobody else can write to: begin and finish are the same, the bytes come here."""

from __future__ import annotations

import pytest
from django.core.files.storage import FileSystemStorage

from storages.backends.memory import MemoryStorage
from storages.contract import Capabilities
from storages.uploads import spool
from storages.uploads.models import State
from tests.uploads.conftest import code_of, row_of, sha256
from tests.uploads.models import Note
from tests.uploads.test_scanning import EICAR

BODY = b"some bytes of a file"
NOTE = "tests_uploads.Note.file"


@pytest.fixture(autouse=True)
def storage(settings, tmp_path, monkeypatch):
    settings.UPLOADS_SPOOL = tmp_path / "spool"
    storage = MemoryStorage()
    monkeypatch.setattr(Note._meta.get_field("file"), "storage", storage)
    return storage


def spooled():
    return list(spool.directory().glob("*"))


def test_file_comes_through_the_server(browser, storage):
    begun = browser.begun(BODY, NOTE)
    assert begun["kind"] == "tus"
    assert begun["enforced"]["size"] == "exact"
    assert (begun["parts"]["count"], begun["parts"]["concurrency"], begun["parts"]["batch"]) == (1, 1, 1)
    browser.send(begun, BODY)
    status = browser.ok("status", {"upload": begun["upload"]})
    assert (status["offset"], status["request"]) == (20, begun["request"])
    done = browser.ok("finish", {"upload": begun["upload"]})
    assert browser.ok("finish", {"upload": begun["upload"]}) == done
    with storage.open(row_of(done).name) as file:
        assert file.read() == BODY
    assert spooled() == []


@pytest.mark.threat("T-27")
@pytest.mark.threat("T-29")
@pytest.mark.threat("T-35")
@pytest.mark.parametrize(
    ("body", "said", "code"),
    [
        (b"<html><script>", {"filename": "a.png", "content_type": "image/png"}, "type_mismatch"),
        (BODY, {"checksum": sha256(b"other")}, "checksum_mismatch"),
        (EICAR, {}, "content_rejected"),
    ],
)
def test_what_is_wrong_never_reaches_the_storage(browser, storage, settings, body, said, code):
    settings.UPLOADS_SCANNER = "tests.uploads.test_scanning.stub"
    begun = browser.begun(body, NOTE, **said)
    browser.send(begun, body)
    for _ in range(2):
        assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, code)
    assert not storage.client
    assert spooled() == []
    assert row_of(begun).state == State.REJECTED


def test_file_that_is_not_whole_waits_for_the_rest(browser, storage):
    begun = browser.begun(BODY, NOTE)
    browser.send(begun, BODY[:5])
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, "parts_missing")
    browser.send(begun, BODY[5:], **{"Upload-Offset": "5"})
    browser.ok("finish", {"upload": begun["upload"]})
    assert [data for data, stat in storage.client.values()] == [BODY]


def test_scanner_that_takes_its_time_keeps_the_file_here(browser, storage, settings):
    from tests.uploads.test_scanning import WAITING

    settings.UPLOADS_SCANNER = "tests.uploads.test_scanning.slow"
    WAITING[:] = [None]
    begun = browser.begun(BODY, NOTE)
    browser.send(begun, BODY)
    assert browser.call("finish", {"upload": begun["upload"]}).status_code == 202
    assert not storage.client
    browser.ok("finish", {"upload": begun["upload"]})
    assert len(storage.client) == 1
    assert spooled() == []


@pytest.mark.parametrize("end", ["begun", "sent", "finished"])
def test_abort_leaves_nothing(browser, storage, end):
    begun = browser.begun(BODY, NOTE)
    if end != "begun":
        browser.send(begun, BODY)
    if end == "finished":
        browser.ok("finish", {"upload": begun["upload"]})
    browser.ok("abort", {"upload": begun["upload"]})
    browser.ok("abort", {"upload": begun["upload"]})
    assert not storage.client
    assert spooled() == []


@pytest.mark.parametrize("error", [ConnectionError("secret-bucket"), OSError("secret-bucket")])
def test_storage_that_is_down_at_the_end_loses_nothing(browser, storage, monkeypatch, error):
    begun = browser.begun(BODY, NOTE)
    browser.send(begun, BODY)

    def fail(*args):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(storage, "_put", fail)
        response = browser.call("finish", {"upload": begun["upload"]})
    assert code_of(response) in [(502, "storage_error"), (503, "storage_unavailable")]
    assert b"secret" not in response.content
    browser.ok("finish", {"upload": begun["upload"]})
    assert [data for data, stat in storage.client.values()] == [BODY]


def test_storage_of_somebody_else_will_do(browser, tmp_path, monkeypatch):
    storage = FileSystemStorage(location=tmp_path / "media")
    monkeypatch.setattr(Note._meta.get_field("file"), "storage", storage)
    row = row_of(browser.upload(BODY, field=NOTE))
    with storage.open(row.name) as file:
        assert file.read() == BODY
    begun = browser.begun(BODY, NOTE)
    browser.send(begun, BODY)
    browser.ok("finish", {"upload": begun["upload"]})
    browser.ok("abort", {"upload": begun["upload"]})
    assert not storage.exists(row_of(begun).name)


class Addressed(MemoryStorage):
    """Names a file after its bytes, as IPFS does."""

    capabilities = Capabilities(content_addressed=True)

    def _put(self, key, body, options):
        key = f"cid-{hash(data := body.read())}"
        self.client[key] = (data, self.stat_of(data))
        return key

    def stat_of(self, data):
        from storages.contract import Stat

        return Stat(len(data), etag="cid")


@pytest.mark.threat("T-31")
def test_file_that_is_named_after_its_bytes_is_not_deleted_for_one_of_those_who_have_it(browser, monkeypatch):
    storage = Addressed()
    monkeypatch.setattr(Note._meta.get_field("file"), "storage", storage)
    first = row_of(browser.upload(BODY, field=NOTE))
    begun = browser.begun(BODY, NOTE)
    browser.send(begun, BODY)
    browser.ok("finish", {"upload": begun["upload"]})
    assert row_of(begun).name == first.name
    assert first.name.startswith("cid-")
    browser.ok("abort", {"upload": begun["upload"]})
    assert first.name in storage.client
