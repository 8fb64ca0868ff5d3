"""Uploads and links that several connections go for at once: one gets it, and nothing is lost."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
from django.core import checks
from django.core.management import call_command
from django.db import transaction
from django.test import RequestFactory
from django.utils import timezone

from storages.private.link_models import Link, LinkUse
from storages.private.links import clear_links
from storages.uploads import claims, part_checksums, signals, spool
from storages.uploads.errors import UploadError
from storages.uploads.models import PartChecksum, State, Upload
from storages.uploads.sweep import sweep
from tests.databases.conftest import DATABASES, at_once, waiting_for_us
from tests.uploads.conftest import FIELD, Browser, row_of
from tests.uploads.models import Clip, proxied
from tests.uploads.seed_fixtures import BACKEND, STATIC
from tests.uploads.seed_fixtures import Browser as SeedBrowser

pytestmark = pytest.mark.usefixtures("database")

ROUNDS = 5
BODY = b"the file"
FILE = Clip._meta.get_field("file")
NOTE = "tests_uploads.Note.file"
DAY = datetime.timedelta(days=1)
MOMENT = datetime.timedelta(microseconds=1)


everywhere = pytest.mark.parametrize("database", DATABASES, indirect=True)


class Undo(Exception):
    """Rolls a transaction back."""


@pytest.fixture(autouse=True)
def site(cloud: Any, settings: Any, tmp_path: Any) -> None:
    settings.ROOT_URLCONF = "tests.databases.urls"
    settings.UPLOADS_SPOOL = tmp_path / "spool"
    settings.UPLOADS_MAX_OPEN = 1000
    proxied.client.clear()


def request_of(user: Any) -> Any:
    request = RequestFactory().get("/")
    request.user = user
    return request


def finished(browser: Browser, anna: Any, **said: Any) -> Callable[[], Upload]:
    """Return what looks up a new file as a form does."""
    token = browser.upload(BODY, accepts=["put"], **said)["token"]
    return lambda: claims.look(token, FILE, request_of(anna))


def save(look: Callable[[], Upload], meet: Callable[[], Any] = lambda: None) -> str:
    """Save a row with the file, as a form does."""
    with transaction.atomic():
        upload = look()
        meet()
        claims.take(upload)
        Clip.objects.create(title="saved", file=upload.name)
    return "saved"


def call(browser: Browser, what: str, begun: Any) -> str:
    """Ask as clients do, again if told so; return the code of a refusal, or nothing."""
    while True:
        response = browser.call(what, {"upload": begun["upload"]})
        code = response.json()["error"]["code"] if response.status_code >= 400 else ""
        if code != "state_conflict":
            return code


def sent(browser: Browser, kind: str, body: bytes = BODY) -> Any:
    """Return what begin answered of an upload that has only to be finished."""
    begun = browser.begun(body, NOTE if kind == "tus" else FIELD, accepts=[kind])
    browser.send(begun, body)
    return begun


def state_of(begun: Any) -> str | None:
    """Return the state of an upload, None where its row is gone."""
    with contextlib.suppress(Upload.DoesNotExist):
        return row_of(begun).state
    return None


def objects(cloud: Any) -> set[str]:
    return {*cloud.client, *proxied.client}


# A form takes a file


@everywhere
@pytest.mark.threat("T-21")
def test_of_forms_at_once_one_gets_the_file(browser, anna):
    for number in range(1, ROUNDS + 1):
        look, start = finished(browser, anna), threading.Barrier(4)
        answers = at_once(*[partial(save, look, start.wait)] * 4)
        assert sorted(answers) == ["already_claimed"] * 3 + ["saved"]
        assert Clip.objects.count() == number


@everywhere
@pytest.mark.threat("T-21")
@pytest.mark.parametrize(("undone", "answer"), [(False, "already_claimed"), (True, "saved")])
def test_form_waits_for_one_that_may_give_the_file_back(browser, anna, undone, answer):
    look = finished(browser, anna)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(Undo), transaction.atomic():
            claims.take(look())
            second = stack.enter_context(waiting_for_us(partial(save, look)))
            if undone:
                raise Undo
        assert second() == answer
    assert Clip.objects.count() == undone


@everywhere
@pytest.mark.threat("T-21")
def test_sweep_and_form_exclude_each_other(browser, anna, cloud):
    for _ in range(ROUNDS):
        look = finished(browser, anna)
        late = look().expires + MOMENT
        saved, report = at_once(partial(save, look), partial(sweep, now=late))
        assert (saved, report.problems) in [(code, []) for code in ("saved", "upload_expired", "upload_not_found")]
        sweep(now=late)
        names = {*Clip.objects.values_list("file", flat=True)}
        assert len(names) == (saved == "saved")
        assert names == objects(cloud) == {*Upload.objects.values_list("name", flat=True)}
        for model in (Clip, Upload):
            model.objects.all().delete()
        cloud.client.clear()


@pytest.mark.threat("T-30")
@pytest.mark.parametrize("undone", [False, True])
def test_sweep_waits_for_a_form_that_may_give_the_file_back(browser, anna, cloud, undone):
    look = finished(browser, anna)
    late = look().expires + MOMENT
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(Undo), transaction.atomic():
            claims.take(look())
            swept = stack.enter_context(waiting_for_us(partial(sweep, now=late)))
            if undone:
                raise Undo
        assert swept().rows == undone
    assert len(cloud.client) == Upload.objects.filter(state=State.CLAIMED).count() == (not undone)


# An upload ends


@pytest.mark.threat("T-24")
@pytest.mark.parametrize("kind", ["post", "multipart", "tus"])
def test_upload_that_is_finished_at_once_is_finished_once(browser, anna, cloud, kind):
    told: list[Any] = []
    receive = lambda sender, upload, **_: told.append(upload.pk)  # noqa: E731
    signals.upload_finished.connect(receive)
    tabs = [Browser(anna) for _ in range(3)]
    try:
        for number in range(1, ROUNDS + 1):
            begun = sent(browser, kind)
            answers = at_once(*[partial(call, tab, "finish", begun) for tab in tabs])
            assert {*answers} == {""}
            assert state_of(begun) == State.FINISHED
            assert len(objects(cloud)) == len(told) == len({*told}) == number
    finally:
        signals.upload_finished.disconnect(receive)
    assert cloud.calls.count("close_upload") == (ROUNDS if kind == "multipart" else 0)
    assert cloud.calls.count("copy") == (ROUNDS if kind == "post" else 0)


@pytest.mark.threat("T-30")
@pytest.mark.parametrize("kind", ["post", "tus"])
def test_upload_that_is_given_up_while_it_is_finished_leaves_nothing(browser, anna, cloud, kind):
    other = Browser(anna)
    for _ in range(ROUNDS):
        begun = sent(browser, kind)
        ended, given_up = at_once(partial(call, browser, "finish", begun), partial(call, other, "abort", begun))
        assert given_up == ""
        assert ended in ("", "upload_aborted")
        assert state_of(begun) == State.ABORTED
    report = sweep(now=timezone.now() + 2 * DAY)
    assert (report.problems, objects(cloud), cloud.opened, [*spool.files()]) == ([], set(), {}, [])
    assert not Upload.objects.exists()


@pytest.mark.threat("T-30")
@pytest.mark.parametrize("kind", ["multipart", "tus"])
def test_upload_that_is_swept_while_it_is_finished_is_a_file_or_gone(browser, cloud, kind):
    for _ in range(ROUNDS):
        begun = sent(browser, kind)
        late = row_of(begun).expires + MOMENT
        ended, _report = at_once(partial(call, browser, "finish", begun), partial(sweep, now=late))
        sweep(now=late)
        if ended:
            assert ended in ("upload_expired", "upload_not_found")
            assert state_of(begun) is None
            assert (objects(cloud), cloud.opened, [*spool.files()]) == (set(), {}, [])
        else:
            assert state_of(begun) == State.FINISHED
            assert objects(cloud) == {row_of(begun).name}
        sweep(now=late + 2 * DAY)


@pytest.mark.threat("T-30")
def test_sweeps_at_once_share_the_work(browser, cloud):
    uploads = [sent(browser, kind) for kind in ["put", "post", "multipart", "tus"] * 4]
    reports = at_once(*[partial(sweep, now=timezone.now() + 2 * DAY)] * 3)
    assert [report.problems for report in reports] == [[]] * 3
    assert sum(report.rows for report in reports) == len(uploads)
    assert (objects(cloud), cloud.opened, [*spool.files()]) == (set(), {}, [])


@pytest.mark.threat("T-24")
def test_part_that_is_signed_at_once_has_one_checksum(browser):
    for _ in range(ROUNDS):
        upload = row_of(browser.begun(BODY, accepts=["multipart"]))
        Upload.objects.filter(pk=upload.pk).update(part_checksums=True)
        upload.part_checksums = True
        said = [dict.fromkeys(numbers, str(numbers)) for numbers in [(1, 2, 3), (3, 2, 1), (2,), (2, 3)]]
        answers = at_once(*[partial(part_checksums.keep, upload, one) for one in said])
        kept = part_checksums.of(upload)
        assert None in answers
        for answer, one in zip(answers, said, strict=True):
            assert answer == (None if one.items() <= kept.items() else "checksum_mismatch")


def sign_all(upload: Upload, numbers: Iterable[int]) -> None:
    for number in numbers:
        part_checksums.keep(upload, {number: "a"})


@pytest.mark.threat("T-30")
def test_parts_are_signed_while_their_upload_is_swept(browser):
    for _ in range(ROUNDS):
        upload = row_of(browser.begun(BODY, accepts=["multipart"]))
        Upload.objects.filter(pk=upload.pk).update(part_checksums=True)
        sign = [partial(sign_all, upload, range(first, 90, 3)) for first in range(3)]
        *answers, report = at_once(*sign, partial(sweep, now=upload.expires + MOMENT))
        assert {*answers} <= {None, "state_conflict"}
        assert (report.problems, report.rows) == ([], 1)
        assert not PartChecksum.objects.exists()
        with pytest.raises(UploadError, match="state_conflict"):
            part_checksums.keep(upload, {1: "a"})


# Bytes that come through this server


@pytest.mark.threat("T-25")
def test_of_pieces_at_once_one_is_appended(browser, anna):
    begun = browser.begun(bytes(10 * ROUNDS), NOTE, accepts=["tus"])
    for number in range(ROUNDS):
        uploads = [row_of(begun) for _ in range(3)]
        pieces = [bytes([65 + n]) * 10 for n in range(3)]
        both = zip(uploads, pieces, strict=True)
        answers = at_once(*[partial(spool.receive, one, io.BytesIO(piece), 10 * number, 10) for one, piece in both])
        assert sorted(answers, key=str) == [10 * number + 10, "offset_conflict", "offset_conflict"]
        ((_, path),) = spool.files()
        assert path.read_bytes()[10 * number :] == pieces[answers.index(10 * number + 10)]
        assert row_of(begun).offset == 10 * number + 10


# Limits


@pytest.mark.threat("T-25")
@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ({"UPLOADS_MAX_OPEN": 2}, "too_many_open"),
        ({"UPLOADS_QUOTA": 2 * len(BODY)}, "quota_exceeded"),
        ({"UPLOADS_SLOT_FILES": 2}, "slot_expired"),
        ({"UPLOADS_SPOOL_QUOTA": 2 * len(BODY)}, "quota_exceeded"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_uploads_that_begin_at_once_do_not_get_past_a_limit(browser, anna, settings, limit, code):
    for name, value in limit.items():
        setattr(settings, name, value)
    tabs, kinds = [Browser(anna) for _ in range(4)], ["tus"] if "UPLOADS_SPOOL_QUOTA" in limit else ["put"]
    for _ in range(ROUNDS):
        slot = browser.slot(NOTE if kinds == ["tus"] else FIELD)
        begin = [partial(tab.begin, BODY, accepts=kinds, slot=slot) for tab in tabs]
        answers = [json.loads(answer.content).get("error", {}).get("code", "") for answer in at_once(*begin)]
        assert {*answers} <= {"", code}
        assert Upload.objects.count() == answers.count("") <= 2
        Upload.objects.all().delete()


@pytest.mark.threat("T-25")
def test_forms_that_are_signed_at_once_do_not_get_past_a_limit(anna, fake_s3, settings):
    settings.STORAGES = {"default": {"BACKEND": BACKEND}, "staticfiles": STATIC}
    settings.UPLOADS_MAX_OPEN = 2
    tabs = [SeedBrowser() for _ in range(4)]
    for tab in tabs:
        tab.force_login(anna)
    for _ in range(ROUNDS):
        answers = [answer.status_code for answer in at_once(*[partial(tab.sign, "reports/a.txt") for tab in tabs])]
        assert {*answers} <= {200, 429}
        assert Upload.objects.count() == answers.count(200) <= 2
        Upload.objects.all().delete()


# Tables


def test_longest_values_are_kept_as_they_are(database):
    for model, least in ((Upload, 6), (Link, 2)):
        widths = {
            field.attname: field.max_length for field in model._meta.fields if field.max_length and not field.choices
        }
        assert len(widths) >= least
        said = {name: "\N{GRINNING FACE}" * width for name, width in widths.items() if not name.endswith("id")}
        numbers = {"size": 2**63 - 1} if model is Upload else {"uses_left": 2**31 - 1}
        made = model.objects.create(expires=timezone.now(), **said, **numbers)
        kept = model.objects.get(pk=made.pk)
        assert {name: getattr(kept, name) for name in (*said, *numbers)} == {**said, **numbers}


def test_migrations_make_what_the_models_say(database):
    call_command("makemigrations", "storages_uploads", "storages_private", check=True, dry_run=True, verbosity=0)
    found = checks.run_checks(databases=["default"])
    assert [one for one in found if one.id.startswith(("fields.", "models.", "mysql.", "postgres."))] == []


# Links


def link_of(uses: int) -> Link:
    return Link.objects.create(storage="memory", name="a.txt", expires=timezone.now() + DAY, uses_left=uses)


@pytest.mark.threat("T-09")
def test_of_requests_at_once_as_many_open_a_link_as_it_has_uses():
    for _ in range(ROUNDS):
        link = link_of(2)
        uses = at_once(*[partial(Link.objects.get(pk=link.pk).take, f"client {n}") for n in range(6)])
        assert sum(use is not None for use in uses) == LinkUse.objects.filter(link=link).count() == 2
        assert Link.objects.get(pk=link.pk).uses_left == 0


@pytest.mark.threat("T-09")
def test_use_is_given_back_once():
    for _ in range(ROUNDS):
        link = link_of(3)
        use = link.take("client")
        assert use is not None
        at_once(*[LinkUse.objects.get(pk=use.pk).give_back for _ in range(3)], *[partial(link.take, "another")] * 3)
        left = Link.objects.get(pk=link.pk).uses_left
        assert left + LinkUse.objects.filter(link=link).count() == 3
        assert left in (0, 1)


def test_expired_links_are_cleared_while_they_are_opened():
    for _ in range(ROUNDS):
        link = link_of(5)
        Link.objects.update(expires=timezone.now() - DAY)
        at_once(*[partial(link.take, "client")] * 3, clear_links)
        clear_links()
        assert not Link.objects.exists()
