"""The conformance suite that a storage class is held against, importable into any pytest project."""

from __future__ import annotations

import pytest

# So that a failing assert shows its operands in a user's project too; only before the modules are imported.
_MODULES = ["files", "harness", "names", "objects", "reading", "serving", "static", "writing"]
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in _MODULES))

# Marks are checked while the modules below are imported; pytest offers a module no public way to its configuration.
if (_config := getattr(pytest.mark, "_config", None)) is not None:
    _config.addinivalue_line("markers", "contract(number): the case of the storage contract that a test proves")

from storages.testing.cases import CASES  # noqa: E402
from storages.testing.files import FileCases  # noqa: E402
from storages.testing.harness import Harness, Wire, impossible  # noqa: E402
from storages.testing.names import NameCases  # noqa: E402
from storages.testing.objects import ObjectCases  # noqa: E402
from storages.testing.reading import ReadCases  # noqa: E402
from storages.testing.serving import ServeCases  # noqa: E402
from storages.testing.static import StaticCases  # noqa: E402
from storages.testing.writing import WriteCases  # noqa: E402

__all__ = ["CASES", "StorageContract", "Wire", "impossible"]


class StorageContract(WriteCases, FileCases, NameCases, ReadCases, ServeCases, ObjectCases, StaticCases, Harness):
    """All cases of the contract; a subclass supplies ``make_storage()`` and such hooks of Harness as it can."""
