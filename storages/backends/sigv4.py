"""Signer of SigV4 GET URLs at the rate that a page of thousands of links needs.

botocore runs its endpoint rules, serialiser and event system for each URL. What these give is the same for every key of
a bucket, so it is taken from one URL that botocore made, and only the last HMAC is done per URL. A signer that can't
repeat botocore's own URL to the letter is not used.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

_PROBE = "probe"


class QuerySigner:
    """Sign GET URLs of one bucket as ``client`` would, with the ``credentials`` of its session."""

    def __init__(self, client: Any, credentials: Any, bucket: str):
        self._client = client
        self._credentials = credentials
        self._bucket = bucket
        self._scope: _Scope | None = None

    def sign(self, key: str, seconds: int, window: int = 0) -> str | None:
        """Return a URL valid for at least ``seconds``, or None where only the client can sign.

        With ``window`` seconds, all URLs of a key within one such window are the same, so that caches work.
        """
        now = int(time.time())
        if window:
            now -= now % window
            seconds += window
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        credentials = self._credentials.get_frozen_credentials()
        scope = self._scope
        if scope is None or scope.day != stamp[:8] or scope.credentials != credentials:
            scope = self._scope = self._prepare(stamp, credentials)
        return scope.sign(key, seconds, stamp) if scope.usable else None

    def _prepare(self, stamp: str, credentials: Any) -> _Scope:
        url = self._client.generate_presigned_url(
            "get_object", Params={"Bucket": self._bucket, "Key": _PROBE}, ExpiresIn=3600
        )
        scope = _Scope(url, stamp[:8], credentials)
        asked = dict(parse_qsl(urlsplit(url).query))
        date = asked.get("X-Amz-Date", "")
        if date[:8] == stamp[:8]:
            scope.usable = url == scope.sign(_PROBE, 3600, date)
        else:  # a window that began yesterday: compare under the day that botocore signed for
            same_day = _Scope(url, date[:8], credentials)
            scope.usable = url == same_day.sign(_PROBE, 3600, date)
        return scope


class _Scope:
    """What stays the same for a day, a bucket and a pair of keys."""

    def __init__(self, url: str, day: str, credentials: Any):
        parts = urlsplit(url)
        asked = dict(parse_qsl(parts.query))
        self.usable = False
        self.day = day
        self.credentials = credentials
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._host = parts.netloc
        self._path = parts.path.removesuffix(_PROBE)
        region = "/".join(asked.get("X-Amz-Credential", "").split("/")[2:3])
        self._scope = f"{day}/{region}/s3/aws4_request"
        self._who = quote(f"{credentials.access_key}/{self._scope}", safe="-_.~")
        self._token = f"&X-Amz-Security-Token={quote(credentials.token, safe='-_.~')}" if credentials.token else ""
        self._key = f"AWS4{credentials.secret_key}".encode()
        for part in (day, region, "s3", "aws4_request"):
            self._key = hmac.digest(self._key, part.encode(), "sha256")

    def sign(self, key: str, seconds: int, stamp: str) -> str:
        path = self._path + quote(key, safe="/~")
        query = (
            f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={self._who}&X-Amz-Date={stamp}&X-Amz-Expires={seconds}"
        )
        # Signed in alphabetical order, written in botocore's.
        request = f"GET\n{path}\n{query}{self._token}&X-Amz-SignedHeaders=host\nhost:{self._host}\n\nhost\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(request.encode()).hexdigest()
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{self._scope}\n{digest}"
        signature = hmac.digest(self._key, to_sign.encode(), "sha256").hex()
        return f"{self._origin}{path}?{query}&X-Amz-SignedHeaders=host{self._token}&X-Amz-Signature={signature}"
