"""The documentation says what the code does: tables are fresh, names exist, examples run, proofs are there."""

from __future__ import annotations

import ast
import configparser
import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
from django.utils.module_loading import import_string
from libcloud.storage.types import Provider

from storages.backends.memory import MemoryStorage
from storages.backends.s3 import S3Storage
from storages.base import BaseStorage
from storages.checks import LEGACY_SETTINGS
from storages.optional import OptionalModule
from storages.private import settings as private_settings
from storages.private.checks import DEAD_SETTINGS
from storages.readers import FIRST_RANGE, KIB, LARGEST_WINDOW, LONE_WINDOW, MIB, MOST_AHEAD, SHORT_RANGE, TAIL
from storages.testing import StorageContract
from storages.uploads import settings as uploads_settings

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.rst")), *sorted(DOCS.glob("*.rst"))]
PROMISES = [
    "All or nothing",
    "No lost uploads",
    "Missing is FileNotFoundError, unreachable is an error",
    "Locked in its root",
    "Bounded",
    "Safe to share",
]

# Settings of Django and pytest-django, variables that SDKs read, names that are no settings.
OF_OTHERS = {
    *("DEFAULT_FILE_STORAGE", "FILE_UPLOAD_TEMP_DIR", "INSTALLED_APPS", "STATICFILES_STORAGE", "STATIC_URL", "USE_TZ"),
    *("DJANGO_SETTINGS_MODULE", "GOOGLE_APPLICATION_CREDENTIALS", "REQUESTS_CA_BUNDLE", "STORAGE_EMULATOR_HOST"),
    *("MEDIA_ROOT", "STATIC_ROOT", "STATICFILES_DIRS"),
    *("ACCESS_KEY", "MIME_LOOKUPS", "SECRET_KEY"),  # of django-buckets; the first and last in a dict
    *("IN_MEMORY", "S3_US_STANDARD_HOST", "SSL_CERT_FILE"),
    *vars(Provider),  # of Libcloud, whose constants name services
    "ATOMIC_REQUESTS",
    "DATA_UPLOAD_MAX_MEMORY_SIZE",
    "FILE_UPLOAD_MAX_MEMORY_SIZE",
}
PRIVATE_STORAGES = [
    f"storages.private.storage.Private{name}Storage" for name in ("Azure", "GoogleCloud", "Minio", "S3")
]
# What looks like a setting: words in capitals, joined by underscores, in double backquotes; or assigned in an example.
SETTING = re.compile(r"(?<=``)[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?=``)|(?<=    )[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?= = )")


class Block(NamedTuple):
    """A code block of a page."""

    page: str
    line: int  # of its directive, from 1
    code: str

    @property
    def settings(self) -> dict:
        """Return what a block that is a settings file defines."""
        namespace: dict = {}
        exec(compile(self.code, self.page, "exec"), namespace)
        return namespace


def python_blocks(page: Path) -> list[Block]:
    """Return the Python blocks of ``page``, without their indentation."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in re.finditer(
        r"^( *)\.\. code-block:: python\n(?:\1    :.*\n)*\n((?:\1    .*\n|\n)+)", text, re.MULTILINE
    ):
        margin = len(match[1]) + 4
        code = "\n".join(line[margin:] for line in match[2].splitlines())
        found.append(Block(str(page.relative_to(ROOT)), text.count("\n", 0, match.start()) + 1, code))
    return found


BLOCKS = [block for page in PAGES for block in python_blocks(page)]


# The pages of backends, by module: each includes the table of its options.
PAGES_OF_BACKENDS = {
    module: page
    for page in PAGES
    for module in re.findall(r"^\.\. include:: generated/options-(\w+)\.rst", page.read_text("utf-8"), re.MULTILINE)
}


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def named(blocks: list[Block]):
    return pytest.mark.parametrize("block", blocks, ids=lambda block: f"{block.page}:{block.line}")


# Generated tables


def test_generated_pages_are_fresh(generator):
    assert generator.main(["--check"]) == 0


def test_stale_page_is_told(generator, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(generator, "ROOT", tmp_path)
    monkeypatch.setattr(generator, "GENERATED", tmp_path / "generated")
    assert generator.main([]) == 0
    assert generator.main(["--check"]) == 0
    (tmp_path / "generated" / "cases.rst").write_text("old")
    assert generator.main(["--check"]) == 1
    assert "cases.rst is stale" in capsys.readouterr().err


def test_page_that_nothing_makes_is_told(generator, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(generator, "ROOT", tmp_path)
    monkeypatch.setattr(generator, "GENERATED", tmp_path / "generated")
    generator.main([])
    (tmp_path / "generated" / "options-gone.rst").write_text("left")
    assert generator.main(["--check"]) == 1
    assert "options-gone.rst is made by nothing" in capsys.readouterr().err


def test_absent_sdk_is_told_with_what_to_install(generator):
    class Absent(MemoryStorage):
        sdk = OptionalModule("absent", "extra")

    with pytest.raises(SystemExit, match=r"Absent needs absent: pip install 'django-storages-ng\[extra\]'"):
        generator.capabilities_of("absent", Absent)


def test_every_backend_has_a_page(generator):
    assert PAGES_OF_BACKENDS.keys() == generator.storage_classes().keys() - {"memory"}  # for tests: its table is enough


def test_every_generated_page_is_included():
    included = set(re.findall(r"include:: generated/(\S+)", "".join(map(Path.read_text, DOCS.rglob("*.rst")))))
    assert {page.name for page in (DOCS / "generated").iterdir()} == included


# Names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_in_the_text_exist(page, generator):
    classes = [*generator.storage_classes().values(), *map(import_string, PRIVATE_STORAGES)]
    declared = [setting for cls in classes for setting in cls.declared_settings().values()]
    known = {name for setting in declared for name in (*setting.names, *setting.env)}
    known.update(*LEGACY_SETTINGS.values(), OF_OTHERS, DEAD_SETTINGS)
    known.update(private_settings.DEFAULTS, private_settings.ALIASES.values(), uploads_settings.DEFAULTS)
    assert set(SETTING.findall(text_of(page))) <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_extras_in_the_text_exist(page):
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    named_there = re.findall(r"django-storages-ng\[([\w,-]+)\]", page.read_text(encoding="utf-8"))
    assert set(",".join(named_there).split(",")) - {""} <= config["options.extras_require"].keys()


def text_of(page: Path) -> str:
    """Return the text of ``page`` without the section on names that do not exist."""
    return re.sub(r"Misspelt settings\n(?:.*\n)*?(?=.+\n-{3}|\Z)", "", page.read_text(encoding="utf-8"))


def test_options_that_stand_in_the_way_back_exist():
    back = (DOCS / "migrating.rst").read_text(encoding="utf-8").partition("Going back")[2]
    named_there = set(re.findall(r"``(\w+)``", back))
    assert named_there
    assert named_there <= S3Storage.declared_settings().keys()


def test_hooks_of_backends_are_explained(generator):
    page = (DOCS / "writing-a-backend.rst").read_text(encoding="utf-8")
    explained = set(re.findall(r"^    \* - ``(_\w+)\(", page, re.MULTILINE))
    own = {
        base for cls in generator.storage_classes().values() for base in cls.__mro__ if "backends" in base.__module__
    }
    hooks = {name for cls in own for name in vars(cls) if re.match("_[a-z]", name) and hasattr(BaseStorage, name)}
    kept = set(re.findall(r"``(_\w+)\(", (DOCS / "migrating.rst").read_text(encoding="utf-8")))
    assert hooks - kept <= explained
    assert all(hasattr(BaseStorage, name) for name in explained)


@pytest.mark.parametrize(
    "figure",
    [
        f"fetches the first {FIRST_RANGE // KIB} KiB",
        f"up to {BaseStorage.ranges_at_once} ranges at a time, of up to {LARGEST_WINDOW // MIB} MiB each",
        f"by one range of up to {LONE_WINDOW // MIB} MiB or",
        f"No more than {MOST_AHEAD} times what was read",
        f"Memory is at most {BaseStorage.read_ahead // MIB} MiB, beside",
        f"a short range, of {SHORT_RANGE // KIB} KiB",
        f"its last {TAIL // KIB} KiB",
        f"in parts of {BaseStorage.part_size // MIB} MiB",
        f"Up to {BaseStorage.parts_at_once} parts are on their way",
        f"memory is {(BaseStorage.parts_at_once + 1) * BaseStorage.part_size // MIB} MiB at most",
        f"in up to {BaseStorage.file_parts_at_once} parts at a time",
    ],
)
def test_figures_of_the_text_are_those_of_the_code(figure):
    assert figure in " ".join((DOCS / "files.rst").read_text(encoding="utf-8").split())


# Examples


@named(BLOCKS)
def test_python_of_the_text_parses(block):
    ast.parse(block.code)


@named([block for block in BLOCKS if "STORAGES = {" in block.code])
def test_storages_of_the_text_are_taken(block):
    for alias, configured in block.settings["STORAGES"].items():
        if issubclass(cls := import_string(configured["BACKEND"]), BaseStorage):
            assert refused(cls, configured.get("OPTIONS", {})) == [], alias


@named([block for block in BLOCKS if re.search("^OPTIONS = ", block.code, re.MULTILINE)])
def test_options_of_the_text_are_taken(block, generator):
    module = next(module for module, page in PAGES_OF_BACKENDS.items() if page == ROOT / block.page)
    assert refused(generator.storage_classes()[module], block.settings["OPTIONS"]) == []


def refused(cls: type[BaseStorage], options: dict) -> list[str]:
    """Return the options that ``cls`` does not have; raise for a value that it does not take."""
    declared = cls.declared_settings()
    for option in options.keys() & declared.keys():
        declared[option].check(options[option])
    return sorted(options.keys() - declared.keys())


@pytest.mark.parametrize("page", ["README.rst", "docs/quickstart.rst", "docs/files.rst"])
def test_examples_of_the_page_run(page, settings):
    settings.STORAGES = {"default": {"BACKEND": "storages.backends.memory.MemoryStorage"}}
    examples = [block.code for block in BLOCKS if block.page == page and "default_storage" in block.code]
    namespace: dict = {}
    assert examples
    for code in examples:
        exec(compile(code, page, "exec"), namespace)


# Proofs


def promises_of(page: str, title: str) -> list[str]:
    """Return the text of each promise on a page, in order; ``title`` is a pattern of where one starts."""
    text = (ROOT / page).read_text(encoding="utf-8")
    starts = [re.search(title.format(re.escape(promise)), text).start() for promise in PROMISES]
    assert starts == sorted(starts)
    return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def test_readme_links_each_promise_to_a_test():
    for promise in promises_of("README.rst", r"\* \*\*{}"):
        proof = re.search(r"`(test_\w+) <(storages/testing/\w+\.py)>`_", promise)
        assert hasattr(StorageContract, proof[1])
        assert f"def {proof[1]}(" in (ROOT / proof[2]).read_text(encoding="utf-8")


def test_page_of_promises_shows_a_test_for_each():
    for promise in promises_of("docs/promises.rst", r"(?m)^{}\n--"):
        path = re.search(r"literalinclude:: \.\./(\S+)", promise)[1]
        name = re.search(r":pyobject: \w+\.(test_\w+)", promise)[1]
        assert hasattr(StorageContract, name)
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent == ROOT], ids=lambda page: page.name)
def test_links_to_files_of_the_repository_work(page):
    targets = re.findall(r"<([\w./-]+)>`_", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (ROOT / target).exists()]
    assert missing == []
