"""The view behind signed links."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseNotFound
from django.http.response import HttpResponseBase
from django.urls import get_resolver, get_urlconf
from django.views.generic import View

from storages.private import headers, sessions, settings, signals
from storages.private.links import LinkError, open_link
from storages.private.models import PrivateFile


class PrivateLinkView(View):
    """Serve what a signed link leads to, by the view that guards it; every link that opens nothing is answered alike.

    The token is taken out of the path that Django logs.
    """

    permission_denied_message = "Private storage access denied"
    http_method_names = ["get", "head", "options"]

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        sessions.read_only(request)
        request.path = request.path.replace(kwargs["token"], "...")
        super().setup(request, *args, **kwargs)

    def get(self, request: HttpRequest, token: str) -> HttpResponseBase:
        """Return the file."""
        try:
            private_file = open_link(request, token)
        except LinkError as error:
            return self._refuse(error.private_file)
        try:
            return self._served(private_file)
        except (PermissionDenied, Http404):
            return self._refuse(None)

    def _served(self, private_file: PrivateFile) -> HttpResponseBase:
        use, has_bytes = private_file.link.use, False
        try:
            response = private_file.link.view._served(private_file)
            has_bytes = response.status_code < 400 and response.status_code != 304
        finally:
            if use is not None and not has_bytes:
                use.give_back()
        return response

    def _refuse(self, private_file: PrivateFile | None) -> HttpResponseBase:
        if private_file is not None:
            signals.file_denied.send_robust(type(self), private_file=private_file, request=self.request)
        if settings.get("PRIVATE_STORAGE_HIDE_DENIED"):
            response: Any = HttpResponseNotFound("Not found", content_type="text/plain")
        else:
            handler: Any = get_resolver(get_urlconf()).resolve_error_handler(403)  # the project's 403.html
            response = handler(self.request, exception=PermissionDenied(self.permission_denied_message))
        headers.harden(response)
        sessions.set_no_cookie(response)
        return response
