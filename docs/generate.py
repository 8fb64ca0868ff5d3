"""Write docs/generated from the declarations: options, capabilities, an OPTIONS example, the cases of the contract.

``--check`` writes nothing and ends with status 1 where a file is stale.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import pkgutil
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from textwrap import indent
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
GENERATED = DOCS / "generated"
sys.path.insert(0, str(ROOT))

from django.conf import settings  # noqa: E402
from django.core.exceptions import ImproperlyConfigured  # noqa: E402

if not settings.configured:
    settings.configure()

import storages.backends  # noqa: E402
from storages.base import BaseStorage  # noqa: E402
from storages.checks import LEGACY_SETTINGS  # noqa: E402
from storages.contract import Capabilities  # noqa: E402
from storages.settings import Setting  # noqa: E402
from storages.testing import CASES, StorageContract  # noqa: E402

MIB = 1024**2
BEGINNING = ".. Made by docs/generate.py; change the declarations, not this file.\n\n"

# What a capability means to somebody who uses the storage; a new one without a line here fails the generator.
CAPABILITIES = {
    "ranges": "A part of an object can be read without the rest of it.",
    "parts": "A long write goes in parts, and shows when all are there.",
    "streams": "An upload of unknown length goes out in one request, without being held first.",
    "create_only": "The service itself refuses to replace an object when told so.",
    "if_match": "Reads and writes can be tied to the object as it was when it was opened.",
    "timed_etags": "An etag is made of size and time, so two writes of one moment may have the same.",
    "copy": "``copy()`` and ``move()`` run on the server.",
    "move": "``move()`` is a rename.",
    "delete_many": "``delete_many()`` removes many objects in one request.",
    "presign": "HTTP methods for which ``url()`` signs.",
    "created_time": "``get_created_time()`` works.",
    "accessed_time": "``get_accessed_time()`` works.",
    "content_type": "The service keeps the content type, and sends it over HTTP.",
    "content_addressed": "The service chooses the key by the content; nothing can be replaced.",
}

# What a backend, by its module, must be given before one can be made and asked what it can do; nothing is sent.
EXAMPLE_OPTIONS = {
    "apache_libcloud": {"type": "S3", "bucket": "example"},
    "azure_storage": {"account_name": "example", "azure_container": "example"},
    "dropbox": {"oauth2_access_token": "example"},
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is stale")
    check = parser.parse_args(arguments).check
    stale = 0
    texts = pages()
    for name, text in texts.items():
        path = GENERATED / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        if check:
            print(f"{path.relative_to(ROOT)} is stale: run python docs/generate.py", file=sys.stderr)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    for path in sorted(set(GENERATED.iterdir()) - {GENERATED / name for name in texts}):
        stale += 1
        print(f"{path.relative_to(ROOT)} is made by nothing: remove it", file=sys.stderr)
    return 1 if check and stale else 0


def pages() -> dict[str, str]:
    """Return the text of each generated file."""
    backends = storage_classes()
    texts = {
        "capabilities.rst": capability_table(backends),
        "cases.rst": case_table(),
        "legacy-settings.rst": legacy_setting_table(backends),
        "legacy-options.rst": legacy_option_table(backends),
        "settings.rst": "".join(section(*backend) for backend in backends.items()),
    }
    texts |= {f"options-{module}.rst": option_table(cls) for module, cls in backends.items()}
    texts |= {f"example-{module}.rst": options_example(backends[module]) for module in examples_wanted()}
    return {name: BEGINNING + text for name, text in texts.items()}


def examples_wanted() -> set[str]:
    """Return the backends whose page shows an example of all options."""
    written_pages = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.rst"))
    return set(re.findall(r"include:: generated/example-(\w+)\.rst", written_pages))


def storage_classes() -> dict[str, type[BaseStorage]]:
    """Return the storage that each module of storages.backends is about: S3 first, memory last."""
    found = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(storages.backends.__path__)):
        for cls in vars(importlib.import_module(f"storages.backends.{module}")).values():
            if inspect.isclass(cls) and cls.__module__.endswith(f".{module}") and BaseStorage in cls.__bases__:
                found[module] = cls
    return dict(sorted(found.items(), key=lambda item: (item[0] != "s3", item[0] == "memory", item[1].__name__)))


def dotted(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


# Options


def section(module: str, cls: type[BaseStorage]) -> str:
    title = dotted(cls)
    return f"{title}\n{'-' * len(title)}\n\n.. include:: generated/options-{module}.rst\n\n"


def option_table(cls: type[BaseStorage]) -> str:
    rows = (option_row(name, setting) for name, setting in cls.declared_settings().items())
    return table(["Option, Django setting", "Default", "Meaning"], [34, 16, 50], rows)


def option_row(name: str, setting: Setting) -> list[str]:
    help_ = setting.help if setting.help.endswith((".", ")")) else f"{setting.help}."
    notes = [marked(help_)]
    if isinstance(setting.default, tuple):
        notes.append(f"Default: {literals(setting.default)}.")
    if setting.choices:
        notes.append(f"One of {literals(map(repr, setting.choices))}.")
    if setting.env:
        notes.append(f"Environment: {literals(setting.env)}.")
    if setting.secret:
        notes.append("*Secret.*")
    names = [f"``{name}``", *(f"``{django_name}``" for django_name in setting.names)]
    return [lines(names), lines([default_of(setting), type_of(setting)]), " ".join(notes)]


def default_of(setting: Setting) -> str:
    return "*see right*" if isinstance(setting.default, tuple) else f"``{written(setting.default)}``"


def written(value: Any) -> str:
    """Return ``value`` as a person would write it in a settings file."""
    whole = type(value) is int and value and not value % MIB
    return f"{value // MIB} * 1024**2" if whole else repr(value)


def type_of(setting: Setting) -> str:
    types = setting.type if isinstance(setting.type, tuple) else (setting.type,)
    return " or ".join("any" if kind is object else kind.__name__ for kind in types)


def options_example(cls: type[BaseStorage]) -> str:
    """Return a STORAGES block with every option at its default, commented out."""
    block = ["STORAGES = {", '    "default": {', f'        "BACKEND": "{dotted(cls)}",', '        "OPTIONS": {']
    for name, setting in cls.declared_settings().items():
        block.append(f'            # "{name}": {written(setting.default)},')
    block += ["        },", "    },", '    "staticfiles": {...},', "}"]
    return ".. code-block:: python\n\n" + "".join(f"    {line}\n" for line in block)


# Names of earlier releases


def legacy_setting_table(backends: dict[str, type[BaseStorage]]) -> str:
    rows = (
        [f"``{name}``", marked(f"{advice[0].upper()}{advice[1:]}.")]
        for module in backends
        for name, advice in LEGACY_SETTINGS.get(f"storages.backends.{module}", {}).items()
    )
    return table(["Django setting", "What to do"], [35, 65], rows)


def legacy_option_table(backends: dict[str, type[BaseStorage]]) -> str:
    rows = [
        [cls.__name__, f"``{old}``", advice]
        for cls in backends.values()
        for old, advice in [
            *((old, f"Still read, with a warning; use ``{new.option}``.") for old, new in cls.renamed.items()),
            *((old, marked(f"Refused; {advice}.")) for old, advice in cls.removed.items()),
        ]
    ]
    return table(["Class", "Option or attribute", "What to do"], [20, 25, 55], iter(rows))


# Capabilities


def capability_table(backends: dict[str, type[BaseStorage]]) -> str:
    declared = {cls.__name__: capabilities_of(module, cls) for module, cls in backends.items()}
    names = [field.name for field in fields(Capabilities) if field.name != "missing"]
    rows = ([f"``{name}``", CAPABILITIES[name], able(name, declared)] for name in names)
    text = table(["Capability", "Meaning", "Who has it"], [22, 38, 40], rows)
    for cls, capabilities in declared.items():
        text += f"\nWhy not, {cls}:\n\n"
        text += "".join(f"* ``{name}``: {marked(reason)}\n" for name, reason in capabilities.missing.items())
    return text


def able(name: str, declared: dict[str, Capabilities]) -> str:
    """Return the storages that have a capability, with what of it where they differ."""
    values = {cls.removesuffix("Storage"): getattr(capabilities, name) for cls, capabilities in declared.items()}
    if all(value is True for value in values.values()):
        return "all"
    shown = (cls if value is True else f"{cls} ({', '.join(sorted(value))})" for cls, value in values.items() if value)
    return ", ".join(shown)


def capabilities_of(module: str, cls: type[BaseStorage]) -> Capabilities:
    try:
        return cls(**EXAMPLE_OPTIONS.get(module, {})).capabilities
    except ImproperlyConfigured as error:
        sys.exit(f"docs/generate.py must make one storage of each backend to ask it what it can do. {error}")


# Cases of the contract


def case_table() -> str:
    """Return a table of the contract's cases and the tests that prove them."""
    tests = defaultdict(list)
    for name, test in inspect.getmembers(StorageContract, inspect.isfunction):
        if name.startswith("test_"):
            for number in sorted(numbers_of(test)):
                tests[number].append((inspect.getsourcefile(test), name))
    return table(["Case", "What happens", "Test"], [9, 37, 54], (case_row(*case, tests) for case in CASES.items()))


def case_row(number: str, title: str, tests: dict[str, list[tuple[str, str]]]) -> list[str]:
    proofs = [f"``{name}`` ({Path(file).name})" for file, name in tests[number]]
    return [f".. _{number}:\n\n{number}", escaped(title), lines(proofs)]


def numbers_of(test: Any) -> Iterator[str]:
    """Yield the cases that ``test`` names, itself or with the parameters that it is called with."""
    for mark in test.pytestmark:
        sets = mark.args[1] if mark.name == "parametrize" else ()
        yield from {m.args[0] for given in sets for m in getattr(given, "marks", ()) if m.name == "contract"}
        if mark.name == "contract":
            yield mark.args[0]


# reStructuredText


def table(header: list[str], widths: list[int], rows: Iterator[list[str]]) -> str:
    start = f".. list-table::\n    :header-rows: 1\n    :widths: {' '.join(map(str, widths))}\n\n"
    return start + "".join(table_row(row) for row in [header, *rows])


def table_row(cells: list[str]) -> str:
    marks = ["    * - ", *["      - "] * (len(cells) - 1)]
    return "".join(f"{mark}{indent(cell, ' ' * 8).lstrip()}\n" for mark, cell in zip(marks, cells, strict=True))


def lines(parts: list[str]) -> str:
    """Return ``parts`` one below the other."""
    return "\n".join(f"| {part}" for part in parts) if len(parts) > 1 else "".join(parts)


def literals(words: Any) -> str:
    return ", ".join(f"``{word}``" for word in words)


def escaped(text: str) -> str:
    """Return prose whose characters mean nothing to reStructuredText."""
    return text.replace("\\", "\\\\").replace("*", "\\*").replace("`", "\\`").replace("|", "\\|").replace("_ ", "\\_ ")


_VALUE = r"\{[^}]*\}|'\S*'"
_CODE = re.compile(
    rf"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?: = (?:{_VALUE}))?"  # a Django setting, and what it is to be set to
    rf"|{_VALUE}"
    r"|\w+\([^)]*\)"  # a call
    r"|\b[a-z][a-z0-9]*(?:_[a-z0-9]+)+"  # an option
    r"|https?://(?:[^\s),]*[^\s),.])?)"
)


def marked(text: str) -> str:
    """Return prose of messages and help with what is code in it as literals."""
    return "".join(f"``{part}``" if index % 2 else escaped(part) for index, part in enumerate(_CODE.split(text)))


if __name__ == "__main__":
    sys.exit(main())
