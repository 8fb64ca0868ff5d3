"""What one process shares: SDK clients and worker threads, made again after a fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

# Threads that carry parts and ranges. They wait for the network, so there may be more of them than cores.
WORKERS = 32

# Those that a client may keep open: more than all worker threads use.
CONNECTIONS = 64

# Counted up in a forked child: what was made under another generation belongs to the parent.
generation = 0

_lock = threading.RLock()
_shared: dict[Hashable, Any] = {}
_workers: ThreadPoolExecutor | None = None


def shared(key: Any, make: Callable[[], T]) -> T:
    """Return the one object of this process under ``key``, calling ``make()`` at its first use.

    The key is text, or a tuple that begins with some, of whatever options make a difference.
    """
    key = _frozen(key)
    # Not by KeyError: what make() raises must not have a key, which holds secrets, in its context.
    if key not in _shared:
        with _lock:
            if key not in _shared:
                _shared[key] = make()
    return _shared[key]


def forget(key: Any) -> None:
    """Drop the shared object under ``key``, so that the next use makes it again."""
    _shared.pop(_frozen(key), None)


def _frozen(value: Any) -> Hashable:
    """Return an option in a form that can be a key; what is neither a mapping nor a sequence, itself if that can be."""
    if isinstance(value, Mapping):
        return tuple(sorted((str(name), _frozen(item)) for name, item in value.items()))
    if isinstance(value, (list, tuple)):
        return tuple(map(_frozen, value))
    return value if isinstance(value, Hashable) else repr(value)


def submit(function: Callable[..., T], *args: Any) -> Future[T]:
    """Run ``function(*args)`` in a worker thread. A worker must never wait for another one."""
    global _workers
    with _lock:
        if _workers is None:
            _workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="storages")
        return _workers.submit(function, *args)


def _after_fork() -> None:
    global generation, _lock, _shared, _workers
    generation += 1
    _lock = threading.RLock()
    _shared = {}
    _workers = None


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_after_fork)
