"""The URLs of the tests' project: all files of one storage, two storages side by side, the files of a model."""

from __future__ import annotations

from django.urls import include, path, re_path

from storages.private.permissions import allow_owner, any_of
from storages.private.views import PrivateStorageDetailView, PrivateStorageView
from tests.private.models import Document, memory


class DocumentView(PrivateStorageDetailView):
    model = Document
    can_access_file = any_of("storages.private.permissions.allow_superuser", allow_owner("owner"))


class DrawerView(PrivateStorageView):
    storage = memory

    def get_path(self) -> str:
        return f"drawer/{super().get_path()}"


urlpatterns = [
    path("private-media/", include("storages.private.urls")),
    re_path(r"^memory/(?P<path>.*)$", PrivateStorageView.as_view(storage=memory), name="memory"),
    re_path(r"^drawer/(?P<path>.*)$", DrawerView.as_view(), name="drawer"),
    path("documents/<int:pk>/", DocumentView.as_view(), name="document"),
]
