"""Model fields whose files are private."""

from __future__ import annotations

import datetime
import posixpath
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from django.core.exceptions import ValidationError
from django.core.files.utils import validate_file_name
from django.db import models
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext_lazy as _

from storages import sniffing
from storages.private.storage import get_private_storage, private_storage


class PrivateFileField(models.FileField):
    """A file that is served behind a permission.

    ``upload_subfolder`` is a function of the instance that returns a list of directories below ``upload_to``.
    ``content_types`` are the types to which uploads are restricted, patterns such as ``image/*`` among them; the first
    bytes and the name must agree with what the browser claims. ``max_file_size`` is in bytes. None of the three is in
    migrations.
    """

    default_error_messages = {
        "invalid_file_type": _("File type not supported."),
        "file_too_large": _("The file may not be larger than {max_size}."),
    }

    def __init__(
        self,
        *args: Any,
        upload_subfolder: Callable[[Any], Iterable[str]] | None = None,
        content_types: Iterable[str] | str | None = None,
        max_file_size: int | None = None,
        **options: Any,
    ):
        if upload_subfolder is not None and not callable(upload_subfolder):
            raise TypeError("upload_subfolder is a function of the instance that returns a list of directories")
        self.upload_subfolder = upload_subfolder
        self.content_types = [content_types] if isinstance(content_types, str) else list(content_types or ())
        self.max_file_size = max_file_size
        storage = options.pop("storage", None)
        # The storage behind it is not looked at before it is used: models are imported before settings are complete.
        is_default = storage is None or storage is private_storage or storage is get_private_storage
        if not is_default:
            options["storage"] = storage
        super().__init__(*args, **options)
        if is_default:
            self.storage, self._storage_callable = private_storage, get_private_storage

    def generate_filename(self, instance: Any, filename: Any) -> str:
        """Return the name under which an upload is saved. Raises SuspiciousFileOperation for a part such as ``..``."""
        if callable(self.upload_to):
            directory, filename = posixpath.split(str(self.upload_to(instance, filename)).replace("\\", "/"))
        else:
            # What strftime() needs is the server's own time, as in Django's field.
            directory = datetime.datetime.now().strftime(str(self.upload_to))  # noqa: DTZ005
        parts = [self.storage.get_valid_name(str(part)) for part in self._subfolders(instance)]
        base = self.storage.get_valid_name(posixpath.basename(str(filename).replace("\\", "/")))
        name = validate_file_name(posixpath.join(directory, *parts, base), allow_relative_path=True)
        return self.storage.generate_filename(name)

    def clean(self, value: Any, model_instance: models.Model | None) -> Any:
        """Return ``value``; a fresh upload has to be of an allowed type and size. Raises ValidationError."""
        cleaned = super().clean(value, model_instance)
        if cleaned and not getattr(cleaned, "_committed", True):
            self._check_upload(cleaned.file, cleaned.name)
        return cleaned

    def _subfolders(self, instance: Any) -> Iterable[str]:
        if self.upload_subfolder is None:
            return ()
        parts = self.upload_subfolder(instance)
        if isinstance(parts, str):
            warnings.warn(
                f"upload_subfolder of {self} returned text; it returns a list of directories", UserWarning, stacklevel=3
            )
            return (parts,)
        return parts or ()

    def _check_upload(self, file: Any, name: str) -> None:
        if self.content_types:
            claim = getattr(file, "content_type", None) or sniffing.type_of(name)[0] or sniffing.OCTETS
            if not sniffing.fits(name, claim, sniffing.head_of(file), self.content_types):
                raise ValidationError(self.error_messages["invalid_file_type"], code="invalid_file_type")
        if self.max_file_size is not None and file.size > self.max_file_size:
            sizes = {"max_size": filesizeformat(self.max_file_size), "size": filesizeformat(file.size)}
            raise ValidationError(self.error_messages["file_too_large"].format(**sizes), code="file_too_large")


class PrivateImageField(PrivateFileField, models.ImageField):
    """An image that is served behind a permission; without ``content_types``, of any type but SVG."""

    def __init__(self, *args: Any, content_types: Iterable[str] | str | None = None, **options: Any):
        super().__init__(*args, content_types=content_types or ["image/*"], **options)
