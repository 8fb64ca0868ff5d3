"""The URLs of direct uploads: ``path("uploads/", include("storages.uploads.urls"))``."""

from __future__ import annotations

from django.urls import path

from storages.uploads import views
from storages.uploads.tus import TusView

app_name = "storages_uploads"
urlpatterns = [
    path("begin/", views.BeginView.as_view(), name="begin"),
    path("parts/", views.PartsView.as_view(), name="parts"),
    path("status/", views.StatusView.as_view(), name="status"),
    path("finish/", views.FinishView.as_view(), name="finish"),
    path("abort/", views.AbortView.as_view(), name="abort"),
    path("slot/", views.SlotView.as_view(), name="slot"),
    path("tus/", TusView.as_view(), name="tus"),
    path("tus/<uuid:pk>", TusView.as_view(), name="tus_upload"),
]
