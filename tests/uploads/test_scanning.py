"""A scanner has the last word before a form can take a file."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile

from storages.uploads import claims, scanning
from storages.uploads.errors import UploadError
from storages.uploads.models import State
from tests.uploads.conftest import code_of, row_of
from tests.uploads.kinds import KINDS
from tests.uploads.models import Clip

PLACE = "tests.uploads.test_scanning."
# The test file of the antivirus makers, in two pieces so that no scanner takes this one away.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR" + b"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
FILE = Clip._meta.get_field("file")


def stub(upload, file):
    return b"EICAR-STANDARD" not in b"".join(file.chunks())


def broken(upload, file):
    raise ConnectionRefusedError("clamd at 10.0.0.7 is down")


def slow(upload, file):
    return WAITING.pop() if WAITING else True


def confused(upload, file):
    return "clean"


WAITING: list[bool | None] = []


@pytest.mark.threat("T-29")
@pytest.mark.parametrize("kind", list(KINDS))
def test_infected_file_is_deleted(browser, cloud, settings, kind):
    settings.UPLOADS_SCANNER = PLACE + "stub"
    begun = browser.begun(EICAR, accepts=[kind])
    browser.send(begun, EICAR)
    for _ in range(2):
        assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, "content_rejected")
    assert not cloud.client
    assert (row_of(begun).state, row_of(begun).error) == (State.REJECTED, "content_rejected")


@pytest.mark.threat("T-29")
@pytest.mark.parametrize("kind", list(KINDS))
def test_clean_file_passes(browser, settings, kind):
    settings.UPLOADS_SCANNER = PLACE + "stub"
    assert row_of(browser.upload(b"nothing bad", accepts=[kind])).state == State.FINISHED


@pytest.mark.threat("T-29")
@pytest.mark.parametrize("scanner", ["broken", "confused"])
def test_file_is_not_accepted_while_the_scanner_is_down_and_not_lost(browser, cloud, settings, scanner, caplog):
    settings.UPLOADS_SCANNER = PLACE + scanner
    begun = browser.begun(b"the file", accepts=["put"])
    browser.send(begun, b"the file")
    response = browser.call("finish", {"upload": begun["upload"]})
    assert code_of(response) == (503, "scanner_unavailable")
    assert response["Retry-After"] == "30"
    assert b"10.0.0.7" not in response.content
    assert row_of(begun).state == State.QUARANTINED
    assert "scanner" in caplog.text.lower()
    settings.UPLOADS_SCANNER = PLACE + "stub"
    browser.ok("finish", {"upload": begun["upload"]})


@pytest.mark.threat("T-29")
def test_file_is_in_quarantine_until_the_scanner_has_an_answer(browser, cloud, anna, settings, rf):
    settings.UPLOADS_SCANNER = PLACE + "slow"
    WAITING[:] = [None, None]
    begun = browser.begun(b"the file", accepts=["post"])
    browser.send(begun, b"the file")
    request = rf.get("/")
    request.user = anna
    for _ in range(2):
        response = browser.call("finish", {"upload": begun["upload"]})
        assert (response.status_code, response.json()) == (202, {"state": "quarantined", "retry_after": 5})
        assert response["Retry-After"] == "5"
        assert browser.ok("status", {"upload": begun["upload"]})["state"] == "quarantined"
        with pytest.raises(UploadError, match="upload_not_found"):
            claims.look(begun["upload"], FILE, request)
    done = browser.ok("finish", {"upload": begun["upload"]})
    assert claims.look(done["token"], FILE, request)
    assert cloud.calls.count("copy") == 1  # what was scanned is what is kept


@pytest.mark.threat("T-29")
def test_file_that_is_refused_after_a_while_is_deleted(browser, cloud, settings):
    settings.UPLOADS_SCANNER = PLACE + "slow"
    WAITING[:] = [False, None]
    begun = browser.begun(b"the file", accepts=["put"])
    browser.send(begun, b"the file")
    assert browser.call("finish", {"upload": begun["upload"]}).status_code == 202
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (422, "content_rejected")
    assert not cloud.client


def test_quarantined_file_can_be_given_up(browser, cloud, settings):
    settings.UPLOADS_SCANNER = PLACE + "slow"
    WAITING[:] = [None]
    begun = browser.begun(b"the file", accepts=["put"])
    browser.send(begun, b"the file")
    assert browser.call("finish", {"upload": begun["upload"]}).status_code == 202
    browser.ok("abort", {"upload": begun["upload"]})
    assert not cloud.client


@pytest.mark.parametrize(
    ("own", "expected"), [(None, "stub"), (False, None), (PLACE + "broken", "broken"), (confused, "confused")]
)
def test_scanner_of_a_field_is_its_own_or_that_of_the_setting(settings, monkeypatch, own, expected):
    settings.UPLOADS_SCANNER = PLACE + "stub"
    monkeypatch.setattr(FILE, "scan", own)
    found = scanning.scanner_of(FILE)
    assert (found and found.__name__) == expected


def test_scanner_that_is_nowhere_is_told_of(settings):
    settings.UPLOADS_SCANNER = PLACE + "nowhere"
    with pytest.raises(ImproperlyConfigured, match="UPLOADS_SCANNER"):
        scanning.scanner_of(FILE)


@pytest.mark.threat("T-29")
@pytest.mark.parametrize(
    ("scanner", "content", "code"),
    [
        ("stub", b"fine", None),
        ("stub", EICAR, "content_rejected"),
        ("broken", b"fine", "scanner_unavailable"),
        ("slow", b"fine", "scanner_unavailable"),
    ],
)
def test_file_that_is_posted_the_ordinary_way_is_looked_at_too(settings, scanner, content, code):
    settings.UPLOADS_SCANNER = PLACE + scanner
    WAITING[:] = [None]
    file = ContentFile(content, "a.txt")
    if code is None:
        scanning.scan_file(FILE, file)
    else:
        with pytest.raises(UploadError, match=code):
            scanning.scan_file(FILE, file)
    assert file.read() == content or code


@pytest.mark.threat("T-28")
def test_bomb_of_a_picture_costs_its_first_bytes(browser, cloud):
    import zlib

    bomb = b"\x89PNG\r\n\x1a\n" + zlib.compress(b"\0" * 5_000_000)
    browser.upload(bomb, accepts=["put"], filename="a.png", content_type="image/png")
    assert [call for call in cloud.calls if call.startswith("open_range")] == [f"open_range 0-{min(len(bomb), 4096)}"]
