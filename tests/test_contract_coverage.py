"""Every case and every fault of the contract has a test in the suites, and every test of theirs has a case."""

from __future__ import annotations

import importlib
import inspect

import pytest

from storages.testing import CASES, StorageContract
from tests.faults import FAULTS, HTTPCases, SessionCases

ELSEWHERE = {160, 161, 167, 169, 171}  # SSH host keys; a manifest among faults
BACKENDS = ("azure", "b2", "dropbox", "ftp", "gcloud", "ipfs", "libcloud", "s3", "sftp")
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


# Faults


def cases_of(suite) -> dict:
    return dict(inspect.getmembers(suite, lambda member: getattr(member, "__name__", "").startswith("test_")))


def faults_of(test) -> set[str]:
    """Return the faults that ``test`` proves with one set of arguments or another."""
    sets = [parameters for mark in test.pytestmark if mark.name == "parametrize" for parameters in mark.args[1]]
    marks = [*test.pytestmark, *(mark for parameters in sets for mark in getattr(parameters, "marks", ()))]
    return {mark.args[0] for mark in marks if mark.name == "fault"}


def test_table_holds_every_fault_of_the_contract():
    assert sorted(FAULTS) == [f"F-{number:02}" for number in range(1, 21)]


@pytest.mark.parametrize("suite", [HTTPCases, SessionCases])
@pytest.mark.parametrize("number", FAULTS)
def test_fault_has_a_test(suite, number):
    assert [name for name, test in cases_of(suite).items() if number in faults_of(test)]


@pytest.mark.parametrize("suite", [HTTPCases, SessionCases])
def test_test_of_faults_names_known_ones(suite):
    for test in cases_of(suite).values():
        contract = [mark for mark in test.pytestmark if mark.name == "contract"]
        assert contract or faults_of(test)
        assert faults_of(test) <= FAULTS.keys()


@pytest.mark.parametrize("backend", BACKENDS)
def test_backend_is_held_against_the_faults(backend):
    module = importlib.import_module(f"tests.test_{backend}_faults")
    (cls,) = (found for name, found in vars(module).items() if name.startswith("Test"))
    assert issubclass(cls, (HTTPCases, SessionCases))
    assert cls.backend
    assert cls.server
    assert all(cls.cannot.values())
