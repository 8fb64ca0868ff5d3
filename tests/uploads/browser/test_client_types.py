"""client.d.ts as a compiler reads it: another front end uses all of it, and its mistakes are found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import storages.uploads
from tests.conftest import in_ci
from tests.servers.process import ServerError
from tests.servers.typescript import compile_strictly

CLIENT = Path(storages.uploads.__file__).parent / "static/storages_uploads/client.js"
CONSUMER = Path(__file__).with_name("consumer.ts")


def told(*files: Path) -> str:
    try:
        return compile_strictly(*files)
    except ServerError as error:
        if in_ci():
            raise
        pytest.skip(str(error))


def test_another_front_end_compiles_and_its_mistakes_do_not():
    """Each mistake is marked as one that is expected, and the compiler tells of a mark without a mistake."""
    assert told(CONSUMER, CLIENT.with_suffix(".d.ts")) == ""
    assert CONSUMER.read_text("utf-8").count("@ts-expect-error") == 9


def test_types_are_those_of_what_the_module_has():
    module, types = CLIENT.read_text("utf-8"), CLIENT.with_suffix(".d.ts").read_text("utf-8")
    declared = re.findall(r"^export declare (?:class|const|function) (\w+)", types, re.MULTILINE)
    assert sorted(re.findall(r"^export (?:async )?(?:class|const|function) (\w+)", module, re.MULTILINE)) == sorted(
        declared
    )
    (kinds,) = re.findall(r"^export const KINDS = \[(.*)\];", module, re.MULTILINE)
    (kind,) = re.findall(r"^export type Kind = (.*);", types, re.MULTILINE)
    assert kinds.split(", ") == kind.split(" | ")
    options = re.search(
        r"interface ServerOptions {(.*?)^}.*interface UploadOptions \w+ \w+ {(.*?)^}", types, re.S | re.M
    )
    for name in re.findall(r"^  (\w+)\??:", "".join(options.groups()), re.MULTILINE):
        assert re.search(rf"options\.{name}\b|constructor\({{[^}}]*\b{name}\b", module), name
