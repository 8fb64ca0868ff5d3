"""A form takes a file: whose, for which field, once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connections, transaction
from django.test import RequestFactory

from storages.uploads import claims, middleware, signals
from storages.uploads.errors import UploadError
from storages.uploads.models import State, Upload
from tests.uploads.conftest import Browser, row_of
from tests.uploads.models import Clip

FILE, COVER = (Clip._meta.get_field(name) for name in ("file", "cover"))


def request_of(user):
    request = RequestFactory().get("/")
    request.user = user
    return request


@pytest.fixture
def done(browser):
    """The answer of finish, to Anna."""
    return browser.upload(b"the file", accepts=["put"])


def test_look_changes_nothing_and_take_takes(done, anna):
    for _ in range(2):  # a form with another error is sent again
        upload = claims.look(done["token"], FILE, request_of(anna))
    assert (upload.filename, upload.size, upload.state) == ("a.txt", 8, State.FINISHED)
    claims.take(upload)
    assert row_of(done).state == upload.state == State.CLAIMED


@pytest.mark.threat("T-19")
@pytest.mark.parametrize("who", ["ben", "nobody", "no request", "a request without a user"])
def test_file_of_another_user_is_not_there(done, anna, ben, who):
    request = {
        "ben": request_of(ben),
        "nobody": request_of(AnonymousUser()),
        "no request": None,
        "a request without a user": RequestFactory().get("/"),
    }[who]
    with pytest.raises(UploadError, match="upload_not_found"):
        claims.look(done["token"], FILE, request)
    assert row_of(done).state == State.FINISHED


@pytest.mark.threat("T-20")
def test_file_for_another_field_is_not_there(done, anna):
    with pytest.raises(UploadError, match="upload_not_found"):
        claims.look(done["token"], COVER, request_of(anna))


@pytest.mark.threat("T-19")
@pytest.mark.parametrize(
    "token", ["", "clips/x.txt", "https://cloud.example/clips/x.txt", None, 3, ["x"], {"a": 1}, "x" * 9999]
)
def test_what_is_no_token_names_no_file(anna, cloud, token):
    with pytest.raises(UploadError, match="upload_not_found"):
        claims.look(token, FILE, request_of(anna))


@pytest.mark.threat("T-24")
def test_token_of_another_version_names_no_file(done, anna):
    Upload.objects.update(pin="another etag")
    with pytest.raises(UploadError, match="upload_not_found"):
        claims.look(done["token"], FILE, request_of(anna))


@pytest.mark.threat("T-19")
def test_file_of_a_session_is_for_that_session(db, cloud, settings):
    settings.UPLOADS_PERMISSION = "storages.uploads.permissions.allow_anybody"
    browser, other = Browser(), Browser()
    done = browser.upload(b"the file", accepts=["put"])
    other.slot()
    for http, is_there in [(browser.http, True), (other.http, False)]:
        request = request_of(AnonymousUser())
        request.session = http.session
        if is_there:
            assert claims.look(done["token"], FILE, request)
        else:
            with pytest.raises(UploadError, match="upload_not_found"):
                claims.look(done["token"], FILE, request)


@pytest.mark.threat("T-21")
@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("begun", "state_conflict"),
        ("uploaded", "state_conflict"),
        ("quarantined", "state_conflict"),
        ("claimed", "already_claimed"),
        ("aborted", "upload_aborted"),
        ("expired", "upload_expired"),
        ("rejected", "content_rejected"),
    ],
)
def test_only_a_finished_file_can_be_taken(done, anna, state, code):
    upload = row_of(done)
    Upload.objects.update(state=state)
    with pytest.raises(UploadError, match=code):
        claims.look(done["token"], FILE, request_of(anna))
    with pytest.raises(UploadError, match=code):
        claims.take(upload)
    assert row_of(done).state == state


@pytest.mark.threat("T-21")
def test_file_that_lay_too_long_is_not_taken(done, anna, clock):
    upload = claims.look(done["token"], FILE, request_of(anna))
    clock.forward(24 * 3600 + 1)
    with pytest.raises(UploadError, match="upload_expired"):
        claims.look(done["token"], FILE, request_of(anna))
    with pytest.raises(UploadError, match="upload_expired"):
        claims.take(upload)


@pytest.mark.threat("T-21")
def test_file_is_taken_once(done, anna):
    upload, same = (claims.look(done["token"], FILE, request_of(anna)) for _ in range(2))
    claims.take(upload)
    with pytest.raises(UploadError, match="already_claimed"):
        claims.take(same)


@pytest.mark.threat("T-21")
def test_file_that_is_swept_between_look_and_take_is_not_there(done, anna):
    upload = claims.look(done["token"], FILE, request_of(anna))
    Upload.objects.all().delete()
    with pytest.raises(UploadError, match="upload_not_found"):
        claims.take(upload)


@pytest.mark.threat("T-21")
def test_rollback_gives_the_file_back(done, anna):
    upload = claims.look(done["token"], FILE, request_of(anna))
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        claims.take(upload)
        raise ZeroDivisionError
    claims.take(claims.look(done["token"], FILE, request_of(anna)))


def test_file_that_could_not_be_saved_outside_a_transaction_is_given_back(done, anna):
    upload = claims.look(done["token"], FILE, request_of(anna))
    claims.take(upload)
    assert claims.give_back(upload)
    assert not claims.give_back(upload)
    claims.take(claims.look(done["token"], FILE, request_of(anna)))


def test_signal_is_sent_once_the_file_is_taken_for_good(done, anna, django_capture_on_commit_callbacks):
    told = []

    def receive(sender, upload, **more):
        told.append(upload.pk)

    signals.upload_claimed.connect(receive)
    try:
        upload = claims.look(done["token"], FILE, request_of(anna))
        with django_capture_on_commit_callbacks(execute=True):
            claims.take(upload)
            assert told == []
        assert told == [upload.pk]
    finally:
        signals.upload_claimed.disconnect(receive)


@pytest.mark.threat("T-21")
@pytest.mark.parametrize("round", range(3))
def test_of_saves_at_once_one_gets_the_file(file_database, browser, anna, round):
    done = browser.upload(b"the file", accepts=["put"])
    start = threading.Barrier(4)

    def save(number):
        try:
            upload = claims.look(done["token"], FILE, request_of(anna))
            start.wait()
            with transaction.atomic():
                claims.take(upload)
                Clip.objects.create(title=str(number), file=upload.name)
        except UploadError as error:
            return error.code
        else:
            return "saved"
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(save, range(4)))
    assert answers == ["already_claimed"] * 3 + ["saved"]
    assert Clip.objects.count() == 1


# The request of a form that is not told


def test_request_is_known_while_it_is_answered(rf):
    seen = []

    def view(request):
        seen.append(middleware.current_request())
        return "answer"

    request = rf.get("/")
    assert middleware.UploadsMiddleware(view)(request) == "answer"
    assert seen == [request]
    assert middleware.current_request() is None


def test_request_is_forgotten_when_its_view_fails(rf):
    def view(request):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        middleware.UploadsMiddleware(view)(rf.get("/"))
    assert middleware.current_request() is None


def test_requests_of_tasks_are_kept_apart(rf):
    import asyncio

    seen = []

    async def view(request):
        await asyncio.sleep(0.01)
        seen.append((middleware.current_request(), request))
        return request.path

    async def all_of_them():
        wrapped = middleware.UploadsMiddleware(view)
        return await asyncio.gather(*(wrapped(rf.get(f"/{number}")) for number in range(5)))

    assert asyncio.run(all_of_them()) == [f"/{number}" for number in range(5)]
    assert all(known is own for known, own in seen)


def test_save_that_lost_a_race_is_an_answer_and_no_crash(rf):
    layer = middleware.UploadsMiddleware(lambda request: None)
    answer = layer.process_exception(rf.get("/"), UploadError("already_claimed", "for developers"))
    assert (answer.status_code, answer.content) == (409, b"This file was saved already; choose it again.")
    assert layer.process_exception(rf.get("/"), ValueError()) is None
