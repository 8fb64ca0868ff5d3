"""The boto3 clients of one configuration: shared, patient with busy servers, and not with dead ones."""

from __future__ import annotations

import base64
import functools
import hashlib
import threading
import time
from typing import Any

from storages.contract import PATIENCE
from storages.optional import OptionalModule

botocore = OptionalModule("botocore", "s3")
botocore_config = OptionalModule("botocore.config", "s3")
exceptions = OptionalModule("botocore.exceptions", "s3")

LONGEST_PAUSE = 20  # seconds, of botocore between two tries
# Nor is a server asked on and on that refuses the connection; busy ones (503) are, up to max_attempts.
MOST_CONNECTS = 3


class Clients(dict):
    """The clients of one configuration, each made at its first use: botocore loads its models for every one."""

    def __init__(self, session: Any, arguments: dict[str, Any]):
        super().__init__(session=session, found={})
        self._arguments = arguments
        self._lock = threading.Lock()

    def __missing__(self, kind: str) -> Any:
        with self._lock:
            if kind not in self:
                self[kind] = getattr(self, f"_make_{kind}")()
            return self[kind]

    def _make_client(self) -> Any:
        client = self["session"].client("s3", **self._arguments)
        client.meta.events.register_last(
            "before-call.s3", functools.partial(_before_call, bool(self._arguments["endpoint_url"]))
        )
        config = client.meta.config
        client.meta.events.register_first(
            "needs-retry.s3", functools.partial(_in_time, config.connect_timeout + config.read_timeout)
        )
        return client

    def _make_unsigned(self) -> Any:
        unsigned = self._arguments["config"].merge(botocore_config.Config(signature_version=botocore.UNSIGNED))
        return self["session"].client("s3", **{**self._arguments, "config": unsigned})

    def _make_credentials(self) -> Any:
        return self["session"].get_credentials()


def _before_call(elsewhere: bool, model: Any, params: dict[str, Any], **kwargs: Any) -> None:
    # The handshake costs a round trip, and a second where the service does not know it.
    params["headers"].pop("Expect", None)
    params["context"]["storages_started"] = time.monotonic()
    if elsewhere and model.name == "DeleteObjects" and "Content-MD5" not in params["headers"]:
        # Services of before 2025 know no other checksum, and S3 demands one.
        digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
        params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()


def _in_time(
    longest_try: float,
    attempts: int,
    caught_exception: Exception | None,
    request_dict: dict[str, Any],
    response: Any,
    operation: Any,
    **kwargs: Any,
) -> None:
    """Raise instead of trying again where that would take too long; botocore counts tries, not time."""
    elapsed = time.monotonic() - request_dict["context"].get("storages_started", time.monotonic())
    if caught_exception is not None:
        refused = isinstance(caught_exception, exceptions.EndpointConnectionError) and attempts >= MOST_CONNECTS
        if refused or elapsed + longest_try > PATIENCE:
            raise caught_exception
    elif response is not None and response[0].status_code >= 500 and elapsed + LONGEST_PAUSE > PATIENCE:
        raise exceptions.ClientError(response[1], operation.name)
