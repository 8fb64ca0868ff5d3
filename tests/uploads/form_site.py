"""A project with forms, formsets and an admin for files that are uploaded directly."""

from __future__ import annotations

from django import forms
from django.contrib import admin
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect
from django.template import engines
from django.urls import include, path
from rest_framework.generics import CreateAPIView

from storages.uploads.forms import DirectUploadFormField
from storages.uploads.serializers import DirectUploadModelSerializer
from tests.uploads.form_models import Enclosure, Letter


class LetterForm(forms.ModelForm):
    class Meta:
        model = Letter
        fields = ["title", "scan"]


class SeveralForm(forms.Form):
    files = DirectUploadFormField(field="tests_uploads.Enclosure.file", multiple=True, max_files=3)


class LetterSerializer(DirectUploadModelSerializer):
    class Meta:
        model = Letter
        fields = ["title", "scan"]


class LetterViews(CreateAPIView):
    queryset = Letter.objects.all()
    serializer_class = LetterSerializer


EnclosureFormSet = forms.inlineformset_factory(Letter, Enclosure, fields=["file"], extra=2)

TEMPLATE = "{{ form.media }}<form method=post enctype=multipart/form-data>{{ form.as_p }}</form>"


def _page(request, form):
    return HttpResponse(engines["django"].from_string(TEMPLATE).render({"form": form}, request))


def letter(request, pk=None):
    instance = Letter.objects.get(pk=pk) if pk else None
    form = LetterForm(request.POST or None, request.FILES or None, instance=instance)
    if form.is_valid():
        with transaction.atomic():
            form.save()
        return redirect("letter", pk=form.instance.pk)
    return _page(request, form)


def enclosures(request, pk):
    formset = EnclosureFormSet(request.POST or None, request.FILES or None, instance=Letter.objects.get(pk=pk))
    if formset.is_valid():
        with transaction.atomic():
            formset.save()
        return redirect("letter", pk=pk)
    return _page(request, formset)


def several(request, pk):
    form = SeveralForm(request.POST or None, request.FILES or None)
    if form.is_valid():
        for file in form.cleaned_data["files"]:
            Enclosure.objects.create(letter_id=pk, file=file)
        return redirect("letter", pk=pk)
    return _page(request, form)


class EnclosureInline(admin.TabularInline):
    model = Enclosure
    extra = 1


class LetterAdmin(admin.ModelAdmin):
    inlines = [EnclosureInline]


site = admin.AdminSite("uploads_admin")
site.register(Letter, LetterAdmin)

urlpatterns = [
    path("uploads/", include("storages.uploads.urls")),
    path("letters/", letter, name="new_letter"),
    path("letters/<int:pk>/", letter, name="letter"),
    path("letters/<int:pk>/enclosures/", enclosures, name="enclosures"),
    path("letters/<int:pk>/several/", several, name="several"),
    path("api/letters/", LetterViews.as_view()),
    path("admin/", site.urls),
]
