"""Options of a storage: declared once, looked up, validated, redacted."""

from __future__ import annotations

import copy
import difflib
import functools
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import Promise

from storages import process

HIDDEN = "********"
# Keys of nested options (proxies, object parameters) whose values stay out of messages.
_SECRET_KEY = re.compile("KEY|TOKEN|SECRET|PASS|AUTH|SIGNATURE", re.IGNORECASE)
_USERINFO = re.compile(r"//[^/@\s]+@")

_missing = object()


@dataclass(frozen=True)
class Setting:
    """One option of a storage, as a class attribute; the instance gets the value.

    ``names`` are Django settings and ``env`` environment variables, the first one found wins. ``role`` tells the base
    which of its own ideas the option spells (``overwrite``, ``location``...). A subclass overrides the option by
    giving the attribute a plain value.
    """

    default: Any = None
    names: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    type: Any = str  # a class, the builtin callable, or a tuple of these
    help: str = ""
    secret: bool = False
    choices: tuple[Any, ...] = ()
    least: float | None = None
    role: str = ""

    def __get__(self, instance: object, owner: type) -> Any:
        return self if instance is None else self.default

    def named(self, *names: str, **changes: Any) -> Setting:
        """Return this declaration under the Django settings ``names``, with what else ``changes``."""
        return replace(self, names=names, **changes)

    def lookup(self) -> Any:
        """Return the value from Django's settings, else the environment, else the default.

        None and empty text count as not set.
        """
        for name in self.names:
            value = getattr(django_settings, name, None)
            if value is not None and value != "":
                return value
        for name in self.env:
            if os.environ.get(name):
                return os.environ[name]
        return copy.copy(self.default)

    def check(self, value: Any) -> Any:
        """Return ``value`` in the declared type. Raises TypeError or ValueError saying what is expected."""
        types = self.type if isinstance(self.type, tuple) else (self.type,)
        # Empty text is what os.environ gives for nothing, and False what subclasses write to undo a setting.
        if value is None or (bool not in types and not self.default and (value is False or value == "")):
            return copy.copy(self.default)
        if object in types:
            return value
        if isinstance(value, Promise):  # gettext_lazy and friends
            value = str(value)
        if bool in types and value in (0, 1) and isinstance(value, int):
            value = bool(value)
        if int in types and isinstance(value, str) and value.isdecimal():
            value = int(value)  # what os.environ gives
        wrong_bool = isinstance(value, bool) and bool not in types
        classes = tuple(kind for kind in types if isinstance(kind, type))
        if wrong_bool or not (isinstance(value, classes) or (callable in types and callable(value))):
            expected = " or ".join(getattr(kind, "__name__", str(kind)) for kind in types)
            raise TypeError(f"expects {expected}, not {type(value).__name__}")
        if self.choices and value not in self.choices:
            raise ValueError(f"must be one of {', '.join(map(repr, self.choices))}")
        if self.least is not None and isinstance(value, (int, float)) and value < self.least:
            raise ValueError(f"must be at least {self.least}")
        return value

    def shown(self, value: Any) -> str:
        """Return ``value`` for a message or a repr, with what is secret hidden."""
        return HIDDEN if self.secret and value else repr(redacted(value))

    def hides(self, value: Any) -> bool:
        """Whether ``value`` holds something secret."""
        return bool(value) and (self.secret or redacted(value) != value)


@dataclass(frozen=True)
class Renamed:
    """An option of an earlier release that still has one faithful meaning."""

    option: str  # what it is called now
    names: tuple[str, ...] = ()  # its Django settings
    convert: Callable[[Any], Any] = field(default=lambda value: value)


def redacted(value: Any) -> Any:
    """Return ``value`` with the secrets of nested mappings and of URLs hidden."""
    if isinstance(value, Mapping):
        return {key: HIDDEN if _SECRET_KEY.search(str(key)) and item else redacted(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(redacted, value))
    if isinstance(value, str):
        return _USERINFO.sub(f"//{HIDDEN}@", value)
    return value


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known word nearest to ``word``, or nothing where none is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


class SettingsMixin:
    """Give every instance the values of its class's :class:`Setting` declarations.

    Precedence: keyword > subclass attribute > Django setting > environment > default. The attributes are plain and may
    be assigned later: whatever was derived from them is then made again.
    """

    # The options that may be given without their names, in order; for these, None is not given.
    positional: ClassVar[tuple[str, ...]] = ()
    renamed: ClassVar[dict[str, Renamed]] = {}
    removed: ClassVar[dict[str, str]] = {}  # option of an earlier release: what to do instead

    def __init__(self, *args: Any, **options: Any):
        if len(args) > len(self.positional):
            names = ", ".join(self.positional) or "none"
            raise TypeError(f"{type(self).__name__} takes only these options without their names: {names}")
        for name, value in zip(self.positional, args, strict=False):
            if name in options:
                raise TypeError(f"{type(self).__name__} got {name!r} twice, with its name and without")
            options[name] = value
        options = {name: value for name, value in options.items() if value is not None or name not in self.positional}
        for old, new in self.renamed.items():
            self._adopt(old, new, options)
        defaults = self.get_default_settings()
        declared = self.declared_settings()
        for name in options:
            if name not in defaults:
                self._refuse(name, [*defaults, *self.removed])
        for name, default in defaults.items():
            inherited = getattr(type(self), name, None)
            if name in options:
                value = options[name]
            elif isinstance(inherited, Setting) or not hasattr(type(self), name):
                value = default
            elif hasattr(inherited, "__get__"):  # a property of a subclass answers for itself
                continue
            else:
                value = inherited
            setattr(self, name, self._checked(name, declared.get(name), value))

    @classmethod
    def declared_settings(cls) -> dict[str, Setting]:
        """Return the declarations by option name, in order, from the base class down."""
        found: dict[str, Setting] = {}
        for base in reversed(cls.__mro__):
            found.update((name, value) for name, value in vars(base).items() if isinstance(value, Setting))
        return found

    def get_default_settings(self) -> dict[str, Any]:
        """Return the value of each option where neither a keyword nor a subclass gives one; read at every construction.

        A subclass may add options of its own, or other defaults.
        """
        return {name: setting.lookup() for name, setting in self.declared_settings().items()}

    def _adopt(self, old: str, new: Renamed, options: dict[str, Any]) -> None:
        if old in options:
            value, where = options.pop(old), f"option {old!r}"
        elif not isinstance(getattr(type(self), old, None), (Setting, type(None))):
            value, where = getattr(type(self), old), f"class attribute {old!r}"
        else:
            name = next((name for name in new.names if hasattr(django_settings, name)), None)
            replacement = getattr(type(self), new.option)
            if name is None or not isinstance(replacement, Setting):
                return
            given = any(hasattr(django_settings, name) for name in replacement.names)
            if given and not isinstance(replacement.lookup(), Mapping):
                return
            value, where = getattr(django_settings, name), name
        warnings.warn(
            f"{type(self).__name__}: {where} is deprecated; use {self._spelt(new.option)}", DeprecationWarning, 5
        )
        converted = new.convert(value)
        if isinstance(converted, Mapping):  # one of the things that the option now holds
            current = options.get(new.option, self._given(new.option))
            if isinstance(current, Mapping):
                options[new.option] = {**converted, **current}
                return
        options.setdefault(new.option, converted)

    def _given(self, option: str) -> Any:
        """Return what a subclass or a Django setting gives for ``option``, leaving its default out."""
        inherited = getattr(type(self), option)
        if not isinstance(inherited, Setting):
            return inherited
        return next(
            (getattr(django_settings, name) for name in inherited.names if hasattr(django_settings, name)), None
        )

    def _refuse(self, name: str, known: list[str]) -> None:
        advice = f"; {self.removed[name]}" if name in self.removed else nearest(name, known)
        raise ImproperlyConfigured(f"{type(self).__name__} has no option {name!r}{advice}")

    def _checked(self, name: str, setting: Setting | None, value: Any) -> Any:
        if setting is None:
            return value
        try:
            return setting.check(value)
        except (TypeError, ValueError) as error:
            raise ImproperlyConfigured(
                f"{type(self).__name__}: {self._spelt(name)} {error}: {setting.shown(value)}. {setting.help}".rstrip()
            ) from error

    @classmethod
    def _spelt(cls, name: str) -> str:
        """Return both spellings of an option, for a message."""
        names = cls.declared_settings()[name].names
        return f"option {name!r} (Django setting {' or '.join(names)})" if names else f"option {name!r}"

    def _needed(self, name: str) -> Any:
        """Return the value of an option without which nothing can be done. Raises ImproperlyConfigured."""
        value = getattr(self, name)
        if not value:
            raise ImproperlyConfigured(f"{type(self).__name__}: set {self._spelt(name)}")
        return value

    def _role(self, role: str, default: Any = None) -> Any:
        """Return the value of the option that spells ``role`` in this backend."""
        name = _roles(type(self)).get(role)  # type: ignore[arg-type]
        return default if name is None else getattr(self, name)

    def _derived(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what ``make()`` derives from the options, until an option is assigned or the process forks."""
        derived: tuple[int, dict[tuple[Any, ...], Any]] | None = self.__dict__.get("_derivations")
        if derived is None or derived[0] != process.generation:
            derived = self.__dict__["_derivations"] = (process.generation, {})
        values = derived[1]
        # An option that a subclass computes may have another value by now.
        key = (name, *[repr(getattr(self, option)) for option in _computed(type(self))])  # type: ignore[arg-type]
        if key not in values:
            values[key] = make()
        return values[key]

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        self.__dict__.pop("_derivations", None)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state.pop("_derivations", None)  # clients and signers are made again where the state is restored
        return state

    def __repr__(self) -> str:
        shown = [
            f"{name}={setting.shown(value)}"
            for name, setting in self.declared_settings().items()
            if (value := getattr(self, name, None)) != setting.default
        ]
        return f"<{type(self).__name__} {' '.join(shown)}>" if shown else f"<{type(self).__name__}>"


@functools.cache
def _roles(cls: Any) -> dict[str, str]:
    return {setting.role: name for name, setting in cls.declared_settings().items() if setting.role}


@functools.cache
def _computed(cls: Any) -> list[str]:
    """Return the options to which a subclass gives a property."""
    return [name for name in cls.declared_settings() if isinstance(getattr(cls, name, None), property)]
