"""Signer of SigV4 URLs and forms, at the rate that a page of thousands of links needs.

botocore runs its endpoint rules, serialiser and event system for each URL. What these give is the same for every key of
a bucket, so it is taken from one URL that botocore made, and only the last HMAC is done per URL. A signer that can't
repeat botocore's own URL to the letter is not used. Uploads are signed here too: which headers are in the signature is
then no matter of the release of botocore, which adds and leaves out checksums as it sees fit.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

_PROBE = "probe"

_Sign = Callable[[str, str], str]  # of a key and a query, to a URL


class QuerySigner:
    """Sign GET URLs of one bucket as ``client`` would, with the ``credentials`` of its session."""

    def __init__(self, client: Any, credentials: Any, bucket: str):
        self._client = client
        self._credentials = credentials
        self._bucket = bucket
        self._scope: _Scope | None = None
        self._latest: tuple[tuple[int, ...], _Sign | None] = ((), None)

    def sign(self, key: str, seconds: int, window: int = 0, parameters: Mapping[str, Any] | None = None) -> str | None:
        """Return a URL valid for at least ``seconds``, or None where only the client can sign.

        ``parameters`` are those of GetObject that go into the query. With ``window`` seconds, all URLs of a key within
        one such window are the same, so that caches work.
        """
        query = ""
        if parameters:
            named = self._query_names
            if not parameters.keys() <= named.keys() or not all(isinstance(item, str) for item in parameters.values()):
                return None  # botocore knows how to write it, or refuses it
            query = "&".join(f"{named[name]}={quote(value, safe='-_.~')}" for name, value in parameters.items())
        now = int(time.time())
        asked, sign = self._latest
        if asked != (now, seconds, window):  # a page's links are made within a second or two
            sign = self._signature(now - now % window, seconds + window) if window else self._signature(now, seconds)
            self._latest = (now, seconds, window), sign
        return sign and sign(key, query)

    def request(
        self,
        method: str,
        key: str,
        seconds: int,
        headers: Mapping[str, str],
        query: Mapping[str, str],
        absent: Iterable[str] = (),
    ) -> str | None:
        """Return the URL of a request that has to carry all of ``headers``; None where only the client can sign.

        ``absent`` are names that the signature covers as those of headers that are not there; few services know that.
        """
        stamp, scope = self._scope_at(int(time.time()))
        return scope.request(method, key, seconds, stamp, headers, query, absent) if scope.usable else None

    def form(
        self, key: str, seconds: int, fields: Mapping[str, str], conditions: list[Any]
    ) -> tuple[str, dict[str, str]] | None:
        """Return URL and fields of a form that uploads ``key``; None where only the client can sign.

        The fields are those of ``fields``, exactly, and of the signature; ``conditions`` are on what is no field.
        """
        now = int(time.time())
        stamp, scope = self._scope_at(now)
        if not scope.usable:
            return None
        expiration = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + seconds))
        return scope.form({"key": key, **fields}, [{"bucket": self._bucket}, *conditions], expiration, stamp)

    @functools.cached_property
    def _query_names(self) -> dict[str, str]:
        members = self._client.meta.service_model.operation_model("GetObject").input_shape.members
        places = {name: shape.serialization for name, shape in members.items()}
        return {name: place["name"] for name, place in places.items() if place.get("location") == "querystring"}

    def _signature(self, now: int, seconds: int) -> _Sign | None:
        stamp, scope = self._scope_at(now)
        return scope.signature(seconds, stamp) if scope.usable else None

    def _scope_at(self, now: int) -> tuple[str, _Scope]:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        credentials = self._credentials.get_frozen_credentials()  # refreshed here when they are about to expire
        scope = self._scope
        if scope is None or scope.day != stamp[:8] or scope.credentials != credentials:
            scope = self._scope = self._prepare(stamp[:8], credentials)
        return stamp, scope

    def _prepare(self, day: str, credentials: Any) -> _Scope:
        params = {"Bucket": self._bucket, "Key": _PROBE}
        url = self._client.generate_presigned_url("get_object", Params=params, ExpiresIn=3600)
        date = dict(parse_qsl(urlsplit(url).query)).get("X-Amz-Date", "")
        scope = _Scope(url, day, credentials)
        # A window may have begun yesterday: botocore's URL is compared under the day that it is signed for.
        scope.usable = url == _Scope(url, date[:8], credentials).signature(3600, date)(_PROBE, "")
        return scope


class _Scope:
    """What stays the same for a day, a bucket and a pair of keys."""

    usable = False

    def __init__(self, url: str, day: str, credentials: Any):
        parts = urlsplit(url)
        region = dict(parse_qsl(parts.query)).get("X-Amz-Credential", "").split("/")[2:3]
        self.day = day
        self.credentials = credentials
        self._origin = f"{parts.scheme}://{parts.netloc}"
        default_port = {"http": ":80", "https": ":443"}[parts.scheme]
        self._host = parts.netloc.removesuffix(default_port)  # which no client sends
        self._path = parts.path.removesuffix(_PROBE)
        names = (day, *region, "s3", "aws4_request")
        self._scope = "/".join(names)
        self._credential = f"{credentials.access_key}/{self._scope}"
        self._who = quote(self._credential, safe="-_.~")
        self._token = f"&X-Amz-Security-Token={quote(credentials.token, safe='-_.~')}" if credentials.token else ""
        self._key = f"AWS4{credentials.secret_key}".encode()
        for name in names:
            self._key = hmac.digest(self._key, name.encode(), "sha256")

    def signature(self, seconds: int, stamp: str) -> _Sign:
        """Return the function of a key and a query that signs for one second and one life."""
        query = (
            f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={self._who}&X-Amz-Date={stamp}&X-Amz-Expires={seconds}"
        )
        # Signed in alphabetical order, written in botocore's.
        signed_query = f"{query}{self._token}&X-Amz-SignedHeaders=host"
        headers = f"\nhost:{self._host}\n\nhost\nUNSIGNED-PAYLOAD"
        tail = f"{query}&X-Amz-SignedHeaders=host{self._token}&X-Amz-Signature="
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{self._scope}\n"
        start, origin, signing_key = self._path, self._origin, self._key

        def sign(key: str, more: str) -> str:
            path = start + quote(key, safe="/~")
            # Names in lower case come after those of the signature in the alphabet, and before them in the URL.
            after, before = (f"&{'&'.join(sorted(more.split('&')))}", f"{more}&") if more else ("", "")
            digest = hashlib.sha256(f"GET\n{path}\n{signed_query}{after}{headers}".encode()).hexdigest()
            signature = hmac.digest(signing_key, f"{to_sign}{digest}".encode(), "sha256").hex()
            return f"{origin}{path}?{before}{tail}{signature}"

        return sign

    def request(
        self,
        method: str,
        key: str,
        seconds: int,
        stamp: str,
        headers: Mapping[str, str],
        query: Mapping[str, str],
        absent: Iterable[str],
    ) -> str:
        """Return the URL of one request; its signature covers method, key, query and all ``headers``."""
        signed = {"host": self._host, **{name.lower(): " ".join(value.split()) for name, value in headers.items()}}
        names = ";".join(sorted({*signed, *absent}))
        of_signature = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": self._credential,
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(seconds),
            "X-Amz-SignedHeaders": names,
        }
        if self.credentials.token:
            of_signature["X-Amz-Security-Token"] = self.credentials.token
        pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query.items())
        pairs = sorted([*pairs, *((name, quote(value, safe="-_.~")) for name, value in of_signature.items())])
        written = "&".join(f"{name}={value}" for name, value in pairs)
        path = self._path + quote(key, safe="/~")
        lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        canonical = f"{method}\n{path}\n{written}\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        signature = self._sign(f"AWS4-HMAC-SHA256\n{stamp}\n{self._scope}\n{digest}")
        return f"{self._origin}{path}?{written}&X-Amz-Signature={signature}"

    def form(
        self, fields: Mapping[str, str], conditions: list[Any], expiration: str, stamp: str
    ) -> tuple[str, dict[str, str]]:
        """Return URL and fields of a form: ``fields``, each with a condition for exactly its value, and a signature."""
        fields = {
            **fields,
            "x-amz-algorithm": "AWS4-HMAC-SHA256",
            "x-amz-credential": self._credential,
            "x-amz-date": stamp,
        }
        if self.credentials.token:
            fields["x-amz-security-token"] = self.credentials.token
        exactly = [{name: value} for name, value in fields.items()]
        policy = json.dumps({"expiration": expiration, "conditions": [*conditions, *exactly]})
        policy = base64.b64encode(policy.encode()).decode()
        fields["policy"] = policy
        fields["x-amz-signature"] = self._sign(policy)
        # With the slash: SeaweedFS has no answer to a browser's preflight of /bucket.
        return self._origin + self._path, fields

    def _sign(self, message: str) -> str:
        return hmac.digest(self._key, message.encode(), "sha256").hex()
