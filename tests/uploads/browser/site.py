"""A project whose pages have a strict policy: a form, and Django's admin."""

from __future__ import annotations

from django.conf import settings
from django.db import transaction
from django.http import HttpResponse
from django.template import engines
from django.urls import include, path

from tests.uploads import form_site

TEMPLATE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Letter</title>{{ form.media }}</head>
<body><main><h1>Letter</h1><form method="post" enctype="multipart/form-data">{% csrf_token %}{{ form.as_p }}
<button id="save">Save</button></form></main></body></html>"""


def letter(request):
    form = form_site.LetterForm(request.POST or None, request.FILES or None)
    if form.is_valid():
        with transaction.atomic():
            form.save()
        return HttpResponse("<!doctype html><title>Saved</title>Saved", headers=_policy())
    page = engines["django"].from_string(TEMPLATE).render({"form": form}, request)
    return HttpResponse(page, headers=_policy())


def _policy():
    return {"Content-Security-Policy": settings.TESTED_POLICY}


urlpatterns = [
    path("uploads/", include("storages.uploads.urls")),
    path("letter/", letter),
    path("admin/", form_site.site.urls),
]
