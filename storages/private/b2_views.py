"""Views for B2's storages for the public, for users and for staff."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.core.files.storage import Storage
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from storages.private import settings, signals
from storages.private.models import PrivateFile
from storages.private.views import PrivateStorageView


class B2View(PrivateStorageView):
    """Serve the object of a bucket under the key in the URL, to those whom ``refusal()`` lets."""

    storage_class: str  # dotted path, so that only who asks for a file imports the backend

    def get_path(self) -> str:
        return self.kwargs["filename"]

    def get_storage(self) -> Storage:
        return self._storage

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        refusal = self.refusal(self.get_private_file())
        if refusal is None:
            return super().get(request, *args, **kwargs)
        signals.file_denied.send_robust(type(self), private_file=self.get_private_file(), request=request)
        return self._protected_error(refusal)

    def serve_file(self, private_file: PrivateFile) -> HttpResponseBase:
        response = super().serve_file(private_file)
        response.headers["X-Frame-Options"] = "SAMEORIGIN"  # pages of the project may show what is for them
        return response

    def refusal(self, private_file: PrivateFile) -> HttpResponseBase | None:
        """Return the answer to somebody who may not have the file, without asking the storage; or None."""
        raise NotImplementedError

    def can_access_file(self, private_file: PrivateFile) -> bool:
        return True  # to whom refusal() let pass

    @cached_property
    def _storage(self) -> Any:
        # URLs hold keys, because the view can't know where each storage of the project keeps its names.
        return import_string(self.storage_class)(location="", public_prefix="")


class B2PublicView(B2View):
    """Serve everybody, from a bucket or a prefix that was named for that."""

    storage_class = "storages.backends.b2.B2PublicStorage"

    def refusal(self, private_file: PrivateFile) -> HttpResponseBase | None:
        if import_string(self.storage_class)().serves(private_file.relative_name):
            return None
        return self.serve_file_not_found(private_file)


class B2LoggedInView(B2View):
    """Serve users."""

    storage_class = "storages.backends.b2.B2LoggedInStorage"

    def refusal(self, private_file: PrivateFile) -> HttpResponseBase | None:
        user = getattr(private_file.request, "user", None)
        if user is not None and user.is_active and self.is_reader(user):
            return None
        if settings.get("PRIVATE_STORAGE_HIDE_DENIED"):
            return self.serve_file_not_found(private_file)
        if user is None or not user.is_authenticated:
            return redirect_to_login(private_file.request.get_full_path())
        return HttpResponse("Unauthorized", status=401, content_type="text/plain")

    def is_reader(self, user: Any) -> bool:
        """Whether an active user may have the files."""
        return bool(user.is_authenticated)


class B2StaffView(B2LoggedInView):
    """Serve staff."""

    storage_class = "storages.backends.b2.B2StaffStorage"

    def is_reader(self, user: Any) -> bool:
        return bool(user.is_authenticated and user.is_staff)


download_public_file = B2PublicView.as_view()
download_logged_in_file = B2LoggedInView.as_view()
download_staff_file = B2StaffView.as_view()
