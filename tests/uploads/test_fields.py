"""The model field: a FileField in every respect, whose options stay out of migrations."""

from __future__ import annotations

import copy
import io
import mimetypes
import pickle

import pytest
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import models
from django.db.migrations.writer import MigrationWriter
from django.db.models.fields.files import FieldFile
from django.test.utils import isolate_apps

from storages.contract import Enforced
from storages.uploads import registry
from storages.uploads.fields import DirectUploadField, UploadedDirectly
from tests.uploads.files import HTML, PNG, finished
from tests.uploads.form_models import Enclosure, Letter, nameless, paper

SCAN = "tests_uploads.Letter.scan"


@pytest.fixture(autouse=True)
def _empty_storages():
    yield
    paper.client.clear()
    nameless.client.clear()


@pytest.mark.django_db
def test_models_of_the_tests_need_no_migration_of_ours():
    call_command("makemigrations", "storages_uploads", check=True, dry_run=True, verbosity=0)


def test_options_that_make_no_schema_are_not_in_migrations():
    field = DirectUploadField(
        upload_to="a",
        max_size=5,
        min_size=2,
        content_types=["image/*"],
        permission="x.y",
        enforce=["size"],
        checksum=True,
        scan="x.z",
        delete_replaced=True,
    )
    _, path, args, options = field.deconstruct()
    assert (path, args, options) == ("storages.uploads.fields.DirectUploadField", [], {"upload_to": "a"})
    text, imports = MigrationWriter.serialize(field)
    assert text == "storages.uploads.fields.DirectUploadField(upload_to='a')"
    assert "import storages.uploads.fields" in imports


def test_options_survive_copies():
    field = DirectUploadField(max_size=5, content_types="image/png", enforce="size")
    for twin in (copy.deepcopy(field), copy.copy(field)):
        assert (twin.max_size, twin.content_types, twin.enforce) == (5, ("image/png",), frozenset({"size"}))


@isolate_apps("tests.uploads")
def test_fields_of_an_abstract_model_have_names_of_their_own():
    class Base(models.Model):
        file = DirectUploadField()

        class Meta:
            abstract = True
            app_label = "tests_uploads"

    class First(Base):
        pass

    class Second(Base):
        pass

    labels = [model._meta.get_field("file").label for model in (First, Second)]
    assert labels == ["tests_uploads.First.file", "tests_uploads.Second.file"]


@pytest.mark.parametrize("promises", ["everything", ["size", "virtue"]])
def test_unknown_promises_are_refused(promises):
    with pytest.raises(ValueError, match="it may have size, type, checksum, overwrite"):
        DirectUploadField(enforce=promises)


@pytest.mark.parametrize(
    ("promise", "enforced", "is_kept"),
    [
        ("size", Enforced(size="exact"), True),
        ("size", Enforced(size="range"), True),
        ("size", Enforced(size="finish"), False),
        ("type", Enforced(type="signed"), True),
        ("type", Enforced(type="finish"), False),
        ("checksum", Enforced(checksum="signed"), True),
        ("checksum", Enforced(checksum="finish"), False),
        ("checksum", Enforced(checksum="none"), False),
        ("overwrite", Enforced(overwrite="denied"), True),
        ("overwrite", Enforced(overwrite="promote"), False),
        ((), Enforced(), True),
        (("size", "type"), Enforced(size="exact"), False),
    ],
)
def test_promise_is_kept_by_what_the_service_refuses(promise, enforced, is_kept):
    assert DirectUploadField(enforce=promise).keeps(enforced) is is_kept


@pytest.mark.parametrize(
    ("upload_to", "prefix"),
    [
        ("", ""),
        ("a/b/", "a/b"),
        ("%Y", None),
        (lambda instance, filename: f"{type(instance).__name__}/{filename}", "Letter"),
        (lambda instance, filename: filename, ""),
    ],
)
def test_prefix_is_made_before_there_is_an_instance(upload_to, prefix):
    field = DirectUploadField(upload_to=upload_to)
    field.model = Letter
    assert field.upload_prefix() == prefix or (prefix is None and field.upload_prefix().isdigit())


# FieldFile


@pytest.mark.django_db
def test_file_has_djangos_interface():
    letter = Letter(title="a")
    letter.scan.save("a.png", ContentFile(PNG))
    assert isinstance(letter.scan, FieldFile)
    assert (letter.scan.name, letter.scan.url, letter.scan.size) == ("letters/a.png", "/paper/letters/a.png", len(PNG))
    with letter.scan.open() as file:
        assert file.read() == PNG
    assert pickle.loads(pickle.dumps(letter.scan)).name == "letters/a.png"
    letter.scan.delete()
    assert not Letter.objects.get().scan
    assert paper.client == {}


@pytest.mark.django_db
def test_direct_upload_is_readable_before_it_is_saved():
    upload = finished(SCAN, filename="b.png")
    letter = Letter(title="a", scan=UploadedDirectly(upload, paper))
    assert (letter.scan.name, letter.scan.size, letter.scan.read()) == ("b.png", len(PNG), PNG)
    letter.save()
    assert letter.scan.name == upload.name
    assert letter.scan.read() == PNG


@pytest.mark.django_db
def test_direct_upload_is_saved_by_the_file_too():
    upload = finished(SCAN)
    letter = Letter(title="a")
    letter.scan.save("ignored.png", UploadedDirectly(upload, paper))
    assert Letter.objects.get().scan.name == upload.name
    assert list(paper.client) == [upload.name]


@pytest.mark.django_db
def test_names_may_be_assigned_in_code():
    Letter.objects.create(title="a", scan="letters/there.png")
    assert Letter.objects.get().scan.name == "letters/there.png"


@pytest.mark.django_db
def test_saving_asks_the_storage_nothing(django_assert_num_queries):
    letter = Letter(title="a", scan=UploadedDirectly(finished(SCAN), paper))
    paper.client.clear()  # whoever asks is told that there is no such file
    with django_assert_num_queries(2):
        letter.save()


@pytest.mark.django_db
def test_without_delete_replaced_nothing_is_looked_up(django_assert_num_queries):
    letter = Letter.objects.create(title="a", scan="a.png")
    with django_assert_num_queries(1):
        letter.save()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "content", "codes"),
    [
        ("a.png", PNG, []),
        ("a.png", HTML, ["invalid_file_type"]),
        ("a.png", b"", ["file_too_small"]),
        ("a.exe", bytes(2000), ["file_too_large", "invalid_file_type"]),
    ],
)
def test_fresh_files_are_validated_by_the_model(name, content, codes):
    letter = Letter(title="a", scan=SimpleUploadedFile(name, content, mimetypes.guess_type(name)[0]))
    try:
        letter.full_clean()
        found = []
    except ValidationError as error:
        found = [one.code for one in error.error_dict["scan"]]
    assert found == codes


@pytest.mark.django_db
def test_stored_files_are_not_read_to_be_validated():
    Letter(title="a", scan="letters/not-there.png").full_clean()


def test_field_is_found_by_its_name():
    assert registry.field_called("tests_uploads.Enclosure.file") is Enclosure._meta.get_field("file")


# What can be seen of a field without a request


@isolate_apps("tests.uploads")
def checked(**options):
    """Return the ids of what a model's field with these options is told."""

    class Paper(models.Model):
        file = DirectUploadField(storage=paper, **options)

        class Meta:
            app_label = "tests_uploads"

    return [message.id for message in Paper._meta.get_field("file").check()]


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({"upload_to": "a"}, []),
        ({"max_size": 5}, []),
        ({"max_size": 5, "min_size": 6}, ["storages_uploads.E011"]),
        ({"max_size": 5, "min_size": -1}, ["storages_uploads.E011"]),
        ({"upload_to": lambda instance, filename: filename}, []),
        ({"upload_to": lambda instance, filename: instance.owner.name}, ["storages_uploads.E012"]),
        ({"max_length": 44}, []),
        ({"max_length": 43}, ["storages_uploads.E013"]),
        ({"upload_to": 60 * "a"}, ["storages_uploads.E013"]),
        ({"upload_to": "/a"}, ["fields.E202"]),
    ],
)
def test_impossible_options_are_reported(options, ids):
    assert checked(**options) == ids


def test_closing_what_nobody_read_opens_nothing():
    file = UploadedDirectly(finished_unsaved(), io)
    file.close()
    assert file.closed


def finished_unsaved():
    from storages.uploads.models import Upload

    return Upload(field=SCAN, filename="a", size=1)
