"""Views that ask a permission, then deliver the file."""

from __future__ import annotations

import logging
import posixpath
import uuid
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ImproperlyConfigured, PermissionDenied, SuspiciousOperation
from django.core.files.storage import Storage
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotFound
from django.http.response import HttpResponseBase
from django.views.generic import View
from django.views.generic.detail import SingleObjectMixin

from storages.private import headers, permissions, servers, sessions, settings, signals
from storages.private.models import PrivateFile
from storages.private.names import is_canonical

logger = logging.getLogger("storages.private")

# That a name can be no file's: of a directory, below a file, with characters or of a length that the storage refuses.
_NO_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError, SuspiciousOperation, Http404, UnicodeError)
# Faults of the project, which it wants to see, and what Django answers itself.
_NOT_THE_STORAGE = (ImproperlyConfigured, NotImplementedError, PermissionDenied)

_PROTECTED = "_storages_private_protected"  # mark of an answer


class PrivateStorageView(View):
    """Serve a file of a storage to whom ``can_access_file()`` lets.

    ``can_access_file`` may be a method, a policy of storages.private.permissions, a function in staticmethod(), or
    None, which denies everybody.
    """

    storage: Any = None  # a storage, or an alias of STORAGES; None is private_storage
    server_class: Any = None  # a class, a name of the settings or a dotted path
    content_disposition: str | None = None  # "attachment" downloads what would be shown
    content_disposition_filename: str | None = None
    permission_denied_message = "Private storage access denied"
    http_method_names = ["get", "head", "options"]

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        sessions.read_only(request)
        super().setup(request, *args, **kwargs)

    def get_path(self) -> str:
        """Return the name of the file."""
        return self.kwargs["path"]

    def get_storage(self) -> Storage:
        """Return the storage of the file."""
        if self.storage is None:
            from storages.private.storage import private_storage

            return private_storage
        if isinstance(self.storage, str):
            from django.core.files.storage import storages

            return storages[self.storage]
        return self.storage

    def get_private_file(self) -> PrivateFile:
        """Return the file that is asked for; whether there is one is not known yet."""
        return PrivateFile(self.request, self.get_storage(), self.get_path())

    def can_access_file(self, private_file: PrivateFile) -> Any:
        """Return whether the file may be served, also as an awaitable; what the setting says by default."""
        return permissions.ask(settings.get("PRIVATE_STORAGE_AUTH_FUNCTION"), private_file)

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Return the file. Raises PermissionDenied, before the storage is asked anything."""
        try:
            private_file = self.get_private_file()
        except Http404:
            return self._protected_error(_not_found())
        if not is_canonical(private_file.relative_name):
            return self._protected_error(_not_found())
        if not permissions.ask(self.can_access_file, private_file):
            return self._deny(private_file)
        return self._served(private_file)

    def serve_file(self, private_file: PrivateFile) -> HttpResponseBase:
        """Return the file by the delivery that the view, the storage or the setting names.

        The answer has its safety headers: what a subclass changes of them stays. One that it makes itself gets them.
        """
        return self._guarded(self._server(private_file).serve, private_file)

    def serve_file_not_found(self, private_file: PrivateFile) -> HttpResponseBase:
        """Return the answer for a missing file; for a denied one too, where these are hidden."""
        return _not_found()

    def get_content_disposition_filename(self, private_file: PrivateFile) -> str:
        """Return the name under which the file is saved."""
        return self.content_disposition_filename or posixpath.basename(private_file.relative_name)

    def _server(self, private_file: PrivateFile) -> Any:
        server = self.server_class or getattr(private_file.storage, "server", None)
        server = server or settings.get("PRIVATE_STORAGE_SERVER")
        return servers.get_server_class(server)

    def _deny(self, private_file: PrivateFile) -> HttpResponseBase:
        signals.file_denied.send_robust(type(self), private_file=private_file, request=self.request)
        if settings.get("PRIVATE_STORAGE_HIDE_DENIED"):
            return self._protected_error(self.serve_file_not_found(private_file))
        raise PermissionDenied(self.permission_denied_message)

    def _served(self, private_file: PrivateFile) -> HttpResponseBase:
        """Return the answer for somebody who may have the file; a signed link comes in here."""
        return self._guarded(self.serve_file, private_file)

    def _guarded(self, serve: Callable[[PrivateFile], HttpResponseBase], private_file: PrivateFile) -> HttpResponseBase:
        """Return what ``serve`` answers, protected; for its errors, what the client may know of them."""
        private_file.disposition = private_file.disposition or self.content_disposition
        private_file.filename = private_file.filename or self.get_content_disposition_filename(private_file)
        try:
            private_file.stay_inside()  # for every delivery, also a project's own
            response = serve(private_file)
        except _NO_FILE:
            return self._protected_error(self.serve_file_not_found(private_file))
        except _NOT_THE_STORAGE:
            raise
        except ValueError:  # most likely of the name
            logger.warning("%r is no file", private_file, exc_info=True)
            return self._protected_error(self.serve_file_not_found(private_file))
        except Exception:
            number = uuid.uuid4().hex  # all that the client may know; the rest is in the log
            logger.exception("%s: %r could not be read", number, private_file)
            return self._protected_error(_bad_gateway(number))
        if not hasattr(response, _PROTECTED):
            headers.protect(response, private_file)
            sessions.set_no_cookie(response)
            setattr(response, _PROTECTED, True)
            if signals.begins_download(self.request, response):
                signals.file_served.send_robust(type(self), private_file=private_file, request=self.request)
        return response

    def _protected_error(self, response: HttpResponseBase) -> HttpResponseBase:
        headers.harden(response)
        sessions.set_no_cookie(response)
        setattr(response, _PROTECTED, True)
        return response


class PrivateStorageDetailView(SingleObjectMixin, PrivateStorageView):
    """Serve the file of a model's object, which the policy gets as ``parent_object``.

    An object that get_queryset() leaves out is missing; so is one without a file.
    """

    model_file_field = "file"

    def get_path(self) -> str:
        return self._file().name or ""

    def get_storage(self) -> Storage:
        return self._file().storage

    def get_private_file(self) -> PrivateFile:
        self.object = self.get_object()
        return PrivateFile(self.request, self.get_storage(), self.get_path(), parent_object=self.object)

    def _file(self) -> Any:
        return getattr(self.object, self.model_file_field)


def _not_found() -> HttpResponse:
    return HttpResponseNotFound("Not found", content_type="text/plain")


def _bad_gateway(number: str) -> HttpResponse:
    return HttpResponse(f"The file cannot be read now; error {number}", status=502, content_type="text/plain")
