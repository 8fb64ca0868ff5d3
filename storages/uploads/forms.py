"""A form field that takes a file which is in the storage already, or one that is posted the ordinary way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from storages.uploads import claims, registry, scanning, wording
from storages.uploads.errors import UploadError
from storages.uploads.fields import DirectUploadField, UploadedDirectly
from storages.uploads.middleware import current_request
from storages.uploads.widgets import PREFIX, DirectUploadInput, Posted, dressed

# Of any other error it is told that the upload is unknown, which tells nothing of others' uploads.
_TOLD = ("already_claimed", "content_rejected", "scanner_unavailable", "upload_expired")
MESSAGES = {
    **{code: wording.MESSAGES[code] for code in _TOLD},
    "unknown_upload": wording.MESSAGES["upload_not_found"],
    "too_many_files": _("Choose at most {max_files} files."),
}


def named(label: str) -> DirectUploadField:
    """Return the field of a model by its name, "app_label.Model.field". Raises ImproperlyConfigured."""
    try:
        return registry.field_called(label)
    except UploadError as error:
        raise ImproperlyConfigured(f"{label!r} names no DirectUploadField: write app_label.Model.field") from error


class DirectUploadFormField(forms.FileField):
    """A file of a DirectUploadField, whose limits hold for both ways of sending it.

    ``field`` is the model field or its name, "app_label.Model.field". With ``multiple`` the cleaned value is a list of
    at most ``max_files`` files, each for an instance of its own.
    """

    widget = DirectUploadInput
    default_error_messages = {**DirectUploadField.default_error_messages, **MESSAGES}

    def __init__(
        self, *, field: DirectUploadField | str, multiple: bool = False, max_files: int | None = None, **options: Any
    ):
        self._field = field
        self.multiple = multiple
        self.max_files = (max_files or 20) if multiple else 1
        options["widget"] = dressed(options.get("widget") or self.widget)
        super().__init__(**options)
        if isinstance(self.widget, DirectUploadInput):
            self.widget.take_terms(self)

    @cached_property
    def upload_field(self) -> DirectUploadField:
        """The model field. Raises ImproperlyConfigured if there is none of that name."""
        return named(self._field) if isinstance(self._field, str) else self._field

    def clean(self, data: Any, initial: Any = None) -> Any:
        """Return a File, the initial value, False to clear it, or None; with ``multiple`` a list.

        Raises ValidationError.
        """
        posted = data.values if isinstance(data, Posted) else data
        if not self.multiple:
            return super().clean(posted[-1] if isinstance(posted, list) else posted, initial)
        if not isinstance(posted, list):
            return super().clean(posted, initial) or []
        return self._clean_several(posted)

    def _clean_several(self, posted: list[Any]) -> list[Any]:
        if len(posted) > self.max_files:
            message = str(self.error_messages["too_many_files"]).format(max_files=self.max_files)
            raise ValidationError(message, code="too_many_files")
        files, problems = [], []
        for one in posted:
            try:
                files.append(super().clean(one))
            except ValidationError as error:
                problems.extend(error.error_list)
        if problems:
            raise ValidationError(problems)
        return files

    def to_python(self, data: Any) -> Any:
        """Return the file, looked at. Raises ValidationError with everything that is wrong with it."""
        if data in self.empty_values:
            return None
        posted = data if isinstance(data, str) else super().to_python(data)
        file = cleaned_file(self.upload_field, posted, current_request(), self.error_messages)
        if isinstance(file, UploadedDirectly) and self.max_length is not None:
            self._check_length(len(file.upload.name), self.max_length)
        return file

    def _check_length(self, length: int, most: int) -> None:
        if length > most:
            params = {"max": most, "length": length}
            raise ValidationError(self.error_messages["max_length"], code="max_length", params=params)


def cleaned_file(
    field: DirectUploadField, posted: Any, request: HttpRequest | None, messages: Mapping[str, Any] = MESSAGES
) -> Any:
    """Return the file of a token, or an ordinary uploaded file, within the limits of ``field``.

    Raises ValidationError with everything that is wrong with it.
    """
    try:
        if isinstance(posted, str):
            upload = claims.look(posted.removeprefix(PREFIX), field, request)
            file: Any = UploadedDirectly(upload, field.storage)
        else:
            file = posted
        if problems := field.problems_of(file):
            raise ValidationError(problems)
    except UploadError as error:
        code = error.code if error.code in MESSAGES else "unknown_upload"
        raise ValidationError(messages[code], code=code) from error
    if not isinstance(posted, str):  # which may be no way around the scanner
        scan(field, file, messages)
    return file


def scan(field: DirectUploadField, file: Any, messages: Mapping[str, Any] = MESSAGES) -> None:
    """Have a file looked at that was posted the ordinary way, once. Raises ValidationError."""
    try:
        scanning.scan_file(field, file)
    except UploadError as error:
        raise ValidationError(messages[error.code], code=error.code) from error
