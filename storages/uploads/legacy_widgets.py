"""The widget of django-buckets: a file is uploaded by a signed form, and its URL is what the form posts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote, urlsplit

from django.forms import TextInput
from django.forms.widgets import Media
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from storages.uploads.widgets import Module

# What the module says; it puts a size in the place of {limit}.
MESSAGES = {
    "type": _("File type not allowed."),
    "large": _("The file is too large; it may have at most {limit}."),
    "denied": _("You may not upload this file."),
    "failed": _("The file could not be uploaded."),
}


class S3FileUploadWidget(TextInput):
    """A file input whose file goes to S3, and a hidden input with its URL, which is posted.

    ``html`` replaces the template: a format string, whose fields upload_to, accepted_types, name, element_id, file_url,
    file_name, link, mime_lookups and settings (attributes of the outermost element) are filled in, escaped.
    """

    template_name = "storages_uploads/widgets/s3_upload.html"

    def __init__(
        self,
        upload_to: str = "",
        accepted_types: Iterable[str] | None = None,
        html: str | None = None,
        *,
        field: str = "",
        attrs: dict[str, Any] | None = None,
    ):
        super().__init__(attrs)
        self.upload_to = upload_to
        self.accepted_types = list(accepted_types or ())
        self.html = html
        self.field = field

    @property
    def media(self) -> Media:
        return Media(css={"all": ["storages_uploads/s3.css"]}, js=[Module("storages_uploads/s3.js")])  # type: ignore[list-item]

    @property
    def is_hidden(self) -> bool:
        return False

    def id_for_label(self, id_: str) -> str:
        """Return the id of the input that a label is for: that which is seen."""
        return f"{id_}_file" if id_ else id_

    def format_value(self, value: Any) -> str:
        return str(value) if value else ""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        widget = context["widget"]
        url = widget["value"] or ""
        given = widget["attrs"]
        widget["s3"] = {
            "upload_to": self.upload_to,
            "accepted_types": ",".join(self.accepted_types),
            "name": name,
            "element_id": given.get("id", ""),
            "file_url": url,
            "file_name": unquote(urlsplit(url).path.rpartition("/")[2]) if url else "",
            "link": url if _is_link(url) else "",
            "mime_lookups": json.dumps(_lookups()),
        }
        widget["settings"] = self._settings()
        widget["remove"] = _("(Remove)")
        widget["picker"] = {key: given[key] for key in ("required", "disabled", "aria-describedby") if key in given}
        if url:
            widget["picker"].pop("required", None)
        return context

    def render(self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None) -> Any:
        """Return the HTML; every value in it is escaped."""
        if self.html is None:
            return super().render(name, value, attrs, renderer)
        said = self.get_context(name, value, attrs)["widget"]
        pairs = [format_html(' {}="{}"', key, text) for key, text in said["settings"].items()]
        settings = format_html("{}" * len(pairs), *pairs)
        return format_html(self.html, settings=settings, **said["s3"])

    def _settings(self) -> dict[str, str]:
        return {
            "data-upload-to": self.upload_to,
            "data-accepted-types": ",".join(self.accepted_types),
            "data-mime-lookups": json.dumps(_lookups()),
            "data-sign-url": _sign_url(),
            "data-field": self.field,
            "data-messages": json.dumps({key: str(text) for key, text in MESSAGES.items()}),
        }


def _lookups() -> dict[str, str]:
    from storages.uploads.s3_signing import lookups  # which needs models

    return lookups()


def _sign_url() -> str:
    try:
        return reverse("s3_signed_url")
    except NoReverseMatch:
        return ""


def _is_link(url: str) -> bool:
    """Whether a browser may be led there: not to javascript: and the like, nor to another host by two slashes."""
    parts = urlsplit(url)
    if parts.scheme:
        return parts.scheme in ("http", "https") and bool(parts.netloc)
    return url.startswith("/") and not url.startswith(("//", "/\\"))
