"""Clocks that are an hour off: the site's beside the service's, and the site's own beside that of before."""

from __future__ import annotations

import datetime
from types import SimpleNamespace

import botocore.auth
import pytest
from django.test import RequestFactory
from django.utils import timezone

from storages.backends.azure_storage import AzureStorage
from storages.contract import SignedRequest
from storages.uploads import claims
from storages.uploads.models import TURN, State, Upload
from storages.uploads.sweep import sweep
from tests.buckets import WiredBucket
from tests.conftest import running
from tests.servers.azurite import Azurite
from tests.uploads.browsing import Answer, sending
from tests.uploads.conftest import ALL, code_of, row_of
from tests.uploads.models import Clip

HOUR = 3600
BODY = b"the file"
FILE = Clip._meta.get_field("file")
S3 = [
    ("seaweedfs", {"create_only": True, "unsigned_headers": "refused"}),
    ("ceph", {"create_only": True, "unsigned_headers": "named"}),
]


@pytest.fixture(autouse=True)
def _own_spool(settings, tmp_path):
    settings.UPLOADS_SPOOL = tmp_path / "spool"


@pytest.fixture
def site(clock, monkeypatch):
    """The clock of this process, with that by which the SDKs sign."""
    now = datetime.datetime.now

    def shown(remove_tzinfo=True):
        moment = now(datetime.timezone.utc) + datetime.timedelta(seconds=clock.seconds)
        return moment.replace(tzinfo=None) if remove_tzinfo else moment

    class Moment(datetime.datetime):
        utcnow = staticmethod(shown)

    if hasattr(botocore.auth, "get_current_datetime"):
        monkeypatch.setattr("botocore.auth.get_current_datetime", shown)
    else:  # an older botocore
        monkeypatch.setattr("botocore.auth.datetime", SimpleNamespace(**{**vars(datetime), "datetime": Moment}))
    monkeypatch.setattr("azure.storage.blob._shared.policies.time", clock.time)
    return clock


# The site's clock beside the service's


@pytest.fixture(scope="module", params=S3, ids=lambda param: param[0])
def shared_bucket(request):
    server, options = request.param
    with WiredBucket(request.getfixturevalue(server)) as bucket:
        bucket.made = bucket.storage(location="site", **options)
        yield bucket


@pytest.fixture
def bucket(shared_bucket, site, monkeypatch):
    monkeypatch.setattr(FILE, "storage", shared_bucket.made)
    yield shared_bucket
    site.seconds = 0
    shared_bucket.empty()


def send(browser, begun) -> Answer:
    request = begun.get("request") or browser.ok("parts", {"upload": begun["upload"], "numbers": [1]})["parts"][0]
    keys = ("method", "url", "headers", "fields", "file_field")
    return sending(SignedRequest(**{key: request[key] for key in keys if key in request}), BODY).send()


def said(caplog) -> list[str]:
    return [str(record.exc_info[1]) for record in caplog.records if record.name == "storages.uploads"]


@pytest.mark.parametrize("off", [-HOUR, HOUR], ids=["behind", "ahead"])
def test_begin_in_parts_fails_at_once_and_says_that_it_is_the_clock(browser, bucket, site, caplog, off):
    site.forward(off)
    response = browser.begin(BODY, accepts=["multipart"])
    assert code_of(response) == (502, "storage_error")
    (logged,) = said(caplog)
    assert "clock" in logged
    assert "set it" in logged
    site.seconds = 0
    assert (Upload.objects.count(), bucket.uploads(), bucket.objects()) == (0, [], {})


@pytest.mark.parametrize("kind", ["put", "post"])
@pytest.mark.parametrize("off", [-HOUR, HOUR], ids=["behind", "ahead"])
def test_what_was_signed_by_a_wrong_clock_ends_in_an_error_that_names_the_clock(
    browser, bucket, site, caplog, kind, off
):
    """These servers take a signature of the future; one of the past has expired, and the client gives the upload up."""
    slot = browser.slot()
    site.forward(off)
    begun = browser.begun(BODY, accepts=[kind], slot=slot)
    assert send(browser, begun).refused == (off < 0)
    for call in ("finish", "abort"):
        assert code_of(browser.call(call, {"upload": begun["upload"]})) == (502, "storage_error")
        assert "set it" in said(caplog)[-1]
    assert len(said(caplog)) == 2
    later = timezone.now() + datetime.timedelta(hours=3)
    problems = sweep(now=later).problems
    assert "1 uploads stay" in problems[0]
    assert all("set it" in problem for problem in problems)
    site.seconds = 0  # it was set
    assert (sweep(now=later).problems, Upload.objects.count(), bucket.objects()) == ([], 0, {})


@pytest.mark.parametrize("kind", ["put", "post", "multipart"])
def test_clock_that_is_wrong_for_a_while_loses_nothing(browser, bucket, site, kind):
    begun = browser.begun(BODY, accepts=[kind])
    assert not send(browser, begun).refused
    site.forward(HOUR)
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (502, "storage_error")
    site.seconds = 0
    row = row_of(browser.ok("finish", {"upload": begun["upload"]}))
    assert bucket.get(f"site/{row.name}") == BODY


@pytest.fixture(scope="module")
def azurite(request):
    yield from running(Azurite(), request.config)


@pytest.mark.parametrize("kind", ["put", "blocks"])
@pytest.mark.parametrize("off", [-HOUR, HOUR], ids=["behind", "ahead"])
def test_azurite_looks_at_the_end_of_a_sas_only(browser, azurite, site, monkeypatch, kind, off):
    """Azure itself refuses the server's own requests, too, with AuthenticationFailed, whose remedy names the clock."""
    options = {"connection_string": azurite.connection_string(), "azure_container": azurite.make_bucket()}
    storage = AzureStorage(**options)
    monkeypatch.setattr(FILE, "storage", storage)
    site.forward(off)
    begun = browser.begun(BODY, accepts=[kind])
    if off < 0:
        assert send(browser, begun).status == 403
        browser.ok("abort", {"upload": begun["upload"]})
        assert list(storage.walk()) == []
    else:
        assert send(browser, begun).status == 201
        assert browser.ok("finish", {"upload": begun["upload"]})["size"] == len(BODY)


# The site's clock beside that of before


@pytest.mark.threat("T-40")
@pytest.mark.parametrize("off", [-HOUR, HOUR], ids=["back", "forward"])
@pytest.mark.parametrize("when", ["begun", "sent", "finished"])
@pytest.mark.parametrize("kind", ALL)
def test_upload_goes_on_when_the_clock_jumps(browser, cloud, clock, anna, kind, when, off):
    slot = browser.slot()
    if when == "begun":
        clock.forward(off)  # while the form lies open
    begun = browser.begun(BODY, accepts=[kind], slot=slot)
    browser.send(begun, BODY)
    if when == "sent":
        clock.forward(off)
    assert sweep().rows == 0
    assert browser.ok("status", {"upload": begun["upload"]})["offset"] == len(BODY)
    done = browser.ok("finish", {"upload": begun["upload"]})
    if when == "finished":
        clock.forward(off)
    assert sweep().rows == 0
    request = RequestFactory().get("/")
    request.user = anna
    claims.take(claims.look(done["token"], FILE, request))
    with cloud.open(row_of(done).name) as file:
        assert file.read() == BODY


def test_turn_of_a_process_that_died_ends_when_the_clock_is_put_back(browser, cloud, clock):
    begun = browser.begun(BODY, accepts=["put"])
    browser.send(begun, BODY)
    assert row_of(begun).take_turn(TURN)
    clock.forward(-TURN / 2)  # as much as the clocks of two machines may differ
    assert code_of(browser.call("finish", {"upload": begun["upload"]})) == (409, "state_conflict")
    clock.forward(-HOUR)
    browser.ok("finish", {"upload": begun["upload"]})


def test_sweep_does_not_wait_for_a_turn_of_the_future(browser, cloud, clock):
    begun = browser.begun(BODY, accepts=["put"])
    browser.send(begun, BODY)
    row = row_of(begun)
    clock.forward(2 * 24 * HOUR)
    assert row.take_turn(TURN)
    assert sweep().rows == 0
    clock.forward(-HOUR)
    assert (sweep().rows, cloud.client) == (1, {})


@pytest.mark.parametrize("state", [State.ABORTED, State.REJECTED, State.EXPIRED])
def test_row_that_is_over_is_swept_an_hour_later_at_most(browser, cloud, clock, state):
    begun = browser.begun(BODY, accepts=["link"])
    browser.send(begun, BODY)
    if state == State.ABORTED:
        browser.ok("abort", {"upload": begun["upload"]})
    else:
        Upload.objects.update(state=state)
    left = (row_of(begun).expires.timestamp() - clock.time()) + 1
    clock.forward(-HOUR)
    assert sweep().rows == 0
    clock.forward(left + HOUR)
    assert (sweep().rows, cloud.client) == (1, {})
