"""One URL for all files of ``private_storage``: include() it under a path of your own."""

from __future__ import annotations

from django.urls import re_path

from storages.private import views

urlpatterns = [re_path(r"^(?P<path>.*)$", views.PrivateStorageView.as_view(), name="serve_private_file")]
