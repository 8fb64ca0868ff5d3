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
from storages.uploads import widgets

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


def test_every_message_is_translated(catalog):
    assert messages_in_code() - entries(catalog).keys() == set()
    assert all(entries(catalog).values())


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
    files = [path for folder in ("locale", "templates", "static") for path in (APP / folder).rglob("*")]
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
