"""Faults that a reading for them has found, and what a change of a line could undo unseen."""

from __future__ import annotations

from typing import Any

import pytest

from tests.uploads.conftest import code_of
from tests.uploads.form_models import nameless, paper
from tests.uploads.models import Clip, proxied

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.uploads.urls")]

DAY = 24 * 3600


@pytest.fixture(autouse=True)
def _empty(settings: Any, tmp_path: Any) -> Any:
    settings.UPLOADS_SPOOL = tmp_path / "spool"
    kept = (paper.client, nameless.client, proxied.client)
    yield
    for client in kept:
        client.clear()


# Names that say one type and are stored as another


@pytest.mark.threat("T-27")
@pytest.mark.parametrize(
    ("filename", "content_type", "field"),
    [
        ("data:,page.html", "text/plain", ["text/plain"]),
        ("data:,logo.svg", "text/plain", ["text/plain"]),
        ("logo.svgz", "image/x-of-nobody", ["image/*"]),
        ("page.xhtml", "image/x-of-nobody", ["image/*"]),
        ("page.txt", "text/jscript", ["text/*"]),
        ("page.ofnobody", "image/of-nobody+xml", ["image/*"]),
    ],
)
def test_name_is_no_way_around_the_types_of_a_field(browser, cloud, monkeypatch, filename, content_type, field):
    monkeypatch.setattr(Clip._meta.get_field("file"), "content_types", tuple(field))
    response = browser.begin(b"<x", filename=filename, content_type=content_type)
    assert code_of(response) == (415, "type_not_allowed")
