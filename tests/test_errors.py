"""What an error of an SDK means, told by its name."""

from __future__ import annotations

import pytest
import requests.exceptions
import urllib3.exceptions

from storages.errors import REQUESTS_MEANINGS, meaning_by_name


class BusyTunnel(requests.exceptions.ProxyError):
    pass


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (requests.exceptions.ConnectionError(), ConnectionError),
        (requests.exceptions.ConnectTimeout(), ConnectionError),  # a Timeout too, but first of all this
        (requests.exceptions.SSLError(), ConnectionError),
        (requests.exceptions.ChunkedEncodingError(), ConnectionError),
        (requests.exceptions.ReadTimeout(), TimeoutError),
        (urllib3.exceptions.IncompleteRead(1, 2), ConnectionError),
        (urllib3.exceptions.ReadTimeoutError(None, "/", "late"), TimeoutError),
        (urllib3.exceptions.NewConnectionError(None, "refused"), ConnectionError),
        (BusyTunnel(), ConnectionError),
        (requests.exceptions.InvalidURL(), None),
        (ConnectionResetError(), None),  # Python's own speak for themselves
        (TimeoutError(), None),
    ],
)
def test_nearest_class_says_what_an_error_means(error, meaning):
    assert meaning_by_name(error, REQUESTS_MEANINGS) is meaning
