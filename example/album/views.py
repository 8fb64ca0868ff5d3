"""The pages: a gallery that costs no request, a listing, and the actions with what each one cost."""

import mimetypes

from django.conf import settings
from django.contrib import messages
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import redirect, render
from django.template.defaultfilters import pluralize
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from example.album import landscapes
from example.album.cost import keep_cost
from example.album.errors import STORAGE_ERRORS, explain
from example.album.forms import MAX_SIZE, PhotoForm
from example.album.models import Photo
from storages.contract import DeleteError


@require_http_methods(["GET", "HEAD", "POST"])
def gallery(request):
    """Show the photos, or upload one."""
    form = PhotoForm(request.POST or None, request.FILES or None)
    if request.method != "POST":
        return _render_gallery(request, form)
    if not form.is_valid():
        return _render_gallery(request, form, status=422)
    try:
        photo = form.save()
    except STORAGE_ERRORS as error:
        form.add_error(None, explain(error, "The photo was not uploaded."))
        return _render_gallery(request, form, status=503)
    keep_cost(request, "upload", f"Uploaded “{photo}”")
    return redirect("gallery")


@require_POST
def add_samples(request):
    """Draw the sample photos and upload them."""
    added = 0
    try:
        for scene in landscapes.SCENES:
            content = ContentFile(landscapes.draw(scene), name=f"{slugify(scene.title)}.jpg")
            Photo.objects.create(title=scene.title, image=content)
            added += 1
    except STORAGE_ERRORS as error:
        messages.error(request, explain(error, f"{added} of {len(landscapes.SCENES)} sample photos were added."))
    keep_cost(request, "upload", f"Added {added} sample photos")
    return redirect("gallery")


@require_POST
def delete(request, pk):
    """Delete one photo: the object first, so that a failure leaves both."""
    photo = Photo.objects.filter(pk=pk).first()
    if photo is None:
        messages.error(request, "That photo is gone already.")
        return redirect("gallery")
    try:
        default_storage.delete(photo.image.name)
    except STORAGE_ERRORS as error:
        messages.error(request, explain(error, f"“{photo}” was not deleted."))
        return redirect("gallery")
    photo.delete()
    keep_cost(request, "delete", f"Deleted “{photo}”")
    return redirect("gallery")


@require_POST
def delete_all(request):
    """Delete every photo; those whose object could not be deleted stay in the album."""
    names = list(Photo.objects.values_list("image", flat=True))
    kept = {}
    try:
        default_storage.delete_many(names)
    except DeleteError as error:
        kept = error.errors
        messages.error(request, f"{len(kept)} of {len(names)} photos could not be deleted: {error}")
    except STORAGE_ERRORS as error:
        messages.error(request, explain(error, "No photo was deleted."))
        return redirect("gallery")
    deleted, _ = Photo.objects.filter(image__in=set(names) - set(kept)).delete()
    keep_cost(request, "delete", f"Deleted {deleted} photo{pluralize(deleted)}")
    return redirect("gallery")


@require_GET
def bucket(request):
    """List what the bucket holds, as the storages see it."""
    storages = [("media", "Photos", settings.DEMO["access"], default_storage)]
    if settings.DEMO["static_access"]:
        storages.append(("static", "Static files", settings.DEMO["static_access"], staticfiles_storage))
    sections = []
    try:
        for location, title, access, storage in storages:
            entries = list(storage.walk())
            sizes = [entry.size for entry in entries]
            total = None if None in sizes else sum(sizes)
            sections.append(
                {"location": location, "title": title, "access": access, "entries": entries, "total": total}
            )
    except STORAGE_ERRORS as error:
        messages.error(request, explain(error, f"The {settings.DEMO['place']} was not listed."))
    return render(request, "album/bucket.html", {"sections": sections}, status=200 if sections else 503)


@require_http_methods(["GET", "HEAD"])
def media(_request, name):
    """Stream a photo out of the storage, for a server that a browser cannot ask."""
    return _stream(default_storage, name)


@require_http_methods(["GET", "HEAD"])
def static(_request, name):
    """Stream a static file, as in production a web server does."""
    return _stream(staticfiles_storage, name)


def _stream(storage, name):
    try:
        file = storage.open(name)
    except FileNotFoundError as error:
        raise Http404(name) from error
    except STORAGE_ERRORS as error:
        return HttpResponse(explain(error, f"{name} was not read."), status=503, content_type="text/plain")
    return FileResponse(file, content_type=mimetypes.guess_type(name)[0])


def _render_gallery(request, form, status=200):
    context = {
        "form": form,
        "photos": Photo.objects.all(),
        "costs": request.session.get("costs", {}),
        "max_size": MAX_SIZE,
        "sample_count": len(landscapes.SCENES),
    }
    return render(request, "album/gallery.html", context, status=status)
