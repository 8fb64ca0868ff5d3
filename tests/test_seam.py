"""The architecture, held in place: layers, hooks, settings, words, and the one way from a name to a key."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files.base import ContentFile

import storages
from storages import backends
from storages.base import BaseStorage
from storages.contract import Capabilities, UploadTerms
from storages.mixin import StorageMixin
from storages.optional import OptionalModule
from storages.settings import Setting
from storages.terms import PART_KINDS, SINGLE_KINDS

ROOT = Path(storages.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
)
BACKEND_MODULES = [module.name for module in pkgutil.iter_modules(backends.__path__, "storages.backends.")]
SDKS = (
    "azure",
    "b2sdk",
    "boto3",
    "botocore",
    "cryptography",
    "dropbox",
    "google",
    "libcloud",
    "paramiko",
    "rsa",
    "urllib3",
)

# Imports go down, or stay in one layer. The first row that fits a module is its layer.
LAYERS = [
    (1, ("contract", "errors", "names", "optional", "process", "settings", "sniffing", "streams", "terms", "usual")),
    (1, ("lazy", "routes", "visitors")),
    (2, ("compress", "files", "mixin", "readers", "utils", "writers")),
    (3, ("base",)),
    (4, ("backends",)),
    (5, ("apps", "checks", "testing")),
    (6, ("management", "private", "uploads")),
]

# What a backend is made of. Each hook of a capability is defined where, and only where, that is declared.
REQUIRED_HOOKS = {"_stat", "_open_range", "_put", "_delete", "_list", "_classify"}
OPTIONAL_HOOKS = {
    *("_advise", "_exists", "_first", "_walk", "_discard", "_own_headers"),
    *("_presign_download", "_public_url", "_signs_urls", "_upload_kinds"),
}
HOOKS_OF_CAPABILITIES = {
    "parts": "_start_parts",
    "copy": "_copy",
    "move": "_move",
    "delete_many": "_delete_many",
    "presign": "_presign",
}

# Likewise for uploads that somebody else makes, where _upload_kinds() offers one of the kinds.
HOOKS_OF_KINDS = {
    "_presign_upload": SINGLE_KINDS,
    **dict.fromkeys(
        ("_open_upload", "_presign_part", "_received_parts", "_close_upload", "_abandon_upload"), PART_KINDS
    ),
}

# Public members of the base that a backend defines itself, and why.
OVERRIDES = {
    ("AzureStorage", "longest_expire"): "only a delegation key limits what it signs",
    ("AzureStorage", "url"): "earlier releases take the life before the parameters",
    ("B2Storage", "get_default_settings"): "options come from one dictionary, BACKBLAZE_CONFIG",
    ("LibCloudStorage", "capabilities"): "depends on the driver",
    ("LibCloudStorage", "longest_expire"): "only a signed URL has a life",
    ("LibCloudStorage", "longest_key"): "depends on the driver",
    ("S3Storage", "capabilities"): "whether it can create only depends on the service",
    ("S3Storage", "get_default_settings"): "subclasses name their own settings for keys in access_key_names",
    ("S3Storage", "longest_expire"): "each kind of signature has its own limit",
}

# Private members likewise.
PRIVATE_OVERRIDES = {
    ("B2PublicStorage", "_prefix"): "what is for everybody has a prefix that the view knows",
    ("AzureStorage", "_normalize_name"): "subclasses override _get_valid_path()",
    ("AzureStorage", "_get_write_parameters"): "subclasses override _get_content_settings_parameters()",
}

# What the base alone speaks of; as parts of identifiers in the bodies of functions.
FOREIGN_WORDS = {
    *("location", "overwrite", "overwriting", "clean", "suspicious"),
    *("spool", "mode", "modes", "text", "newline", "truncate"),
    *("gzip", "gunzip", "gzipped", "compress", "decompress", "zlib"),
    *("naive", "tz", "localtime"),
    *("pickle", "getstate", "setstate", "reduce", "deepcopy"),
}
# Module, function, word: why it is another matter there.
FOREIGN_WORDS_ALLOWED = {
    ("storages.backends.azure_storage", "url", "mode"): "what earlier releases call the permission of a URL",
    ("storages.backends.cloudfront", "__reduce__", "reduce"): "a signer is an option, and goes where its storage goes",
    **{
        ("storages.backends.dropbox", function, word): "Dropbox's own words for what a write does to an existing file"
        for function in ("__init__", "_commit_options")
        for word in ("mode", "overwrite")
    },
    ("storages.backends.ipfs", "_delete", "mode"): "delete_mode is an option's name",
    ("storages.backends.s3", "_parse_time", "text"): "a timestamp, as the service writes it",
}


def tree_of(module: str) -> ast.Module:
    path = ROOT.parent.joinpath(*module.split("."))
    return ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text())


def imports_of(module: str) -> set[str]:
    """Return the modules of this package that ``module`` imports anywhere in its text."""
    found = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(members & set(MODULES) or {node.module})
    return {name for name in found if name.startswith("storages.")}


def layer_of(module: str) -> int:
    part = module.split(".")[1]
    return next(layer for layer, parts in LAYERS if part in parts)


def backend_classes() -> list[type[BaseStorage]]:
    members = [member for name in BACKEND_MODULES for member in vars(importlib.import_module(name)).values()]
    classes = [member for member in members if inspect.isclass(member) and issubclass(member, BaseStorage)]
    return [cls for cls in dict.fromkeys(classes) if cls is not BaseStorage]


BACKENDS = backend_classes()
# Without those that only set options of another one.
FULL_BACKENDS = [cls for cls in BACKENDS if vars(cls).keys() & REQUIRED_HOOKS]


def declarations_of(module: str) -> list[ast.Call]:
    """Return the calls of Setting(), and of named() of a shared one, in class bodies."""
    classes = [node for node in ast.walk(tree_of(module)) if isinstance(node, ast.ClassDef)]
    values = [node.value for cls in classes for node in cls.body if isinstance(node, ast.Assign)]
    calls = [value for value in values if isinstance(value, ast.Call)]
    return [call for call in calls if getattr(call.func, "id", getattr(call.func, "attr", "")) in ("Setting", "named")]


# Layers


@pytest.mark.parametrize("module", [module for module in MODULES if module != "storages"])
def test_imports_go_downward(module):
    above = {name for name in imports_of(module) if layer_of(name) > layer_of(module)}
    assert above == set()


@pytest.mark.parametrize(
    "module",
    [
        name
        for name in MODULES
        if not name.startswith(
            (
                *("storages.backends", "storages.checks", "storages.management", "storages.private.clouds"),
                "storages.uploads.storage",
            )
        )
    ],
)
def test_no_layer_knows_a_backend(module):
    assert {name for name in imports_of(module) if name.startswith("storages.backends")} == set()


def test_checks_know_backends_only_as_a_package():
    assert {name for name in imports_of("storages.checks") if name.startswith("storages.backends")} == {
        "storages.backends"
    }


def test_package_itself_imports_nothing():
    assert imports_of("storages") == set()


def test_importing_every_backend_imports_no_sdk():
    code = f"""
import importlib, sys
for module in {["storages", "storages.compress", "storages.utils", *BACKEND_MODULES]}:
    importlib.import_module(module)
print(*{{name.partition(".")[0] for name in sys.modules}} & {set(SDKS)})
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert answer.stdout.split() == []


@pytest.mark.parametrize("cls", FULL_BACKENDS)
def test_backend_has_one_sdk(cls):
    members = vars(sys.modules[cls.__module__]).values()
    assert len({member._extra for member in members if isinstance(member, OptionalModule)}) <= 1


def test_absent_sdk_is_told_at_construction_with_the_extra_to_install(monkeypatch):
    from storages.backends.s3 import S3Storage

    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ImproperlyConfigured, match=re.escape("pip install 'django-storages-ng[s3]'")):
        S3Storage()


# Hooks and capabilities


def test_full_backends_are_found():
    assert {cls.__name__ for cls in FULL_BACKENDS} >= {"MemoryStorage", "S3Storage"}


@pytest.mark.parametrize("cls", FULL_BACKENDS)
@pytest.mark.parametrize("hook", sorted(REQUIRED_HOOKS))
def test_backend_defines_the_required_hooks(cls, hook):
    assert getattr(cls, hook) is not getattr(BaseStorage, hook)


@pytest.mark.parametrize("cls", FULL_BACKENDS)
@pytest.mark.parametrize("capability", list(HOOKS_OF_CAPABILITIES))
def test_hook_is_defined_where_its_capability_is_declared(cls, capability):
    hook = HOOKS_OF_CAPABILITIES[capability]
    declared = bool(getattr(cls().capabilities, capability))
    defined = getattr(cls, hook) is not getattr(BaseStorage, hook)
    assert declared == defined


@pytest.mark.parametrize("cls", FULL_BACKENDS)
@pytest.mark.parametrize("hook", list(HOOKS_OF_KINDS))
def test_hook_of_uploads_is_defined_where_a_kind_needs_it(cls, hook):
    offered = bool(cls().upload_kinds.keys() & HOOKS_OF_KINDS[hook])
    defined = getattr(cls, hook) is not getattr(BaseStorage, hook)
    assert defined or not offered
    assert not defined or cls._upload_kinds is not BaseStorage._upload_kinds


@pytest.mark.parametrize("cls", BACKENDS)
def test_hook_has_the_signature_of_the_base(cls):
    hooks = [*REQUIRED_HOOKS, *OPTIONAL_HOOKS, *HOOKS_OF_CAPABILITIES.values(), *HOOKS_OF_KINDS]
    expected = {hook: list(inspect.signature(getattr(BaseStorage, hook)).parameters) for hook in hooks}
    assert {hook: list(inspect.signature(getattr(cls, hook)).parameters) for hook in hooks} == expected


@pytest.mark.parametrize("cls", FULL_BACKENDS)
def test_reasons_are_given_only_for_what_is_impossible(cls):
    capabilities = cls().capabilities
    possible = {name for name in capabilities.missing if getattr(capabilities, name)}
    assert capabilities.missing.keys() <= vars(Capabilities()).keys()
    assert possible == set()


# What a backend leaves to the base


def base_members(*, public: bool) -> set[str]:
    """Return the methods and properties of the base and of Django's Storage."""
    members = {name for name in dir(BaseStorage) if not name.startswith("__") and name.startswith("_") is not public}
    return {name for name in members if not isinstance(getattr(BaseStorage, name), Setting)}


def overrides_of(cls: type, names: set[str]) -> set[str]:
    own = {name for name, value in vars(cls).items() if inspect.isfunction(value) or isinstance(value, property)}
    return own & names


def test_no_backend_overrides_a_public_member_without_a_reason():
    found = {(cls.__name__, name) for cls in BACKENDS for name in overrides_of(cls, base_members(public=True))}
    assert found == set(OVERRIDES)


@pytest.mark.parametrize("cls", BACKENDS)
def test_backend_overrides_nothing_private_but_hooks(cls):
    hooks = REQUIRED_HOOKS | OPTIONAL_HOOKS | set(HOOKS_OF_CAPABILITIES.values()) | HOOKS_OF_KINDS.keys()
    allowed = {name for owner, name in PRIVATE_OVERRIDES if owner == cls.__name__}
    assert overrides_of(cls, base_members(public=False)) - hooks == allowed


def foreign_words(module: str) -> set[tuple[str, str, str]]:
    functions = [node for node in ast.walk(tree_of(module)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = set()
    for function in functions:
        for node in ast.walk(function):
            identifier = next(
                (getattr(node, field) for field in ("id", "attr", "arg", "name") if hasattr(node, field)), None
            )
            words = re.findall("[A-Z]?[a-z]+|[A-Z]+", identifier or "")
            found.update((module, function.name, word.lower()) for word in words if word.lower() in FOREIGN_WORDS)
    return found


def test_backends_do_not_speak_of_what_is_the_bases():
    found = {finding for module in BACKEND_MODULES for finding in foreign_words(module)}
    assert found == set(FOREIGN_WORDS_ALLOWED)


@pytest.mark.parametrize("module", BACKEND_MODULES)
def test_no_backend_crosses_from_a_name_to_a_key(module):
    crossing = {"_key", "_file_key", "_name", "_normalize_name", "_list_prefix"}
    classes = [node for node in ast.walk(tree_of(module)) if isinstance(node, ast.ClassDef)]
    storages_only = [node for node in classes if node.name in {cls.__name__ for cls in BACKENDS}]
    used = {getattr(node, "attr", "") for cls in storages_only for node in ast.walk(cls)}
    assert used & crossing == set()


# Declarations of settings


@pytest.mark.parametrize("cls", BACKENDS)
def test_every_setting_has_help_in_sentences(cls):
    unhelpful = [
        name for name, setting in cls.declared_settings().items() if not re.fullmatch(r"[A-Z].*\.", setting.help)
    ]
    assert unhelpful == []


@pytest.mark.parametrize("cls", BACKENDS)
def test_every_default_is_of_the_declared_type(cls):
    for setting in cls.declared_settings().values():
        assert setting.check(setting.default) == setting.default


@pytest.mark.parametrize("cls", BACKENDS)
def test_no_two_options_share_a_django_setting_or_a_role(cls):
    declared = cls.declared_settings().values()
    names = [name for setting in declared for name in setting.names]
    roles = [setting.role for setting in declared if setting.role]
    assert len(set(names)) == len(names)
    assert len(set(roles)) == len(roles)


@pytest.mark.parametrize("cls", BACKENDS)
def test_option_that_looks_secret_is_declared_secret(cls):
    looks_secret = re.compile("key|token|secret|password|connection_string")
    spoken = [name for name, one in cls.declared_settings().items() if looks_secret.search(name) and not one.secret]
    assert spoken == []


@pytest.mark.parametrize("cls", BACKENDS)
def test_renamed_and_removed_options_point_at_what_there_is(cls):
    declared = cls.declared_settings()
    assert {new.option for new in cls.renamed.values()} <= declared.keys()
    assert not (cls.renamed.keys() | cls.removed.keys()) & declared.keys()
    assert set(re.findall("'([a-z]+_[a-z_]+)'", " ".join(cls.removed.values()))) <= declared.keys()


@pytest.mark.parametrize("module", BACKEND_MODULES)
def test_names_of_django_settings_are_written_out(module):
    calls = declarations_of(module)
    values = [word.value for call in calls for word in call.keywords if word.arg in ("names", "env")]
    texts = [ast.literal_eval(value) for value in values]  # refuses whatever is put together
    texts += [tuple(map(ast.literal_eval, call.args)) for call in calls if isinstance(call.func, ast.Attribute)]
    assert all(isinstance(text, tuple) for text in texts)
    assert all(re.fullmatch("[A-Z][A-Z0-9_]+", name) for text in texts for name in text)


def test_declarations_are_found():
    from storages.backends.s3 import S3Storage

    declared = [value for value in vars(S3Storage).values() if isinstance(value, Setting)]
    assert len(declarations_of("storages.backends.s3")) == len(declared) > 0


# Every public verb crosses by _key(), before any hook

HOSTILE_NAMES = ["../x", "a/../../x", "..\\x", "/x", "a\x00b", "a\nb", "a\rb"]

TERMS = UploadTerms(size=1, content_type="text/plain", seconds=60)
TERMS_OF_PARTS = dataclasses.replace(TERMS, part_size=2**23)

VERBS = {
    "abandon_upload": lambda storage, name: storage.abandon_upload(name, "multipart", "state"),
    "close_upload": lambda storage, name: storage.close_upload(name, "multipart", "state", TERMS_OF_PARTS),
    "copy from": lambda storage, name: storage.copy(name, "ok"),
    "copy to": lambda storage, name: storage.copy("ok", name),
    "delete": lambda storage, name: storage.delete(name),
    "delete_many": lambda storage, name: storage.delete_many(["ok", name]),
    "download_url": lambda storage, name: storage.download_url(name, content_type="", content_disposition=""),
    "discard_upload": lambda storage, name: storage.discard_upload(name),
    "exists": lambda storage, name: storage.exists(name),
    "get_accessed_time": lambda storage, name: storage.get_accessed_time(name),
    "get_available_name": lambda storage, name: storage.get_available_name(name),
    "get_created_time": lambda storage, name: storage.get_created_time(name),
    "get_modified_time": lambda storage, name: storage.get_modified_time(name),
    "accessed_time": lambda storage, name: storage.accessed_time(name),
    "created_time": lambda storage, name: storage.created_time(name),
    "modified_time": lambda storage, name: storage.modified_time(name),
    "listdir": lambda storage, name: storage.listdir(name),
    "move from": lambda storage, name: storage.move(name, "ok"),
    "move to": lambda storage, name: storage.move("ok", name),
    "open": lambda storage, name: storage.open(name),
    "open w": lambda storage, name: storage.open(name, "wb").close(),
    "open x": lambda storage, name: storage.open(name, "xb").close(),
    "open a": lambda storage, name: storage.open(name, "ab").close(),
    "open r+": lambda storage, name: storage.open(name, "r+b").close(),
    "open_range": lambda storage, name: storage.open_range(name, 0, 1),
    "open_upload": lambda storage, name: storage.open_upload(name, "multipart", TERMS_OF_PARTS),
    "own_headers": lambda storage, name: storage.own_headers(name),
    "presign_part": lambda storage, name: storage.presign_part(name, "multipart", "state", 1, TERMS_OF_PARTS),
    "presign_upload": lambda storage, name: storage.presign_upload(name, "put", TERMS),
    "received_parts": lambda storage, name: storage.received_parts(name, "multipart", "state"),
    "save": lambda storage, name: storage.save(name, ContentFile(b"x")),
    "size": lambda storage, name: storage.size(name),
    "stat": lambda storage, name: storage.stat(name),
    "url": lambda storage, name: storage.url(name),
    "walk": lambda storage, name: list(storage.walk(name)),
}

# Public methods of the base that take no name, or reach no object by it.
NOT_VERBS = {
    "deconstruct": "about the storage",
    "declared_settings": "about the storage",
    "file_class": "a class",
    "generate_filename": "Django's; pure, and save() comes after it",
    "get_alternative_name": "Django's; pure",
    "get_default_settings": "about the storage",
    "get_object_parameters": "takes a key",
    "get_valid_name": "Django's; pure",
    "is_name_available": "Django's, since 5.1; asks exists()",
    "path": "Django's; refuses every name",
}


def test_no_verb_is_left_out_of_the_table():
    public = {name for name in base_members(public=True) if callable(getattr(BaseStorage, name))}
    assert public | {"is_name_available"} == {verb.split()[0] for verb in VERBS} | NOT_VERBS.keys()


def untouchable(cls: type[BaseStorage]) -> BaseStorage:
    """Return a storage that says it knows all times, and of which no hook may be called."""

    def touched(self, *arguments, **options):
        pytest.fail(f"a hook was called with {arguments}")

    hooks = dict.fromkeys(
        [
            *REQUIRED_HOOKS,
            *HOOKS_OF_CAPABILITIES.values(),
            *HOOKS_OF_KINDS,
            "_exists",
            "_walk",
            "_presign_download",
            "_public_url",
        ],
        touched,
    )
    capabilities = dataclasses.replace(cls().capabilities, created_time=True, accessed_time=True)
    return type(cls.__name__, (cls,), {**hooks, "capabilities": capabilities, "_classify": lambda self, error: None})()


@pytest.mark.filterwarnings("ignore:.*_time.. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("cls", FULL_BACKENDS)
@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("verb", list(VERBS))
def test_every_verb_refuses_a_hostile_name_before_any_hook(cls, verb, name):
    with pytest.raises(SuspiciousFileOperation):
        VERBS[verb](untouchable(cls), name)


@pytest.mark.parametrize("cls", FULL_BACKENDS)
def test_name_that_a_subclass_chooses_is_checked_too(cls):
    storage = untouchable(type("Chooser", (cls,), {"get_available_name": lambda self, name, max_length=None: "../x"}))
    with pytest.raises(SuspiciousFileOperation):
        storage.save("ok", ContentFile(b"x"))


def test_key_is_made_in_one_place():
    assert "_key" in vars(StorageMixin)
    assert [cls for cls in BACKENDS if "_key" in vars(cls)] == []
