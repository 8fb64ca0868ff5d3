"""The serializer field of django-buckets, for Django REST framework (the extra ``drf``)."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.exceptions import ValidationError as DjangoValidationError
from rest_framework import serializers  # type: ignore[import-untyped]

from storages.uploads.errors import UploadError
from storages.uploads.legacy import S3File, S3FileField
from storages.uploads.registry import field_called


class S3Field(serializers.Field):
    """Takes the URL that a signed form has put a file under, or a token; gives the URL.

    ``field`` is the model field or its name, "app_label.Model.field"; a ModelSerializer knows its own.
    The serializer needs ``context={"request": request}``, which generic views give.
    """

    default_error_messages = {"invalid": serializers.CharField.default_error_messages["invalid"]}

    def __init__(self, *, field: S3FileField | str | None = None, **options: Any):
        self._field = field
        super().__init__(**options)

    @property
    def upload_field(self) -> S3FileField:
        """The model field. Raises ImproperlyConfigured if it is not known."""
        found = self._field or self._field_of_parent()
        if isinstance(found, str):
            try:
                found = field_called(found)
            except UploadError as error:
                raise ImproperlyConfigured(f"{found!r} names no S3FileField: write app_label.Model.field") from error
        if not isinstance(found, S3FileField):
            raise ImproperlyConfigured(f"{self.field_name!r}: say which, field='app_label.Model.field'")
        return found

    def to_internal_value(self, data: Any) -> S3File | None:
        """Return the file, looked at. Raises ValidationError."""
        if not isinstance(data, str):
            self.fail("invalid")
        file = S3File(data, self.upload_field)
        current = getattr(self.parent.instance, self.source, None) if hasattr(self.parent, "instance") else None
        if not data or (current and data == str(current)):
            return file
        request = self.context.get("request")
        if request is None:
            raise ImproperlyConfigured(f"{self.field_name!r}: the serializer needs context={{'request': request}}")
        try:
            self.upload_field.look(file, request)
        except DjangoValidationError as error:
            details = [serializers.ErrorDetail(one.messages[0], one.code) for one in error.error_list]
            raise serializers.ValidationError(details) from error
        return file

    def to_representation(self, value: Any) -> str | None:
        """Return the URL."""
        return value.url if isinstance(value, S3File) else value or None

    def _field_of_parent(self) -> Any:
        model = getattr(getattr(self.parent, "Meta", None), "model", None)
        if model is None or not self.source:
            return None
        return {field.name: field for field in model._meta.fields}.get(self.source)
