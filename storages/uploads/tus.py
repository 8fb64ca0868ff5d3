"""tus 1.0 for storages that nobody else can write to: the bytes come through this server, and resume where they were.

The core protocol with creation, expiration, checksum and termination. What begins an upload, and what ends it, are the
protocol's own begin and finish. WSGI hands the body on as it comes. ASGI has Django take the whole of a request into
a temporary file first, and drop it when the client goes away: clients send pieces of ``parts.size`` bytes.

The views ask for no CSRF token. A page of another site cannot send the headers that they need, Tus-Resumable and
Upload-Token, without a preflight, which is never granted here; and the upload's own token, unlike a cookie, is not sent
by a browser on its own, and opens the upload to its user alone.
"""

from __future__ import annotations

import base64
import contextlib
import uuid
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.http import http_date
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from storages.contract import SignedRequest
from storages.uploads import authentication, protocol, spool
from storages.uploads.errors import UploadError
from storages.uploads.models import State, Upload
from storages.uploads.views import failure

VERSION = "1.0.0"
EXTENSIONS = "creation,expiration,checksum,termination"
ALGORITHMS = {"sha256": 32, "sha1": 20}  # bytes
MIME = "application/offset+octet-stream"
TOKEN = "Upload-Token"  # noqa: S105 -- the header's name
CHECKSUM_MISMATCH = 460  # tus; no status of HTTP
LONGEST_METADATA = 8192  # characters
# What a row may be of which a client can still ask how far it has come.
ALIVE = (State.BEGUN, State.UPLOADED, State.QUARANTINED, State.FINISHED, State.CLAIMED)


def request_of(upload: Upload, token: str) -> SignedRequest:
    """Return the request that sends the bytes; the client adds Upload-Offset, and repeats it until all have come."""
    headers = {"Tus-Resumable": VERSION, "Content-Type": MIME, TOKEN: token}
    return SignedRequest("PATCH", reverse("storages_uploads:tus_upload", args=[upload.pk]), headers)


# What has arrived stays, whatever becomes of the request: no transaction is around it.
@method_decorator([csrf_exempt, transaction.non_atomic_requests], name="dispatch")
class TusView(View):
    """Answers tus: without a number of an upload its creation, with one all that is done to it."""

    http_method_names = ["options", "post", "head", "patch", "delete"]

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        """Return the view; Django's LoginRequiredMiddleware lets it answer for itself."""
        view = super().as_view(**initkwargs)
        view.login_required = False  # type: ignore[attr-defined]
        return view

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method == "POST" and "X-HTTP-Method-Override" in request.headers:
            request.method = request.headers["X-HTTP-Method-Override"].upper()  # for proxies that know no PATCH
        try:
            if request.method != "OPTIONS" and request.headers.get("Tus-Resumable") != VERSION:
                response: HttpResponseBase = HttpResponse(status=412, headers={"Tus-Version": VERSION})
            else:
                authentication.identify(request)
                response = super().dispatch(request, *args, **kwargs)
        except UploadError as error:
            response = failure(error)
        response["Tus-Resumable"] = VERSION
        response["Cache-Control"] = "no-store"
        return response

    def options(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Tell what is spoken here."""
        about = {"Tus-Version": VERSION, "Tus-Extension": EXTENSIONS, "Tus-Checksum-Algorithm": ",".join(ALGORITHMS)}
        return HttpResponse(status=204, headers=about)

    def post(self, request: HttpRequest, pk: uuid.UUID | None = None) -> HttpResponse:
        """Begin an upload; the slot, name and type are metadata."""
        if pk is not None:
            raise UploadError("method", "An upload is sent with PATCH.")
        told = metadata(request.headers.get("Upload-Metadata", ""))
        asked: dict[str, Any] = {
            "slot": told.get("slot", ""),
            "filename": told.get("filename", ""),
            "size": _number(request, "Upload-Length"),
            "content_type": told.get("filetype", ""),
            "accepts": [spool.KIND],
        }
        if "checksum" in told:  # of the whole; every PATCH may have its own
            asked["checksum"] = {"algorithm": "sha256", "value": told["checksum"]}
        begun = protocol.begin(request, asked)
        response = HttpResponse(status=201)
        response["Location"] = request.build_absolute_uri(begun["request"]["url"])
        response[TOKEN] = begun["upload"]
        return _dated(response, _opened(request, begun["upload"]))

    def head(self, request: HttpRequest, pk: uuid.UUID | None = None) -> HttpResponse:
        """Tell how far an upload has come."""
        upload = _asked(request, pk)
        response = HttpResponse()
        response["Upload-Offset"] = str(spool.offset(upload))
        response["Upload-Length"] = str(upload.size)
        return _dated(response, upload)

    def patch(self, request: HttpRequest, pk: uuid.UUID | None = None) -> HttpResponse:
        """Append the body."""
        upload = _asked(request, pk)
        if request.content_type != MIME:
            raise UploadError("type_not_allowed", f"The body is to be {MIME}.")
        if not request.headers.get("Content-Length", ""):
            raise UploadError("length_required", "Content-Length is missing.")
        start, length = _number(request, "Upload-Offset"), _number(request, "Content-Length")
        checksum = _checksum(request.headers.get("Upload-Checksum"))
        try:
            offset = spool.receive(upload, request, start, length, checksum)
        except spool.ChecksumMismatch:
            error = UploadError("checksum_mismatch", "The body is not what Upload-Checksum is of.")
            error.status, error.retryable = CHECKSUM_MISMATCH, True
            raise error from None
        response = HttpResponse(status=204)
        response["Upload-Offset"] = str(offset)
        return _dated(response, upload)

    def delete(self, request: HttpRequest, pk: uuid.UUID | None = None) -> HttpResponse:
        """End an upload."""
        _asked(request, pk)
        protocol.abort(request, {"upload": request.headers[TOKEN]})
        return HttpResponse(status=204)

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return failure(UploadError("method", "tus knows POST, HEAD, PATCH, DELETE and OPTIONS."))


def metadata(header: str) -> dict[str, str]:
    """Return what Upload-Metadata says: key to text. Raises UploadError (bad_request)."""
    told: dict[str, str] = {}
    if len(header) > LONGEST_METADATA:
        raise UploadError("bad_request", f"Upload-Metadata has more than {LONGEST_METADATA} characters.")
    for pair in filter(None, (pair.strip() for pair in header.split(","))):
        key, _, value = pair.partition(" ")
        if key in told:
            raise UploadError("bad_request", "A key of Upload-Metadata comes twice.", field=key)
        try:
            told[key] = base64.b64decode(value, validate=True).decode()
        except ValueError as error:
            raise UploadError("bad_request", "Upload-Metadata is not in base64.", field=key) from error
    return told


def _opened(request: HttpRequest, token: str) -> Upload:
    return protocol.opened(request, token, states=ALIVE)


def _asked(request: HttpRequest, pk: uuid.UUID | None) -> Upload:
    """Return the upload of the token, which has to be that of the URL. Raises UploadError."""
    upload = _opened(request, request.headers.get(TOKEN, "")) if pk else None
    if upload is None or upload.pk != pk or upload.kind != spool.KIND:
        raise UploadError("upload_not_found", "There is no such upload.")
    return upload


def _number(request: HttpRequest, header: str) -> int:
    text = request.headers.get(header, "")
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise UploadError("bad_request", f"{header} has to be a number.", field=header)
    return int(text)


def _checksum(header: str | None) -> spool.Checksum | None:
    """Return what Upload-Checksum says. Raises UploadError (bad_request)."""
    if header is None:
        return None
    algorithm, _, text = header.partition(" ")
    with contextlib.suppress(ValueError):  # binascii.Error, or characters that are none of ASCII
        value = base64.b64decode(text, validate=True)
        if len(value) == ALGORITHMS.get(algorithm):
            return spool.Checksum(algorithm, value)
    raise UploadError("bad_request", "Upload-Checksum is sha256 or sha1, and the sum in base64.")


def _dated(response: HttpResponse, upload: Upload) -> HttpResponse:
    response["Upload-Expires"] = http_date(upload.expires.timestamp())
    return response
