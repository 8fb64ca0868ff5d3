"""Messages of direct uploads in the languages that they have, those of the element among them."""

from __future__ import annotations

import ast
import configparser
import gettext
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
from django.utils import translation

import storages.uploads
from storages.uploads import legacy_widgets, widgets, wording
from storages.uploads.errors import CODES, UploadError

APP = Path(storages.uploads.__file__).parent
CATALOGS = sorted((APP / "locale").glob("*/LC_MESSAGES/django.po"))


def messages_in_code() -> set[str]:
    """Return what is in a call of _()."""
    trees = [ast.parse(path.read_text("utf-8")) for path in APP.rglob("*.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {ast.literal_eval(call.args[0]) for call in calls if getattr(call.func, "id", "") == "_"}


def entries(path: Path) -> dict[str, str]:
    """Return the translations of a catalogue by message."""
    return dict(re.findall(r'^msgid "(.+)"\nmsgstr "(.*)"$', path.read_text("utf-8"), re.MULTILINE))


@pytest.fixture(scope="module", params=CATALOGS, ids=[path.parent.parent.name for path in CATALOGS])
def catalog(request):
    return request.param


def test_languages_are_those_of_private_files():
    private = APP.parent / "private/locale"
    assert [path.parent.parent.name for path in CATALOGS] == sorted(path.name for path in private.iterdir())


def test_every_message_is_translated_and_no_other(catalog):
    assert entries(catalog).keys() == messages_in_code()
    assert all(entries(catalog).values())


def test_templates_have_no_words_of_their_own():
    for path in [*APP.rglob("templates/**/*.html"), *APP.rglob("jinja2/**/*.html")]:
        text = re.sub(r"{%.*?%}|{{.*?}}|<[^>]*>", "", re.sub(r"\"{{.*?}}\"|{%.*?%}", "", path.read_text("utf-8")))
        assert re.findall(r"\w+", text) == [], path


@pytest.mark.parametrize(
    ("script", "messages"), [("widget.js", widgets.MESSAGES), ("s3.js", legacy_widgets.MESSAGES)], ids=["element", "s3"]
)
def test_scripts_say_all_of_their_messages_and_no_others(script, messages):
    text = (APP / "static/storages_uploads" / script).read_text("utf-8").partition("class ")
    said = re.sub(r"const MESSAGES = {.*?};", "", text[0] + text[2], flags=re.DOTALL)
    assert [key for key in messages if f'"{key}"' not in said] == []
    keys = re.findall(r"""(?:\btext\((?:widget, )?|#say\(|#shows\()"(\w+)\"""", said)
    assert set(keys) <= messages.keys()


@pytest.mark.parametrize("code", CODES)
def test_refusal_that_people_see_is_in_their_language(code):
    error = UploadError(code, "for developers")
    with translation.override("fr"):
        told = str(wording.of(error))
    assert told in entries(APP / "locale/fr/LC_MESSAGES/django.po").values()
    with translation.override("en"):
        assert str(wording.of(error)) not in (told, "for developers")


def test_placeholders_are_kept(catalog):
    found = {message: sorted(re.findall(r"{\w+}", text)) for message, text in entries(catalog).items()}
    assert found == {message: sorted(re.findall(r"{\w+}", message)) for message in found}


def test_compiled_catalog_is_fresh(catalog):
    with catalog.with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    assert {message: compiled.gettext(message) for message in entries(catalog)} == entries(catalog)


def test_what_is_no_python_is_in_the_package():
    config = configparser.ConfigParser()
    config.read(APP.parent.parent / "setup.cfg")
    patterns = config["options.package_data"]["storages.uploads"].split()
    files = [path for folder in ("locale", "jinja2", "templates", "static") for path in (APP / folder).rglob("*")]
    for path in files:
        if path.is_file():
            assert any(fnmatch(str(path.relative_to(APP)), pattern) for pattern in patterns), path


def test_private_files_and_uploads_say_the_same_alike(catalog):
    own, others = entries(catalog), entries(Path(str(catalog).replace("/uploads/", "/private/")))
    shared = own.keys() & others.keys()
    assert "File type not supported." in shared
    assert {message: own[message] for message in shared} == {message: others[message] for message in shared}


def test_script_and_page_have_the_same_messages():
    text = (APP / "static/storages_uploads/widget.js").read_text("utf-8")
    (table,) = re.findall(r"const MESSAGES = {(.*?)};", text, re.DOTALL)
    with translation.override(None):
        assert dict(re.findall(r'(\w+): "(.*?)"', table)) == {key: str(said) for key, said in widgets.MESSAGES.items()}
