"""Every promise of django-buckets is listed, and has a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
TEXT = (TESTS.parent / "docs" / "promises.rst").read_text("utf-8")
ROWS = re.findall(r"^    \* - (BKT-[PN]\d\d)\n      - .+\n      - ``(\w+\.py)``: ``(\w+)``$", TEXT, re.MULTILINE)
NUMBERS = [*(f"BKT-P{number:02}" for number in range(1, 27)), *(f"BKT-N{number:02}" for number in range(1, 13))]


def test_no_promise_is_left_out():
    assert [number for number, _, _ in ROWS] == NUMBERS


@pytest.mark.parametrize(("number", "page", "test"), ROWS)
def test_promise_has_a_test(number, page, test):
    places = (TESTS / "uploads" / page, TESTS / "uploads" / "browser" / page)
    path = next(path for path in places if path.exists())
    assert re.search(rf"^ *(?:async )?def {test}\(", path.read_text("utf-8"), re.MULTILINE)
