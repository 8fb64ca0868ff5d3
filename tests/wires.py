"""What the contract counts, from a proxy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

from storages.testing import Wire
from tests.servers.proxy import Proxy


@contextlib.contextmanager
def counted(proxy: Proxy, told: Callable[[Any], str] = attrgetter("method")) -> Iterator[Wire]:
    """Yield what will have gone through ``proxy``; ``told`` gives what stands for a request."""
    wire = Wire()
    try:
        with proxy.counting() as seen:
            yield wire
    finally:
        wire.requests.extend(map(told, seen))
        wire.headers.extend(exchange.headers for exchange in seen)
        wire.received += seen.downloaded
