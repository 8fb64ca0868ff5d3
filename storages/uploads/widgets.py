"""A file input that uploads directly where there is JavaScript, and is a file input where there is none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.forms.widgets import FILE_INPUT_CONTRADICTION, CheckboxInput, ClearableFileInput, Media
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from storages.uploads import claims, protocol
from storages.uploads.errors import UploadError
from storages.uploads.middleware import current_request

if TYPE_CHECKING:
    from storages.uploads.forms import DirectUploadFormField

# What tells a token from the name of a file, which a form without an encoding type sends.
PREFIX = "storages-upload:"

# What the element says; it fills in what is in braces.
MESSAGES = {
    "drop": _("or drop it here"),
    "drop_several": _("or drop them here"),
    "uploading": _("Uploading {name}"),
    "progress": _("{name}: {percent} %"),
    "done": _("{name} is uploaded"),
    "checking": _("{name} is being checked"),
    "cancel": _("Cancel upload of {name}"),
    "cancel_short": _("Cancel"),
    "cancelled": _("Upload of {name} was cancelled"),
    "remove": _("Remove {name}"),
    "remove_short": _("Remove"),
    "retry": _("Try again"),
    "retrying": _("The connection was lost; trying again"),
    "resuming": _("Going on with {name}"),
    "too_large": _("{name} is larger than {limit}"),
    "too_small": _("{name} is smaller than {limit}"),
    "empty": _("{name} is empty"),
    "bad_type": _("{name} is not of an allowed type"),
    "too_many": _("At most {limit} files"),
    "failed": _("{name} could not be uploaded"),
    "rejected": _("{name} was refused"),
    "unreadable": _("{name} cannot be read any more; choose it again"),
    "denied": _("You may not upload this file"),
    "expired": _("This form is too old; reload the page"),
    "quota": _("Too many or too large uploads; try again later"),
    "busy": _("Wait until all files are uploaded"),
}


class Module:
    """An ES module among a form's media: ``{{ form.media }}`` makes it ``<script type="module" src>``."""

    def __init__(self, path: str):
        self.path = path

    def __html__(self) -> str:
        return format_html('<script type="module" src="{}"></script>', static(self.path))

    __str__ = __html__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Module) and self.path == other.path

    def __hash__(self) -> int:
        return hash((Module, self.path))


class Posted:
    """What a form sent under one name: files, texts of tokens without their prefix, other texts as they are."""

    def __init__(self, values: list[Any]):
        self.values = values

    def __repr__(self) -> str:
        return f"<Posted: {len(self.values)}>"  # tokens are for no log


class DirectUploadInput(ClearableFileInput):
    """A ``<storages-upload>`` around a file input; what was uploaded stays when the form comes back with errors."""

    template_name = "storages_uploads/widgets/upload.html"
    form_field: DirectUploadFormField | None = None

    @property
    def media(self) -> Media:
        css: Any = {"all": ["storages_uploads/uploads.css"]}
        modules: Any = [Module("storages_uploads/widget.js")]
        return Media(css=css, js=modules)

    def take_terms(self, form_field: DirectUploadFormField) -> None:
        """Be the widget of ``form_field``."""
        self.form_field = form_field
        self.allow_multiple_selected = form_field.multiple
        if form_field.multiple:
            self.attrs["multiple"] = True
        self.kept: list[str] = []

    def is_initial(self, value: Any) -> bool:
        """Whether there is a file already, with a URL or without."""
        return bool(value and getattr(value, "name", None) and hasattr(value, "storage"))

    def format_value(self, value: Any) -> Any:
        return {"url": _url_of(value), "text": str(value)} if self.is_initial(value) else None

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        """Return what was posted, False to clear, None for nothing, or the mark that there is both."""
        values = [*_all(files, name), *(text.removeprefix(PREFIX) for text in _texts(data, name))]
        self.kept = [text.removeprefix(PREFIX) for text in _texts(data, name) if text.startswith(PREFIX)]
        clear = self.clear_checkbox_name(name)
        self.checked = clear in data
        if not self.is_required and CheckboxInput().value_from_datadict(data, files, clear):
            return FILE_INPUT_CONTRADICTION if values else False
        return Posted(values) if values else None

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return super().value_omitted_from_data(data, files, name) and name not in data

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        if self.form_field is not None:
            types = self.form_field.upload_field.content_types
            if types:
                context["widget"]["attrs"].setdefault("accept", ",".join(types))
            context["widget"]["upload"] = self._element(context["widget"]["attrs"])
        return context

    def _element(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return the attributes of the element; those that are False or None are left out by the template."""
        assert self.form_field is not None  # noqa: S101
        field, several = self.form_field.upload_field, self.form_field.multiple
        kept = self._kept_uploads()
        return {
            "endpoint": endpoint(),
            "slot-token": self._slot(),
            "field": field.label,
            "max-size": field.max_size,
            "min-size": field.min_size,
            "types": ",".join(field.content_types) if field.content_types else None,
            "checksum": field.checksum,
            "max-files": self.form_field.max_files,
            "multiple": several,
            "required": attrs.get("required", False),
            "disabled": attrs.get("disabled", False),
            "value": json.dumps(kept) if kept else None,
            "messages": json.dumps({key: str(text) for key, text in MESSAGES.items()}),
        }

    def _slot(self) -> str | None:
        """Return the token that this form may upload with; None for those who may not, whose files are posted."""
        request = current_request()
        if request is None or self.form_field is None or endpoint() is None:
            return None
        try:
            asked = {"field": self.form_field.upload_field.label}
            return protocol.slot(request, asked)["slot"]
        except UploadError:
            return None

    def _kept_uploads(self) -> list[dict[str, Any]]:
        """Return what was uploaded for this form before it came back with an error, if it still may be taken."""
        assert self.form_field is not None  # noqa: S101
        field, found = self.form_field.upload_field, []
        for token in getattr(self, "kept", [])[: self.form_field.max_files]:
            try:
                upload = claims.look(token, field, current_request())
            except UploadError:
                continue
            found.append({"token": token, "name": upload.filename, "size": upload.size})
        return found


class AdminDirectUploadInput(DirectUploadInput):
    """The same as the admin's own file input looks."""

    template_name = "storages_uploads/widgets/admin_upload.html"


def dressed(widget: Any) -> Any:
    """Return our widget in the place of Django's own two, which any FileField gets; another stays what it is."""
    names = {
        "django.forms.widgets.ClearableFileInput": DirectUploadInput,
        "django.contrib.admin.widgets.AdminFileWidget": AdminDirectUploadInput,
    }
    cls = widget if isinstance(widget, type) else type(widget)
    ours = names.get(f"{cls.__module__}.{cls.__qualname__}")
    if ours is None:
        return widget
    return ours if isinstance(widget, type) else ours(widget.attrs)


def endpoint() -> str | None:
    """Return where the protocol is, or None if its URLs are not in the project's."""
    try:
        return reverse("storages_uploads:begin").removesuffix("begin/")
    except NoReverseMatch:
        return None


def _all(files: Any, name: str) -> list[Any]:
    found = files.getlist(name) if hasattr(files, "getlist") else [files.get(name)]
    return [file for file in found if file]


def _texts(data: Any, name: str) -> list[str]:
    found = data.getlist(name) if hasattr(data, "getlist") else [data.get(name)]
    flat = [text for one in found for text in (one if isinstance(one, (list, tuple)) else [one])]
    return [text for text in flat if isinstance(text, str) and text]


def _url_of(file: Any) -> str | None:
    try:
        return file.url
    except (NotImplementedError, ValueError):  # a storage without URLs
        return None


def __getattr__(name: str) -> Any:
    if name == "S3FileUploadWidget":  # under this name, as django-buckets has it
        from storages.uploads.legacy_widgets import S3FileUploadWidget  # which needs this module

        return S3FileUploadWidget
    raise AttributeError(name)
