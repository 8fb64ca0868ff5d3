"""Every case of the contract has a test in the suite, and every test of the suite has a case."""

from __future__ import annotations

import inspect

import pytest

from storages.testing import CASES, StorageContract

ELSEWHERE = {160, 161, 167, 169, 171}  # SSH host keys; a manifest among faults
TESTS = dict(inspect.getmembers(StorageContract, lambda member: getattr(member, "__name__", "").startswith("test_")))


def numbers_of(test) -> list[list[str]]:
    """Return the cases that each set of arguments of ``test`` proves."""
    own = [mark.args[0] for mark in test.pytestmark if mark.name == "contract"]
    sets = [parameters for mark in test.pytestmark if mark.name == "parametrize" for parameters in mark.args[1]]
    marked = [[mark.args[0] for mark in getattr(parameters, "marks", ())] for parameters in sets]
    return [own] if own else marked


def test_table_holds_every_case_of_the_contract():
    assert sorted(CASES) == [f"C-{number:03}" for number in range(1, 175) if number not in ELSEWHERE]


@pytest.mark.parametrize("number", CASES)
def test_case_has_a_test(number):
    assert [name for name, test in TESTS.items() if [number] in numbers_of(test)]


@pytest.mark.parametrize("name", TESTS)
def test_test_names_known_cases(name):
    numbers = numbers_of(TESTS[name])
    assert numbers
    assert all(len(of_set) == 1 and of_set[0] in CASES for of_set in numbers)
