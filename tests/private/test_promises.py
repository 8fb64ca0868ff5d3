"""Every promise of the packages that the app replaces is listed, and has a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
TEXT = (TESTS.parent / "docs" / "promises.rst").read_text("utf-8")
ROWS = re.findall(
    r"^    \* - ((?!BKT)[A-Z0-9]+-[PN]\d\d)\n      - .+\n      - ``(\w+\.py)``: ``(\w+)``$", TEXT, re.MULTILINE
)
NUMBERS = [
    *(f"PRIV-P{number:02}" for number in range(1, 26)),
    *(f"PRIV-N{number:02}" for number in range(1, 41)),
    *(f"B2-P{number:02}" for number in range(24, 32)),
]


def test_no_promise_is_left_out():
    assert [number for number, _, _ in ROWS] == NUMBERS


@pytest.mark.parametrize(("number", "page", "test"), ROWS)
def test_promise_has_a_test(number, page, test):
    path = next(path for path in (TESTS / "private" / page, TESTS / page) if path.exists())
    assert re.search(rf"^ *(?:async )?def {test}\(", path.read_text("utf-8"), re.MULTILINE)
