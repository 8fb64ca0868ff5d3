"""Every threat of uploads has a test by its number, and so has every hole of an earlier package that is closed here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.marks import marked, marks_below

MARKS = marks_below(Path(__file__).parent)

THREATS = [f"T-{number}" for number in range(18, 41)]
SEEDS = ["S1", "S3", "S4", "S8", "S13"]


@pytest.mark.parametrize("threat", THREATS)
def test_threat_has_a_test(threat):
    assert marked(MARKS, "threat", threat)


@pytest.mark.parametrize("seed", SEEDS)
def test_hole_of_an_earlier_package_has_a_test(seed):
    assert marked(MARKS, "seed", seed)
