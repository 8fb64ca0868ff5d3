"""The URL of signed links: include() it before storages.private.urls, which take every path below theirs."""

from __future__ import annotations

from django.db.transaction import non_atomic_requests
from django.urls import path

from storages.private.link_views import PrivateLinkView

# A use of a link is written before the first byte is sent, also with ATOMIC_REQUESTS.
urlpatterns = [path("link/<str:token>/", non_atomic_requests(PrivateLinkView.as_view()), name="serve_private_link")]
