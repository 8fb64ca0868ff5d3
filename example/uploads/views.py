"""The page with direct uploads: a form, what is enforced, and the files that came."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.shortcuts import get_object_or_404, redirect, render
from django.template.defaultfilters import pluralize
from django.views.decorators.http import require_http_methods, require_POST

from example.album.cost import keep_cost
from example.album.errors import STORAGE_ERRORS, explain
from example.uploads import wording
from example.uploads.forms import MOST, ParcelForm
from example.uploads.models import MAX_SIZE, Parcel, Spent, uploads_storage
from storages.uploads import kinds
from storages.uploads.errors import UploadError
from storages.uploads.fields import UploadedDirectly


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def uploads(request):
    """Show the files of who is logged in, or take what was uploaded."""
    form = ParcelForm(request.POST or None, request.FILES or None)
    if request.method != "POST":
        return _render(request, form)
    if not form.is_valid():
        return _render(request, form, status=422)
    files = form.cleaned_data["file"]
    try:
        with transaction.atomic():
            for file in files:
                _parcel(request.user, file, form.cleaned_data["note"]).save()
    except STORAGE_ERRORS as error:
        form.add_error(None, explain(error, "The files were not saved."))
        return _render(request, form, status=503)
    except UploadError as error:
        form.add_error(None, f"The files were not saved: {error.detail}")
        return _render(request, form, status=error.status)
    keep_cost(request, "uploads", f"Saved {len(files)} file{pluralize(len(files))}")
    return redirect("uploads")


@login_required
@require_POST
def delete(request, pk):
    """Delete one file: the object first, so that a failure leaves both."""
    parcel = get_object_or_404(Parcel, pk=pk, owner=request.user)
    try:
        parcel.file.storage.delete(parcel.file.name)
    except STORAGE_ERRORS as error:
        messages.error(request, explain(error, f"“{parcel}” was not deleted."))
        return redirect("uploads")
    parcel.delete()
    keep_cost(request, "uploads", f"Deleted “{parcel}”")
    return redirect("uploads")


def _parcel(owner, file, note):
    parcel = Parcel(owner=owner, file=file, note=note, filename=file.name, size=file.size)
    if isinstance(file, UploadedDirectly):
        parcel.kind, parcel.upload = file.upload.kind, file.upload.pk
    return parcel


def _render(request, form, status=200):
    offered = _offered()
    ways = [wording.way(kind, _as_answered(enforced)) for kind, enforced in offered.items()]
    by_kind = {way.kind: way for way in ways}
    parcels = list(Parcel.objects.filter(owner=request.user))
    spent = Spent.objects.in_bulk([parcel.upload for parcel in parcels if parcel.upload])
    # Where the browser is sent straight to, it can be sent for the file too.
    has_links = kinds.TUS not in offered or settings.DEMO["lists_names_only"]
    for parcel in parcels:
        parcel.link = parcel.file.url if has_links else None
        parcel.way = by_kind.get(parcel.kind)
        parcel.spent = spent.get(parcel.upload)
    context = {
        "form": form,
        "parcels": parcels,
        "ways": ways,
        "words": wording.for_scripts(),
        "cost": request.session.get("costs", {}).get("uploads"),
        "max_size": MAX_SIZE,
        "most": MOST,
        "parts_above": settings.UPLOADS_PARTS_ABOVE,
    }
    return render(request, "uploads/uploads.html", context, status=status)


def _offered():
    """Return the kinds that a browser is offered here: what goes through this site only where nothing else can be."""
    offered = kinds.offered(uploads_storage())
    if len(offered) > 1:
        offered.pop(kinds.TUS)
    return offered


def _as_answered(enforced):
    """Return what begin answers of a kind for a file without a checksum."""
    return {"key": "signed", "size": enforced.size, "type": enforced.type, "overwrite": enforced.overwrite}
