"""Every threat of serving has a test by its number, and so has every hole of an earlier package that is closed here."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client
from django.urls import include, path

from storages.private.link_views import PrivateLinkView
from storages.private.views import PrivateStorageView
from tests.marks import marked, marks_below
from tests.private.models import memory as stored

MARKS = marks_below(Path(__file__).parent)

THREATS = [f"T-{number:02}" for number in range(1, 18)]
SEEDS = ["S1", "S2", "S5", "S6", "S7", "S9", "S10", "S14"]

urlpatterns = [
    path("", include("storages.private.b2_urls")),
    path("", include("storages.private.link_urls")),
    path("memory/<path:path>", PrivateStorageView.as_view(storage=stored, can_access_file=lambda self, file: True)),
    path("media/", include("storages.private.urls")),
]


@pytest.mark.parametrize("threat", THREATS)
def test_threat_has_a_test(threat):
    assert marked(MARKS, "threat", threat)


@pytest.mark.parametrize("seed", SEEDS)
def test_hole_of_an_earlier_package_has_a_test(seed):
    assert marked(MARKS, "seed", seed)


@pytest.mark.seed("S1")
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "MOVE"])
@pytest.mark.parametrize("url", ["/b2/a.txt", "/b2l/a.txt", "/b2s/a.txt", "/link/token/", "/memory/a.txt", "/media/a"])
def test_nothing_is_written_by_a_request(memory, settings, url, method):
    settings.ROOT_URLCONF = __name__
    before = dict(memory.client)
    response = Client().generic(method, url, b"<script>", headers={"X-Sendfile": "/etc/passwd"})
    assert response.status_code == 405
    assert memory.calls == []
    assert memory.client == before


def test_views_read_only():
    for view in (PrivateStorageView, PrivateLinkView):
        assert {*view.http_method_names} == {"get", "head", "options"}
