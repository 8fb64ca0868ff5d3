"""The URLs of B2's storages for the public, for users and for staff: include() them under a path of your own."""

from __future__ import annotations

from django.urls import path

from storages.private import b2_views

app_name = "django_b2_storage"

urlpatterns = [
    path("b2/<path:filename>", b2_views.download_public_file, name="b2-public"),
    path("b2l/<path:filename>", b2_views.download_logged_in_file, name="b2-logged-in"),
    path("b2s/<path:filename>", b2_views.download_staff_file, name="b2-staff"),
]
