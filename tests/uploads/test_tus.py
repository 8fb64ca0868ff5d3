"""tus: uploads that come through this server, on every storage that signs none."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import hashlib
import os
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, InMemoryStorage
from django.test import Client

from storages.backends.apache_libcloud import LibCloudStorage
from storages.backends.ftp import FTPStorage
from storages.backends.ipfs import IPFSStorage
from storages.backends.memory import MemoryStorage
from storages.backends.sftpstorage import SFTPStorage
from storages.uploads import spool
from storages.uploads.models import State, Upload
from tests.file_servers import served
from tests.servers.ftpd import Pyftpdlib
from tests.servers.ipfs import FakeIPFS
from tests.servers.openssh import OpenSSH
from tests.uploads.conftest import Browser, code_of, row_of, sha256
from tests.uploads.models import Note

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.uploads.urls")]

NOTE = "tests_uploads.Note.file"
MIME = "application/offset+octet-stream"

ftp_server = served(Pyftpdlib)
ssh_server = served(OpenSSH)
ipfs_node = served(FakeIPFS)


@pytest.fixture(autouse=True)
def directory(settings: Any, tmp_path: Path) -> Path:
    settings.UPLOADS_SPOOL = tmp_path / "spool"
    return tmp_path / "spool"


@pytest.fixture(autouse=True)
def storage(monkeypatch: pytest.MonkeyPatch) -> MemoryStorage:
    storage = MemoryStorage()
    monkeypatch.setattr(Note._meta.get_field("file"), "storage", storage)
    return storage


class Tus:
    """A client of tus 1.0, with somebody logged in; it knows nothing of Django's CSRF token."""

    def __init__(self, user: User | None = None):
        self.http = Client(enforce_csrf_checks=True)
        if user is not None:
            self.http.force_login(user)
        self.url, self.token = "/uploads/tus/", ""

    def ask(self, method: str, url: str = "", body: bytes = b"", mime: str = MIME, **headers: Any) -> Any:
        given = {"Tus-Resumable": "1.0.0", **({"Upload-Token": self.token} if self.token else {})}
        given |= {name.replace("_", "-"): str(value) for name, value in headers.items()}
        given = {name: value for name, value in given.items() if value != "None"}
        return self.http.generic(method, url or self.url, body, mime, headers=given)

    def create(self, slot: str, size: Any, filename: str = "a.txt", filetype: str = "text/plain", **more: str) -> Any:
        told = {"slot": slot, "filename": filename, "filetype": filetype, **more}
        pairs = [f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in told.items()]
        response = self.ask("POST", Upload_Length=size, Upload_Metadata=",".join(pairs))
        if response.status_code == 201:
            self.url, self.token = response["Location"].removeprefix("http://testserver"), response["Upload-Token"]
        return response

    def patch(self, offset: int, body: bytes, **headers: Any) -> Any:
        return self.ask("PATCH", body=body, Upload_Offset=offset, **headers)

    def offset(self) -> int:
        return int(self.ask("HEAD")["Upload-Offset"])

    @property
    def row(self) -> Upload:
        return row_of({"upload": self.token})


@pytest.fixture
def page(anna: User) -> Browser:
    """Anna's page, which gets slots and finishes."""
    return Browser(anna)


@pytest.fixture
def tus(anna: User, page: Browser) -> Tus:
    """An upload of 10 bytes that Anna has begun."""
    client = Tus(anna)
    assert client.create(page.slot(NOTE), 10).status_code == 201
    return client


def sum_of(algorithm: str, body: bytes) -> str:
    return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, body).digest()).decode()}"


# The way of a file


def test_pieces_become_a_file(tus, page, storage):
    assert [tus.patch(0, b"01234").status_code, tus.patch(5, b"56789").status_code] == [204, 204]
    assert storage.client == {}
    done = page.ok("finish", {"upload": tus.token})
    row = row_of(done)
    with storage.open(row.name) as file:
        assert file.read() == b"0123456789"
    assert (row.state, list(spool.files())) == (State.FINISHED, [])
    assert page.ok("finish", {"upload": tus.token}) == done


def test_page_begins_in_json_what_patch_goes_on_with(page, anna, storage):
    begun = page.begun(b"0123456789", NOTE)
    request = begun["request"]
    assert (begun["kind"], request["method"], begun["enforced"]["overwrite"]) == ("tus", "PATCH", "denied")
    sent = Client(enforce_csrf_checks=True)
    sent.force_login(anna)
    headers = {**request["headers"], "Upload-Offset": "0"}
    mime = headers.pop("Content-Type")
    assert sent.generic("PATCH", request["url"], b"0123456789", mime, headers=headers).status_code == 204
    assert page.ok("finish", {"upload": begun["upload"]})["size"] == 10


@contextlib.contextmanager
def ftp(request: Any, directory: Path) -> Any:
    yield FTPStorage(location=request.getfixturevalue("ftp_server").location())


@contextlib.contextmanager
def sftp(request: Any, directory: Path) -> Any:
    server = request.getfixturevalue("ssh_server")
    params = {"port": server.port, "username": server.user, "key_filename": server.key, "passphrase": "the passphrase"}
    params |= {"allow_agent": False, "look_for_keys": False}
    yield SFTPStorage(host="127.0.0.1", params=params, host_fingerprint=server.host_key(), root_path="")


@contextlib.contextmanager
def ipfs(request: Any, directory: Path) -> Any:
    node = request.getfixturevalue("ipfs_node")
    yield IPFSStorage(api_url=node.api_url, gateway_url=node.gateway_url)


@contextlib.contextmanager
def libcloud(request: Any, directory: Path) -> Any:
    (directory / "media").mkdir()
    yield LibCloudStorage(type="LOCAL", bucket="media", user=str(directory), key="a")


STORAGES = {
    "FTP": ftp,
    "SFTP": sftp,
    "IPFS": ipfs,
    "Libcloud": libcloud,
    "disk": lambda request, directory: contextlib.nullcontext(FileSystemStorage(directory)),
    "memory": lambda request, directory: contextlib.nullcontext(MemoryStorage()),
    "Django's memory": lambda request, directory: contextlib.nullcontext(InMemoryStorage()),
}


@pytest.mark.parametrize("make", STORAGES.values(), ids=STORAGES)
def test_file_reaches_every_storage_that_signs_nothing(make, request, page, anna, monkeypatch, tmp_path):
    content = os.urandom(200_000)
    monkeypatch.setattr(Note._meta.get_field("file"), "max_size", None)
    with make(request, tmp_path) as storage:
        monkeypatch.setattr(Note._meta.get_field("file"), "storage", storage)
        tus = Tus(anna)
        tus.create(
            page.slot(NOTE), len(content), "a.bin", "application/octet-stream", checksum=sha256(content)["value"]
        )
        for start in range(0, len(content), 70_000):
            assert tus.patch(start, content[start : start + 70_000]).status_code == 204
        before = tus.row.name
        name = row_of(page.ok("finish", {"upload": tus.token})).name
        try:
            with storage.open(name) as file:
                assert file.read() == content
            assert (name != before) == isinstance(storage, IPFSStorage)
        finally:
            storage.delete(name)


def test_resumed_after_a_reload_with_the_token_alone(tus, page, anna):
    tus.patch(0, b"0123")
    reloaded = Tus(anna)
    status = page.ok("status", {"upload": tus.token})
    reloaded.url, reloaded.token = status["request"]["url"], status["request"]["headers"]["Upload-Token"]
    assert (status["offset"], reloaded.offset()) == (4, 4)
    assert reloaded.patch(4, b"456789")["Upload-Offset"] == "10"


# What is told


def test_options_tell_the_protocol_and_grant_no_other_site_anything(tus):
    answer = tus.http.options("/uploads/tus/", headers={"Origin": "https://evil.example"})
    assert answer.status_code == 204
    assert answer["Tus-Version"] == "1.0.0"
    assert answer["Tus-Extension"] == "creation,expiration,checksum,termination"
    assert answer["Tus-Checksum-Algorithm"] == "sha256,sha1"
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


def test_answers_tell_version_offset_length_and_end(tus):
    answers = [tus.patch(0, b"01234"), tus.ask("HEAD")]
    for answer in answers:
        assert (answer["Tus-Resumable"], answer["Upload-Offset"]) == ("1.0.0", "5")
        assert "no-store" in answer["Cache-Control"]
        ends = email.utils.parsedate_to_datetime(answer["Upload-Expires"])
        assert abs(ends - tus.row.expires).total_seconds() <= 1
    assert answers[1]["Upload-Length"] == "10"


@pytest.mark.threat("T-18")
def test_location_holds_the_row_alone(anna, page):
    client = Tus(anna)
    answer = client.create(page.slot(NOTE), 10)
    assert answer["Location"] == f"http://testserver/uploads/tus/{client.row.pk}"
    assert answer["Upload-Token"] == client.token not in answer["Location"]


@pytest.mark.parametrize("version", [None, "0.2.2"])
@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
def test_other_version_is_refused(tus, method, version):
    answer = tus.ask(method, Tus_Resumable=version)
    assert (answer.status_code, answer["Tus-Version"]) == (412, "1.0.0")
    assert Upload.objects.get().state == State.BEGUN


def test_proxy_that_knows_no_patch_is_no_obstacle(tus):
    answer = tus.ask("POST", body=b"0123456789", Upload_Offset=0, X_HTTP_Method_Override="PATCH")
    assert (answer.status_code, answer["Upload-Offset"]) == (204, "10")


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_other_methods_are_refused(tus, method):
    assert code_of(tus.ask(method)) == (405, "method")


# Beginning


@pytest.mark.threat("T-18")
def test_slot_is_asked_for(anna, ben, page):
    slot = page.slot(NOTE)
    assert code_of(Tus(anna).create("", 10))[0] in (400, 403)
    assert code_of(Tus(ben).create(slot, 10)) == (403, "slot_invalid")
    assert code_of(Tus().create(slot, 10))[0] in (401, 403)
    assert not Upload.objects.exists()


@pytest.mark.parametrize("length", [None, "", "-1", "ten", "1" * 20, "1_0", "²"])
def test_length_has_to_be_a_number(anna, page, length):
    client = Tus(anna)
    metadata = f"slot {base64.b64encode(page.slot(NOTE).encode()).decode()},filename YS50eHQ="
    assert code_of(client.ask("POST", Upload_Length=length, Upload_Metadata=metadata)) == (400, "bad_request")


@pytest.mark.threat("T-26")
@pytest.mark.parametrize(("size", "status"), [(0, (413, "too_small")), (10_001, (413, "too_large"))])
def test_size_is_looked_at_before_a_byte_comes(anna, page, size, status):
    assert code_of(Tus(anna).create(page.slot(NOTE), size)) == status


@pytest.mark.parametrize("metadata", ["slot !", "slot YQ==,filename /w==", "slot a", "slot é", "slot YQ== YQ=="])
def test_bad_metadata_is_told(tus, metadata):
    answer = tus.ask("POST", "/uploads/tus/", Upload_Length=10, Upload_Metadata=metadata)
    assert code_of(answer) == (400, "bad_request")
    assert Upload.objects.count() == 1


def test_metadata_of_other_clients_are_passed_over(anna, page):
    assert Tus(anna).create(page.slot(NOTE), 10, relativePath="null", type="a/b").status_code == 201


# Bytes


@pytest.mark.threat("T-38")
@pytest.mark.parametrize("offset", [0, 4, 6, 11])
def test_bytes_for_another_offset_are_a_conflict(tus, offset):
    tus.patch(0, b"01234")
    assert code_of(tus.patch(offset, b"x")) == (409, "offset_conflict")
    assert tus.offset() == 5


@pytest.mark.threat("T-38")
def test_two_patches_at_once_are_one_and_a_conflict(tus, monkeypatch):
    answers = []
    chunks = spool._chunks

    def racing(body: Any, length: int) -> Any:
        monkeypatch.setattr(spool, "_chunks", chunks)
        answers.append(tus.patch(0, b"the loser!"))
        answers.append(tus.ask("HEAD"))
        yield from chunks(body, length)

    monkeypatch.setattr(spool, "_chunks", racing)
    assert tus.patch(0, b"0123456789").status_code == 204
    assert code_of(answers[0]) == (409, "offset_conflict")
    assert (answers[1].status_code, answers[1]["Upload-Offset"]) == (200, "0")
    assert next(spool.files())[1].read_bytes() == b"0123456789"


@pytest.mark.threat("T-38")
def test_body_past_the_length_is_cut(tus):
    tus.patch(0, b"01234")
    assert code_of(tus.patch(5, b"567890")) == (413, "too_large")
    assert (tus.offset(), next(spool.files())[1].read_bytes()) == (5, b"01234")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"mime": "application/octet-stream"}, (415, "type_not_allowed")),
        ({"Upload_Offset": "x"}, (400, "bad_request")),
        ({"Upload_Offset": "-1"}, (400, "bad_request")),
        ({"Upload_Checksum": "md5 AAAA"}, (400, "bad_request")),
        ({"Upload_Checksum": "sha256 ?"}, (400, "bad_request")),
    ],
)
def test_request_that_is_not_understood_leaves_nothing(tus, headers, status):
    assert code_of(tus.ask("PATCH", body=b"0123456789", **{"Upload_Offset": 0, **headers})) == status
    assert tus.offset() == 0


def test_body_of_unknown_length_is_refused(tus):
    given = {"Tus-Resumable": "1.0.0", "Upload-Token": tus.token, "Upload-Offset": "0", "Content-Type": MIME}
    answer = tus.http.generic("PATCH", tus.url, b"", headers=given)
    assert code_of(answer)[0] in (411, 415)


@pytest.mark.threat("T-35")
@pytest.mark.parametrize("algorithm", ["sha256", "sha1"])
def test_flipped_byte_is_refused_and_sent_again(tus, algorithm):
    refused = tus.patch(0, b"0123X", Upload_Checksum=sum_of(algorithm, b"01234"))
    assert code_of(refused) == (460, "checksum_mismatch")
    assert refused.json()["error"]["retryable"] is True
    assert tus.offset() == 0
    assert tus.patch(0, b"01234", Upload_Checksum=sum_of(algorithm, b"01234")).status_code == 204


@pytest.mark.threat("T-35")
def test_checksum_of_the_whole_is_compared_at_the_end(anna, page, storage):
    client = Tus(anna)
    client.create(page.slot(NOTE), 10, checksum=sha256(b"0123456789")["value"])
    client.patch(0, b"012345678X")
    assert code_of(page.call("finish", {"upload": client.token})) == (422, "checksum_mismatch")
    assert (storage.client, list(spool.files())) == ({}, [])


@pytest.mark.threat("T-26")
@pytest.mark.parametrize("sent", [b"", b"01234"])
def test_part_of_a_file_is_no_file(tus, page, storage, sent):
    if sent:
        tus.patch(0, sent)
    assert code_of(page.call("finish", {"upload": tus.token})) == (422, "parts_missing")
    assert storage.client == {}
    assert tus.patch(len(sent), b"0123456789"[len(sent) :]).status_code == 204
    assert page.ok("finish", {"upload": tus.token})["size"] == 10


def test_memory_setting_of_django_does_not_limit_a_body(tus, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 3
    assert tus.patch(0, b"0123456789").status_code == 204


# Whose it is


@pytest.mark.threat("T-38")
@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
def test_nobody_else_goes_on_with_an_upload(tus, ben, method):
    for other in (Tus(ben), Tus()):
        other.url, other.token = tus.url, tus.token
        answer = other.ask(method, body=b"0" if method == "PATCH" else b"", Upload_Offset=0)
        assert answer.status_code == 404
    assert (tus.offset(), tus.row.state) == (0, State.BEGUN)


@pytest.mark.threat("T-20")
@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
def test_token_is_for_its_own_upload(tus, page, anna, method):
    other = Tus(anna)
    other.create(page.slot(NOTE), 10)
    for url, token in [
        (tus.url, other.token),
        (tus.url, ""),
        (tus.url, "x"),
        (f"/uploads/tus/{uuid.uuid4()}", tus.token),
    ]:
        stranger = Tus(anna)
        stranger.url, stranger.token = url, token
        assert stranger.ask(method, body=b"0" if method == "PATCH" else b"", Upload_Offset=0).status_code == 404
    assert {tus.offset(), other.offset()} == {0}


@pytest.mark.threat("T-32")
def test_cookies_alone_do_nothing(tus, page, anna):
    """A page of another site sends the cookies of its visitor at best, and none of these headers."""
    forged = Client(enforce_csrf_checks=True)
    forged.force_login(anna)
    for method, url in [("POST", "/uploads/tus/"), ("PATCH", tus.url), ("DELETE", tus.url), ("HEAD", tus.url)]:
        assert forged.generic(method, url, b"0123456789", "text/plain").status_code == 412
    assert (tus.offset(), tus.row.state) == (0, State.BEGUN)


def test_upload_of_another_kind_is_none_of_tus(browser, anna):
    begun = browser.begun(accepts=["put"])
    client = Tus(anna)
    client.url, client.token = f"/uploads/tus/{row_of(begun).pk}", begun["upload"]
    assert client.ask("HEAD").status_code == 404


# The end


@pytest.mark.threat("T-38")
def test_abort_removes_the_spool(tus, page):
    tus.patch(0, b"01234")
    assert tus.ask("DELETE").status_code == 204
    assert (list(spool.files()), tus.row.state) == ([], State.ABORTED)
    assert [code_of(tus.patch(5, b"x")), tus.ask("HEAD").status_code] == [(410, "upload_aborted"), 410]


def test_abort_in_json_does_the_same(tus, page):
    tus.patch(0, b"01234")
    page.ok("abort", {"upload": tus.token})
    assert list(spool.files()) == []


def test_abort_of_a_finished_upload_deletes_the_file(tus, page, storage):
    tus.patch(0, b"0123456789")
    page.ok("finish", {"upload": tus.token})
    assert tus.offset() == 10
    assert tus.ask("DELETE").status_code == 204
    assert storage.client == {}


def test_expired_upload_is_gone(tus, clock):
    tus.patch(0, b"01234")
    clock.forward(24 * 3600 + 1)
    for answer in (tus.patch(5, b"x"), tus.ask("HEAD")):
        assert answer.status_code == 410


def test_storage_that_is_down_leaves_what_has_come(tus, page, storage, monkeypatch):
    tus.patch(0, b"0123456789")
    with monkeypatch.context() as down:
        down.setattr(storage, "save", lambda name, content: (_ for _ in ()).throw(ConnectionError("down")))
        assert code_of(page.call("finish", {"upload": tus.token})) == (503, "storage_unavailable")
    assert next(spool.files())[1].read_bytes() == b"0123456789"
    assert page.ok("finish", {"upload": tus.token})["size"] == 10
    assert len(storage.client) == 1


def test_finish_that_lost_its_answer_leaves_one_object(tus, page, storage, monkeypatch):
    tus.patch(0, b"0123456789")
    save = storage.save

    def save_and_break(name: str, content: Any) -> str:
        save(name, content)
        raise ConnectionError("after all had arrived")

    with monkeypatch.context() as broken:
        broken.setattr(storage, "save", save_and_break)
        assert code_of(page.call("finish", {"upload": tus.token})) == (503, "storage_unavailable")
    done = page.ok("finish", {"upload": tus.token})
    assert list(storage.client) == [row_of(done).name]


@pytest.mark.threat("T-38")
def test_full_spool_is_told_at_the_beginning(anna, page, settings):
    settings.UPLOADS_SPOOL_QUOTA = 15
    assert Tus(anna).create(page.slot(NOTE), 10).status_code == 201
    answer = Tus(anna).create(page.slot(NOTE), 10)
    assert code_of(answer) == (429, "quota_exceeded")
    assert int(answer["Retry-After"]) > 0
    assert Upload.objects.count() == 1


def test_upload_outlives_a_request_that_fails(tus, settings):
    """With ATOMIC_REQUESTS an error would take the offset back, whose bytes are on the disk."""
    from storages.uploads.tus import TusView

    view = TusView.as_view()
    assert view._non_atomic_requests == {"default"}
    assert view.csrf_exempt is True
    assert view.login_required is False


# What was once wrong


@pytest.mark.parametrize("header", ["sha256 \xff", "sha256 é", "sha256", " ", "sha256 AAAA AAAA"])
def test_checksum_header_that_cannot_be_read_is_a_bad_request(tus, header):
    given = {"HTTP_TUS_RESUMABLE": "1.0.0", "HTTP_UPLOAD_TOKEN": tus.token, "HTTP_UPLOAD_OFFSET": "0"}
    answer = tus.http.generic("PATCH", tus.url, b"0123456789", MIME, HTTP_UPLOAD_CHECKSUM=header, **given)
    assert code_of(answer) == (400, "bad_request")
    assert tus.offset() == 0


@pytest.mark.threat("T-35")
def test_metadata_that_are_too_long_are_refused_and_not_cut(anna, page):
    slot = base64.b64encode(page.slot(NOTE).encode()).decode()
    said = f"slot {slot},filename YS50eHQ=,rest"
    said += "t" * ((8191 - len(said)) % 4) + " "
    said += "A" * (8192 - len(said)) + ",checksum bm8gc3Vt"  # what a cut would take away
    assert code_of(Tus(anna).ask("POST", Upload_Length=10, Upload_Metadata=said)) == (400, "bad_request")
    assert not Upload.objects.exists()


def test_metadata_may_not_say_a_thing_twice(anna, page):
    slot = base64.b64encode(page.slot(NOTE).encode()).decode()
    said = f"slot {slot},filename YS50eHQ=,filename YS5odG1s"
    assert code_of(Tus(anna).ask("POST", Upload_Length=10, Upload_Metadata=said)) == (400, "bad_request")


@pytest.mark.parametrize("sends", [False, True])
def test_empty_file_is_whole_before_anything_is_sent(anna, page, storage, monkeypatch, sends):
    monkeypatch.setattr(Note._meta.get_field("file"), "min_size", 0)
    client = Tus(anna)
    assert client.create(page.slot(NOTE), 0).status_code == 201
    assert client.offset() == 0
    if sends:
        assert client.patch(0, b"", Content_Type=MIME, Content_Length=0).status_code == 204
    assert page.ok("finish", {"upload": client.token})["size"] == 0
    assert ([body for body, _ in storage.client.values()], list(spool.files())) == ([b""], [])


def test_file_that_got_lost_while_it_was_scanned_is_to_be_sent_again(page, tus, settings):
    settings.UPLOADS_SCANNER = lambda upload, file: None
    tus.patch(0, b"0123456789")
    assert page.call("finish", {"upload": tus.token}).status_code == 202
    spool.discard(tus.row)
    assert code_of(page.call("finish", {"upload": tus.token})) == (410, "upload_expired")
    assert tus.row.state == State.EXPIRED


def test_file_that_is_stored_already_is_not_looked_for_in_the_spool(page, tus, storage):
    tus.patch(0, b"0123456789")
    row = tus.row
    storage.save(row.name, ContentFile(b"0123456789"))
    assert row.move(State.UPLOADED, since=(State.BEGUN,), pin="1")
    spool.discard(row)
    assert page.ok("finish", {"upload": tus.token})["size"] == 10
    assert len(storage.client) == 1
