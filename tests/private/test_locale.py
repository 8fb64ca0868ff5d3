"""Messages of the app in the languages that it has."""

from __future__ import annotations

import ast
import configparser
import gettext
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import translation

import storages.private
from storages.private.fields import PrivateFileField

APP = Path(storages.private.__file__).parent
CATALOGS = sorted((APP / "locale").glob("*/LC_MESSAGES/django.po"))
LANGUAGES = [path.parent.parent.name for path in CATALOGS]


def messages_in_code() -> set[str]:
    """Return what is in a call of _()."""
    trees = [ast.parse(path.read_text("utf-8")) for path in APP.rglob("*.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {ast.literal_eval(call.args[0]) for call in calls if getattr(call.func, "id", "") == "_"}


def entries(path: Path) -> dict[str, str]:
    """Return the translations of a catalogue by message."""
    pairs = re.findall(r'^msgid "(.+)"\nmsgstr "(.*)"$', path.read_text("utf-8"), re.MULTILINE)
    return dict(pairs)


@pytest.fixture(scope="module", params=CATALOGS, ids=LANGUAGES)
def catalog(request):
    return request.param


def test_languages_are_those_that_were_promised():
    assert {"ca", "en", "fr", "nl", "pt_BR"} <= set(LANGUAGES)


def test_every_message_is_translated(catalog):
    assert entries(catalog).keys() == messages_in_code()
    assert all(entries(catalog).values())


def test_placeholders_are_kept(catalog):
    found = {message: re.findall(r"{\w+}", text) for message, text in entries(catalog).items()}
    assert found == {message: re.findall(r"{\w+}", message) for message in found}


def test_compiled_catalog_is_fresh(catalog):
    with catalog.with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    assert {message: compiled.gettext(message) for message in entries(catalog)} == entries(catalog)


def test_catalogs_are_in_the_package(catalog):
    config = configparser.ConfigParser()
    config.read(APP.parent.parent / "setup.cfg")
    patterns = config["options.package_data"]["storages.private"].split()
    for path in (catalog, catalog.with_suffix(".mo")):
        assert any(fnmatch(str(path.relative_to(APP)), pattern) for pattern in patterns)


@pytest.mark.parametrize(
    ("language", "message"),
    [
        ("nl", "Het bestand mag niet groter zijn dan 1\xa0byte."),
        ("fr", "Le fichier ne doit pas dépasser 1\xa0octet."),
        ("pt-br", "O arquivo não pode ser maior que 1\xa0byte."),
        ("de", "Die Datei darf nicht größer als 1\xa0Byte sein."),
        ("en", "The file may not be larger than 1\xa0byte."),
    ],
)
def test_message_is_in_the_language_of_the_request(language, message):
    field = PrivateFileField(max_file_size=1)
    with translation.override(language):
        with pytest.raises(ValidationError) as caught:
            field._check_upload(SimpleUploadedFile("a", b"xx"), "a")
    assert caught.value.messages == [message]


def test_name_of_the_app_is_translated():
    with translation.override("nl"):
        assert str(apps.get_app_config("storages_private").verbose_name) == "Privébestanden"
