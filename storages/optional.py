"""SDKs as lazy modules: importing a backend loads none, constructing a storage tells which one is absent."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType
from typing import Any

from django.core.exceptions import ImproperlyConfigured


class OptionalModule:
    """Stand for the module ``name``, which ``pip install 'django-storages-ng[extra]'`` brings; load it at first use.

    ``importlib.util.LazyLoader`` would do for a top module, but not for a submodule: finding one imports its parents.
    """

    def __init__(self, name: str, extra: str):
        self._name = name
        self._extra = extra
        self._module: ModuleType | None = None

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # what inspection asks for must not load an SDK
            raise AttributeError(attribute)
        if self._module is None:
            self._module = importlib.import_module(self._name)
        return getattr(self._module, attribute)

    def is_installed(self) -> bool:
        """Whether the module could be imported. Imports nothing."""
        name = ""
        for part in self._name.split("."):
            name = f"{name}.{part}" if name else part
            spec = importlib.util.find_spec(name)
            # A namespace tells nothing: "google" holds the packages of many SDKs.
            if spec is None or spec.origin is not None:
                return spec is not None
        return True

    def require(self, asker: str) -> None:
        """Raise ImproperlyConfigured, naming the extra, unless the module could be imported. Imports nothing."""
        if not self.is_installed():
            package = self._name.partition(".")[0]
            raise ImproperlyConfigured(f"{asker} needs {package}: pip install 'django-storages-ng[{self._extra}]'")
