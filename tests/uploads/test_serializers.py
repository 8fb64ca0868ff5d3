"""Serializers of Django REST framework take tokens in JSON, and files in multipart forms."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework import serializers, viewsets
from rest_framework.test import APIRequestFactory, force_authenticate

from storages.uploads import tokens
from storages.uploads.models import State, Upload
from storages.uploads.serializers import DirectUploadField, DirectUploadModelSerializer
from tests.uploads.files import HTML, PNG, finished, token_of
from tests.uploads.form_models import Enclosure, Letter, paper

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("form_storages")]

SCAN, FILE = "tests_uploads.Letter.scan", "tests_uploads.Enclosure.file"


class LetterSerializer(DirectUploadModelSerializer):
    class Meta:
        model = Letter
        fields = ["title", "scan"]


class EnclosureSerializer(DirectUploadModelSerializer):
    class Meta:
        model = Enclosure
        fields = ["letter", "file"]


class LetterViews(viewsets.ModelViewSet):
    queryset = Letter.objects.all()
    serializer_class = LetterSerializer


@pytest.fixture
def anna():
    return User.objects.create_user("anna")


def send(user, data, *, action="create", method="post", **options):
    """Return the answer of the views to ``user``."""
    pk = options.pop("pk", None)
    request = getattr(APIRequestFactory(), method)("/", data, **{"format": "json", **options})
    force_authenticate(request, user)
    view = LetterViews.as_view({method: action})
    return view(request, **({"pk": pk} if pk else {}))


@pytest.mark.parametrize("form", ["as finish answers", "as the element posts"])
def test_token_in_json_becomes_the_file(anna, form):
    upload = finished(SCAN, anna)
    token = tokens.file_token(upload) if form == "as finish answers" else token_of(upload)
    answer = send(anna, {"title": "a", "scan": token})
    assert (answer.status_code, answer.data["scan"]) == (201, f"http://testserver/paper/{upload.name}")
    assert Letter.objects.get().scan.name == upload.name
    assert Upload.objects.get().state == State.CLAIMED


def test_file_in_a_form_is_stored_the_ordinary_way(anna):
    data = {"title": "a", "scan": SimpleUploadedFile("a.png", PNG, "image/png")}
    assert send(anna, data, format="multipart").status_code == 201
    assert Letter.objects.get().scan.name == "letters/a.png"


@pytest.mark.seed("S13")
def test_everything_that_is_wrong_with_a_file_is_told(anna):
    data = {"title": "a", "scan": SimpleUploadedFile("a.png", HTML + bytes(1000), "image/png")}
    answer = send(anna, data, format="multipart")
    assert answer.status_code == 400
    assert [error.code for error in answer.data["scan"]] == ["file_too_large", "invalid_file_type"]


@pytest.mark.threat("T-19")
@pytest.mark.parametrize("sent", ["token", "name", "url"])
def test_file_of_somebody_else_is_refused(anna, sent):
    upload = finished(SCAN, User.objects.create_user("bob"))
    texts = {"token": token_of(upload), "name": upload.name, "url": f"http://testserver/paper/{upload.name}"}
    answer = send(anna, {"title": "a", "scan": texts[sent]})
    assert answer.status_code == 400
    assert [error.code for error in answer.data["scan"]] == ["unknown_upload"]
    assert paper.exists(upload.name)


@pytest.mark.threat("T-20")
@pytest.mark.parametrize("junk", ["token of another field", "upload token", "", "\x00", 17, [], {}, True])
def test_what_is_no_token_of_this_field_is_refused(anna, junk):
    texts = {
        "token of another field": token_of(finished(FILE, anna)),
        "upload token": tokens.upload_token(finished(SCAN, anna)),
    }
    answer = send(anna, {"title": "a", "scan": texts.get(junk, junk) if isinstance(junk, str) else junk})
    assert answer.status_code == 400


@pytest.mark.threat("T-21")
def test_token_is_taken_once(anna):
    upload = finished(SCAN, anna)
    assert send(anna, {"title": "a", "scan": token_of(upload)}).status_code == 201
    answer = send(anna, {"title": "b", "scan": token_of(upload)})
    assert [error.code for error in answer.data["scan"]] == ["already_claimed"]


@pytest.mark.threat("T-21")
def test_token_is_good_after_an_error_of_another_field(anna):
    upload = finished(SCAN, anna)
    assert send(anna, {"scan": token_of(upload)}).status_code == 400
    assert send(anna, {"title": "a", "scan": token_of(upload)}).status_code == 201


@pytest.mark.threat("T-19")
def test_without_a_request_no_token_is_taken(anna):
    serializer = LetterSerializer(data={"title": "a", "scan": token_of(finished(SCAN, anna))})
    assert not serializer.is_valid()
    assert list(serializer.errors) == ["scan"]


def test_null_clears_what_may_be_blank(anna):
    letter = Letter.objects.create(title="a", scan="letters/a.png")
    answer = send(anna, {"scan": None}, action="partial_update", method="patch", pk=letter.pk)
    assert (answer.status_code, answer.data["scan"]) == (200, None)
    letter.refresh_from_db()
    assert letter.scan.name == ""


def test_null_does_not_clear_what_is_required():
    serializer = EnclosureSerializer(data={"file": None})
    assert not serializer.is_valid()
    assert [error.code for error in serializer.errors["file"]] == ["null"]


def test_nothing_sent_changes_nothing(anna):
    letter = Letter.objects.create(title="a", scan="letters/a.png")
    send(anna, {"title": "b"}, action="partial_update", method="patch", pk=letter.pk)
    letter.refresh_from_db()
    assert (letter.title, letter.scan.name) == ("b", "letters/a.png")


def test_file_without_a_url_is_named():
    row = Enclosure(letter_id=1, file="enclosures/a.txt")
    assert EnclosureSerializer(row).data["file"] == "enclosures/a.txt"


def test_field_of_a_plain_serializer_is_named(anna, rf):
    class Plain(serializers.Serializer):
        file = DirectUploadField(field=FILE)

    request = rf.post("/")
    request.user = anna
    upload = finished(FILE, anna)
    serializer = Plain(data={"file": token_of(upload)}, context={"request": request})
    assert serializer.is_valid(), serializer.errors
    assert serializer.validated_data["file"].upload == upload


@pytest.mark.parametrize(("label", "text"), [(None, "say which"), ("a.B.c", "names no DirectUploadField")])
def test_field_that_is_not_there_is_told(label, text):
    class Plain(serializers.Serializer):
        file = DirectUploadField(field=label)

    with pytest.raises(ImproperlyConfigured, match=text):
        Plain(data={"file": "x"}).is_valid()


def test_ordinary_model_serializer_keeps_the_limits(anna):
    class Ordinary(serializers.ModelSerializer):
        class Meta:
            model = Letter
            fields = ["scan"]

    serializer = Ordinary(data={"scan": SimpleUploadedFile("a.png", HTML, "image/png")})
    assert not serializer.is_valid()
    assert [error.code for error in serializer.errors["scan"]] == ["invalid_file_type"]


@pytest.mark.threat("T-29")
@pytest.mark.parametrize("verdict", [True, False])
def test_ordinary_model_serializer_is_no_way_around_the_scanner(anna, settings, verdict):
    class Ordinary(serializers.ModelSerializer):
        class Meta:
            model = Letter
            fields = ["scan"]

    settings.UPLOADS_SCANNER = lambda upload, file: verdict
    serializer = Ordinary(data={"scan": SimpleUploadedFile("a.png", PNG, "image/png")})
    assert serializer.is_valid() is verdict
    assert [error.code for error in serializer.errors.get("scan", [])] == ([] if verdict else ["content_rejected"])


def test_rest_framework_is_optional():
    code = "import django; django.setup(); import storages.uploads.forms, sys; print('rest_framework' in sys.modules)"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
