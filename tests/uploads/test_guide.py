"""The guide to direct uploads says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.management import get_commands

from storages.uploads import kinds, permissions, signals
from storages.uploads.errors import CODES
from storages.uploads.fields import PROMISES
from storages.uploads.settings import DEFAULTS
from storages.uploads.urls import urlpatterns

GUIDE = (Path(__file__).parents[2] / "docs" / "uploads.rst").read_text("utf-8")
LITERALS = set(re.findall(r"``([^`]+)``", GUIDE))
# Of what replaces django-buckets, its fake among it.
ELSEWHERE = re.compile("UPLOADS_FAKE|UPLOADS_S3_.*")


def _after(heading: str) -> str:
    """Return a part of the guide, up to the next heading."""
    rest = GUIDE.split(f"\n{heading}\n", 1)[1].split("\n", 1)[1]
    return re.split(r"\n[^\n]+\n(?:-{3,}|~{3,})\n", rest)[0]


def test_errors_are_all_there_with_their_status():
    rows = re.findall(r"\* - ([\d, ]+)\n      - (.*?)\n      -", _after("Errors"), re.S)
    told = {(code, status) for statuses, codes in rows for code in re.findall(r"``(\w+)``", codes)
            for status in map(int, statuses.split(", "))}  # fmt: skip
    assert {(code, meaning.status) for code, meaning in CODES.items()} <= told
    assert {code for code, _ in told} == set(CODES)


def test_settings_are_all_there():
    told = set(re.findall(r"\* - ``(UPLOADS_\w+)``", GUIDE))
    assert told == {name for name in DEFAULTS if not ELSEWHERE.fullmatch(name)}


@pytest.mark.parametrize(
    "names",
    [
        pytest.param({f"{pattern.name}/" for pattern in urlpatterns if pattern.name != "tus_upload"}, id="calls"),
        pytest.param({name for name, kind in vars(signals).items() if isinstance(kind, signals.Signal)}, id="signals"),
        pytest.param({name for name in vars(permissions) if name.startswith("allow_")}, id="permissions"),
        pytest.param({kinds.TUS, *kinds.SINGLE_KINDS, *kinds.PART_KINDS}, id="kinds"),
        pytest.param({f'"{promise}"' for promise in PROMISES}, id="promises"),
    ],
)
def test_names_are_all_there(names):
    assert names <= LITERALS


def test_commands_are_all_there():
    ours = {name for name, app in get_commands().items() if app == "storages.uploads"}
    assert ours == set(re.findall(r"^``manage.py (uploads_\w+)", GUIDE, re.M))
