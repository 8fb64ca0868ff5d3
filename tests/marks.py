"""The marks of tests that say which threat, and which hole of an earlier package, they are about."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple


class Mark(NamedTuple):
    kind: str  # threat or seed
    number: str
    test: str


def marks_below(directory: Path) -> list[Mark]:
    """Return the marks of all tests in the modules below ``directory``, also of single sets of arguments."""
    found = []
    for module in sorted(directory.rglob("test_*.py")):
        tree = ast.parse(module.read_text(encoding="utf-8"))
        for test in ast.walk(tree):
            if isinstance(test, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                found += [mark for decorator in test.decorator_list for mark in _marks_of(decorator, test.name)]
    return found


def marked(marks: list[Mark], kind: str, number: str) -> list[str]:
    """Return the names of the tests with one mark."""
    return [mark.test for mark in marks if (mark.kind, mark.number) == (kind, number)]


def _marks_of(decorator: ast.expr, test: str) -> list[Mark]:
    calls = [call for call in ast.walk(decorator) if isinstance(call, ast.Call)]
    names = {"pytest.mark.threat": "threat", "pytest.mark.seed": "seed"}
    return [
        Mark(names[ast.unparse(call.func)], ast.literal_eval(number), test)
        for call in calls
        if ast.unparse(call.func) in names
        for number in call.args
    ]
