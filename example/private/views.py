"""The private pages: the files of who is logged in, links to them, and how they are delivered."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from example.album.cost import keep_cost
from example.album.errors import STORAGE_ERRORS, explain
from example.private.deliveries import DELIVERIES, deliver
from example.private.forms import DocumentForm, ShareForm
from example.private.models import MAX_SIZE, Document
from example.private.users import PASSWORDS
from storages.private.links import make_link, revoke_links
from storages.private.models import Link
from storages.private.views import PrivateStorageView


class LogIn(LoginView):
    """Let one of the two in."""

    template_name = "private/login.html"
    redirect_authenticated_user = True
    extra_context = {"passwords": PASSWORDS}


class ByDelivery(PrivateStorageView):
    """Serve a file by the delivery that the URL names; a project has one for all, in its settings."""

    def setup(self, request, *args, **kwargs):
        super().setup(request, *args, **kwargs)
        if kwargs["server"] not in DELIVERIES:
            raise Http404(kwargs["server"])
        self.server_class = kwargs["server"]


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def files(request):
    """Show the files of who is logged in, or upload one."""
    form = DocumentForm(request.POST or None, request.FILES or None, instance=Document(owner=request.user))
    if request.method != "POST":
        return _render_files(request, form)
    if not form.is_valid():
        return _render_files(request, form, status=422)
    try:
        document = form.save()
    except STORAGE_ERRORS as error:
        form.add_error(None, explain(error, "The file was not uploaded."))
        return _render_files(request, form, status=503)
    keep_cost(request, "private", f"Uploaded “{document}”")
    return redirect("private")


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def document(request, pk):
    """Show one file and the links to it, or make a link."""
    shown = get_object_or_404(Document, pk=pk, owner=request.user)
    form = ShareForm(request.POST or None)
    if request.method != "POST":
        return _render_document(request, shown, form)
    if not form.is_valid():
        return _render_document(request, shown, form, status=422)
    link = make_link(shown.as_asked_for(request), expire=60 * form.cleaned_data["minutes"], revocable=True)
    # For the next page only: a link opens the file for everybody who has it, so that nothing keeps it.
    request.session["new_link"] = request.build_absolute_uri(link)
    return redirect("document", pk=pk)


@login_required
@require_POST
def revoke(request, pk):
    """End a link."""
    link = get_object_or_404(Link, pk=pk, made_by=request.user)
    revoke_links(link)
    shown = Document.objects.filter(owner=request.user, file=link.name).first()
    return redirect("document", pk=shown.pk) if shown else redirect("private")


@login_required
@require_POST
def delete(request, pk):
    """Delete one file: the object first, so that a failure leaves both."""
    shown = get_object_or_404(Document, pk=pk, owner=request.user)
    title = str(shown)
    try:
        shown.file.storage.delete(shown.file.name)
    except STORAGE_ERRORS as error:
        messages.error(request, explain(error, f"“{title}” was not deleted."))
        return redirect("document", pk=pk)
    revoke_links(name=shown.file.name, user=request.user)
    shown.delete()
    keep_cost(request, "private", f"Deleted “{title}”")
    return redirect("private")


@login_required
@require_GET
def deliveries(request, pk):
    """Show what each delivery sends."""
    shown = get_object_or_404(Document, pk=pk, owner=request.user)
    try:
        found = list(deliver(shown, request))
    except OSError as error:
        messages.error(request, explain(error, "The file was not fetched."))
        found = []
    context = {
        "document": shown,
        "deliveries": [delivery for delivery in found if not delivery["problem"]],
        "impossible": [delivery for delivery in found if delivery["problem"]],
        "chosen": settings.PRIVATE_STORAGE_SERVER,
    }
    return render(request, "private/deliveries.html", context, status=200 if found else 503)


def _render_files(request, form, status=200):
    context = {
        "form": form,
        "documents": Document.objects.filter(owner=request.user),
        "cost": request.session.get("costs", {}).get("private"),
        "max_size": MAX_SIZE,
    }
    return render(request, "private/files.html", context, status=status)


def _render_document(request, shown, form, status=200):
    links = Link.objects.filter(made_by=request.user, name=shown.file.name, revoked=False, expires__gt=timezone.now())
    context = {"document": shown, "form": form, "links": links, "new_link": request.session.pop("new_link", None)}
    return render(request, "private/document.html", context, status=status)
