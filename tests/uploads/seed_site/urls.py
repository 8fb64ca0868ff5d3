"""The URLs of a project that django-buckets was replaced in: its fake S3, a form, an API."""

from __future__ import annotations

from django import forms
from django.http import HttpResponse, JsonResponse
from django.template import engines
from django.urls import include, path

from tests.uploads.seed_site.models import Report

TEMPLATE = "{{ form.media }}<form method=post>{{ form.as_p }}<button>Save</button></form>"


class ReportForm(forms.ModelForm):
    class Meta:
        model = Report
        fields = ["name", "file"]


def report(request, pk=None):
    instance = Report.objects.get(pk=pk) if pk else None
    form = ReportForm(request.POST or None, instance=instance)
    if form.is_valid():
        saved = form.save()
        return JsonResponse({"pk": saved.pk, "url": saved.file.url})
    page = engines["django"].from_string(TEMPLATE).render({"form": form}, request)
    return HttpResponse(page, status=400 if form.errors else 200)


urlpatterns = [
    path("", include("storages.uploads.testing.urls")),
    path("uploads/", include("storages.uploads.urls")),
    path("reports/", report, name="report"),
    path("reports/<int:pk>/", report, name="report"),
]
