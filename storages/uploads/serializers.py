"""A field for Django REST framework (the extra ``drf``): a token in JSON, or a file in a multipart form."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.exceptions import ValidationError as DjangoValidationError
from rest_framework import serializers  # type: ignore[import-untyped]

from storages.uploads.fields import DirectUploadField as ModelField
from storages.uploads.forms import cleaned_file, named

# Under this name, as django-buckets has it.
from storages.uploads.legacy_serializers import S3Field as S3Field  # noqa: PLC0414


class DirectUploadField(serializers.FileField):
    """Takes the token that ``finish`` answered, or a file; gives the URL, or the name where there is none.

    ``field`` is the model field or its name, "app_label.Model.field"; in a ModelSerializer it is that of the same name.
    The serializer needs ``context={"request": request}``, which generic views give: without it no token is taken.
    Null clears a field that may be blank.
    """

    def __init__(self, *, field: ModelField | str | None = None, **options: Any):
        self._field = field
        self._null_is_chosen = "allow_null" in options
        super().__init__(**options)

    def bind(self, field_name: str, parent: Any) -> None:
        super().bind(field_name, parent)
        if not self._null_is_chosen and not self.read_only and self._field_of_parent() is not None:
            self.allow_null = self.upload_field.blank

    @property
    def upload_field(self) -> Any:
        """The model field. Raises ImproperlyConfigured if it is not known."""
        if isinstance(self._field, str):
            self._field = named(self._field)
        found = self._field or self._field_of_parent()
        if found is None:
            raise ImproperlyConfigured(f"{self.field_name!r}: say which, field='app_label.Model.field'")
        return found

    def to_internal_value(self, data: Any) -> Any:
        """Return the file. Raises ValidationError with everything that is wrong with it."""
        file = data if isinstance(data, str) else super().to_internal_value(data)
        try:
            return cleaned_file(self.upload_field, file, self.context.get("request"))
        except DjangoValidationError as error:
            details = [serializers.ErrorDetail(one.messages[0], one.code) for one in error.error_list]
            raise serializers.ValidationError(details) from error

    def to_representation(self, value: Any) -> Any:
        try:
            return super().to_representation(value)
        except (NotImplementedError, ValueError):  # a storage without URLs
            return value.name or None

    def _field_of_parent(self) -> Any:
        model = getattr(getattr(self.parent, "Meta", None), "model", None)
        if model is None or not self.source:
            return None
        found = {field.name: field for field in model._meta.fields}.get(self.source)
        return found if isinstance(found, ModelField) else None


class DirectUploadModelSerializer(serializers.ModelSerializer):
    """A ModelSerializer that takes tokens for every DirectUploadField of its model."""

    serializer_field_mapping = {**serializers.ModelSerializer.serializer_field_mapping, ModelField: DirectUploadField}
