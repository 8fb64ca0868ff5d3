"""Views that ask a permission, then deliver the file."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string
from django.views.generic import View

from storages.private import headers, servers
from storages.private.models import PrivateFile
from storages.private.names import is_canonical


class PrivateStorageView(View):
    """Serve a file of a storage to whom ``can_access_file()`` lets."""

    storage: Any = None
    server_class: Any = None
    content_disposition: str | None = None
    content_disposition_filename: str | None = None
    permission_denied_message = "Private storage access denied"
    http_method_names = ["get", "head", "options"]

    def get_path(self) -> str:
        return self.kwargs["path"]

    def can_access_file(self, private_file: PrivateFile) -> bool:
        return import_string(settings.PRIVATE_STORAGE_AUTH_FUNCTION)(private_file)

    def get_private_file(self) -> PrivateFile:
        return PrivateFile(self.request, self.storage, self.get_path())

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not is_canonical(self.get_path()):
            raise Http404
        private_file = self.get_private_file()
        if not self.can_access_file(private_file):
            raise PermissionDenied(self.permission_denied_message)
        return self.serve_file(private_file)

    def serve_file(self, private_file: PrivateFile) -> HttpResponseBase:
        response = servers.get_server_class("django").serve(private_file)
        headers.protect(response, private_file)
        return response
