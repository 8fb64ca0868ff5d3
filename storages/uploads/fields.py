"""A model field whose files are uploaded past the application."""

from __future__ import annotations

import datetime
import posixpath
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core import checks
from django.core.exceptions import ValidationError
from django.core.files.base import File
from django.db import models, router, transaction
from django.db.models import signals
from django.db.models.fields.files import FieldFile
from django.template.defaultfilters import filesizeformat
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from storages import sniffing
from storages.contract import Enforced
from storages.lazy import unwrapped
from storages.uploads import claims, registry, targets

# Under these names, as django-buckets has them.
from storages.uploads.legacy import S3File as S3File  # noqa: PLC0414
from storages.uploads.legacy import S3FileField as S3FileField  # noqa: PLC0414

if TYPE_CHECKING:
    from storages.uploads.models import Upload

PROMISES: dict[str, Callable[[Enforced], bool]] = {
    "size": lambda enforced: enforced.size in ("exact", "range"),
    "type": lambda enforced: enforced.type == "signed",
    "checksum": lambda enforced: enforced.checksum in ("signed", "parts"),
    "overwrite": lambda enforced: enforced.overwrite == "denied",
}

# What begin() puts behind the prefix: a slash, 24 random bytes as text, and an extension.
NAME_LENGTH = 1 + 32 + 11


class UploadedDirectly(File):
    """A file that is in the storage already, for a form to hand to its model; read only if somebody reads it."""

    def __init__(self, upload: Upload, storage: Any):
        self.upload = upload
        self.storage = storage
        self._file: Any = None
        super().__init__(None, upload.filename)

    @property
    def file(self) -> Any:
        if self._file is None:
            self._file = self.storage.open(self.upload.name, "rb")
        return self._file

    @file.setter
    def file(self, file: Any) -> None:
        self._file = file

    @property
    def size(self) -> int:
        return self.upload.size

    @property
    def content_type(self) -> str:
        return self.upload.content_type

    @property
    def closed(self) -> bool:
        return self._file is None or self._file.closed

    def open(self, mode: str | None = None) -> UploadedDirectly:  # type: ignore[override]
        """Read from the start."""
        if self.closed:
            self._file = None
        self.seek(0)
        return self

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class DirectFieldFile(FieldFile):
    """The file of a model instance; saving one that was uploaded directly claims it and copies nothing."""

    claim: claims.Claim | None = None

    def save(self, name: str | None, content: Any, save: bool = True) -> None:
        """Store ``content`` under a name made of ``name``; of a direct upload, take it under its own.

        Raises UploadError if another row has taken it, ValueError if it was uploaded for another field.
        """
        if not isinstance(content, UploadedDirectly):
            super().save(name, content, save)  # type: ignore[arg-type]
            return
        upload, label = content.upload, self.field.label
        if upload.field != label:
            raise ValueError(f"This was uploaded for {upload.field}, not for {label}; give the form field that name")
        content.close()
        self.claim = claims.Claim(upload)
        self.claim.make()
        self.name, self.file, self._committed = upload.name, None, True
        setattr(self.instance, self.field.attname, self)
        if save:
            self.instance.save()

    def confirm_claim(self) -> None:
        """Take the upload again if the save that took it came to nothing. Raises UploadError."""
        if self.claim is not None:
            self.claim.make()


class DirectUploadField(models.FileField):
    """A file that a browser sends straight to the storage; the form gets a token that proves it.

    - ``max_size``, ``min_size``: bytes.
    - ``content_types``: allowed types, patterns such as ``image/*`` among them; first bytes and name have to agree.
    - ``permission``: who may begin an upload, a function of the request and the field, or a dotted path to one; by
      default that of ``UPLOADS_PERMISSION``.
    - ``enforce``: what the service itself has to refuse: size, type, checksum, overwrite.
    - ``checksum``: whether SHA-256 is obligatory.
    - ``scan``: what looks at every file, a function of the upload and its bytes, or a dotted path to one; by default
      ``UPLOADS_SCANNER``, with True the same and never nothing, with False nothing.
    - ``delete_replaced``: whether a file that was uploaded for this field is deleted when its row has another.

    A claim is part of the transaction that saves the row, so that a rollback gives the upload back; outside of one, a
    save that fails does. None of these options makes a schema, and so none is in migrations.
    """

    attr_class = DirectFieldFile
    uploads_directly = True  # by which the protocol knows it
    description = _("File that is uploaded directly")
    default_error_messages = {
        "file_too_large": _("The file may not be larger than {max_size}."),
        "file_too_small": _("The file may not be smaller than {min_size}."),
        "invalid_file_type": _("File type not supported."),
    }

    def __init__(
        self,
        *args: Any,
        max_size: int | None = None,
        min_size: int = 1,
        content_types: Iterable[str] | str | None = None,
        permission: Callable[..., Any] | str | None = None,
        enforce: Iterable[str] | str = (),
        checksum: bool = False,
        scan: Callable[..., Any] | str | bool | None = None,
        delete_replaced: bool = False,
        **options: Any,
    ):
        self.max_size, self.min_size = max_size, min_size
        types = [content_types] if isinstance(content_types, str) else content_types
        self.content_types = tuple(types) if types else None
        self.permission = permission
        self.enforce = frozenset([enforce] if isinstance(enforce, str) else enforce)
        if unknown := self.enforce - PROMISES.keys():
            raise ValueError(f"enforce has {', '.join(sorted(unknown))}; it may have {', '.join(PROMISES)}")
        self.checksum = checksum
        self.scan, self.must_scan = (None if scan is True else scan), scan is True
        self.delete_replaced = delete_replaced
        super().__init__(*args, **options)

    @property
    def label(self) -> str:
        """The field's name in the protocol: "app_label.Model.field"."""
        return registry.label_of(self)

    def keeps(self, enforced: Enforced) -> bool:
        """Whether a kind of upload keeps what this field wants enforced."""
        return all(PROMISES[promise](enforced) for promise in self.enforce)

    def upload_prefix(self) -> str:
        """Return the directory of new files, without a slash at its end. A function is called with an empty instance.

        Raises what that function raises.
        """
        if callable(self.upload_to):
            return posixpath.dirname(str(self.upload_to(self.model(), "file")).replace("\\", "/")).strip("/")
        # What strftime() needs is the server's own time, as in Django's field.
        return datetime.datetime.now().strftime(str(self.upload_to)).strip("/")  # noqa: DTZ005

    def problems_of(self, file: Any) -> list[ValidationError]:
        """Return everything that is wrong with the size and type of a file that is not saved yet."""
        found = []
        sizes = {"max_size": filesizeformat(self.max_size or 0), "min_size": filesizeformat(self.min_size)}
        if self.max_size is not None and file.size > self.max_size:
            found.append("file_too_large")
        if file.size < self.min_size:
            found.append("file_too_small")
        if self.content_types and not self._is_of_type(file, self.content_types):
            found.append("invalid_file_type")
        return [ValidationError(str(self.error_messages[code]).format(**sizes), code=code) for code in found]

    def _is_of_type(self, file: Any, allowed: tuple[str, ...]) -> bool:
        if isinstance(file, UploadedDirectly):  # its bytes were looked at when it was finished
            return sniffing.is_allowed(file.content_type, allowed)
        name = str(file.name)
        claim = getattr(file, "content_type", None) or sniffing.type_of(name)[0] or sniffing.OCTETS
        return sniffing.fits(name, claim, sniffing.head_of(file), allowed)

    @cached_property
    def validators(self) -> list[Any]:
        return [*super().validators, self._validate]  # which ModelSerializer looks for too

    def _validate(self, value: Any) -> None:
        if not value or getattr(value, "_committed", False):
            return
        file = value.file if isinstance(value, FieldFile) else value
        if problems := self.problems_of(file):
            raise ValidationError(problems)
        if not isinstance(file, UploadedDirectly):
            from storages.uploads.forms import scan  # which needs this module

            scan(self, file)

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        """Store the file, or claim the upload. Raises UploadError if another row has it."""
        if self.delete_replaced:
            database = model_instance._state.db or router.db_for_write(self.model, instance=model_instance)
            before = "" if add else self._name_in_database(model_instance, database)
            setattr(model_instance, self._replaced, (database, before))
        if isinstance(file := getattr(model_instance, self.attname), DirectFieldFile):
            file.confirm_claim()
        return super().pre_save(model_instance, add)

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        """Return the name. Raises ValueError for an upload that was not claimed, as update() and bulk_update() have it.

        The row would have a name that the client chose, and the sweep would delete the file.
        """
        file = value if isinstance(value, UploadedDirectly) else getattr(value, "_file", None)
        if isinstance(file, UploadedDirectly) and not getattr(value, "_committed", False):
            raise ValueError(f"{self.label}: save() claims a direct upload; update() and bulk_update() do not")
        return super().get_db_prep_save(value, connection)

    def contribute_to_class(self, cls: Any, name: str, **options: Any) -> None:  # type: ignore[override]
        super().contribute_to_class(cls, name, **options)
        if not cls._meta.abstract:
            claims.guard(cls)
        if self.delete_replaced and not cls._meta.abstract:
            signals.post_save.connect(self._after_save)  # of proxies and children too, which are other senders

    @property
    def _replaced(self) -> str:
        return f"_{self.attname}_replaced"  # of an instance: its database, and its file there before it was saved

    def _name_in_database(self, instance: models.Model, database: str) -> str:
        rows = type(instance)._base_manager.using(database).filter(pk=instance.pk)
        return rows.values_list(self.attname, flat=True).first() or ""

    def _after_save(self, instance: models.Model, using: str, **options: Any) -> None:
        if not isinstance(instance, self.model):
            return
        database, name = instance.__dict__.pop(self._replaced, (using, ""))
        if name and name != getattr(instance, self.attname).name and database == using:  # else it still has it there
            delete_owned(self, name, using)

    def formfield(self, **options: Any) -> Any:
        """Return a field for forms, in the admin's clothes there."""
        from storages.uploads.forms import DirectUploadFormField  # which needs this module

        return super().formfield(**{"form_class": DirectUploadFormField, "field": self, **options})

    def check(self, **options: Any) -> list[checks.CheckMessage]:
        return [*super().check(**options), *self._check_app(), *self._check_limits(), *self._check_length()]

    def _check_app(self) -> Iterable[checks.CheckMessage]:
        if not apps.is_installed("storages.uploads"):
            text = "storages.uploads is not in INSTALLED_APPS: there is nowhere to keep what was uploaded"
            yield checks.Error(text, "Add it, and migrate.", self, "storages_uploads.E014")

    def _check_limits(self) -> Iterable[checks.CheckMessage]:
        if self.max_size is not None and not 0 <= self.min_size <= self.max_size:
            text = f"min_size is {self.min_size} and max_size {self.max_size}: no file is of such a size"
            yield checks.Error(text, "Both are in bytes.", self, "storages_uploads.E011")

    def _check_length(self) -> Iterable[checks.CheckMessage]:
        try:
            prefix = self.upload_prefix()
        except Exception as error:  # noqa: BLE001  # a function of the project
            yield checks.Error(
                f"upload_to cannot make a directory before there is an instance: {error!r}",
                "A direct upload begins before its form is sent; upload_to gets an empty instance of the model.",
                self,
                "storages_uploads.E012",
            )
            return
        if self.max_length is not None and len(prefix) + NAME_LENGTH > self.max_length:
            hint = f"Names of direct uploads have {len(prefix) + NAME_LENGTH} characters here."
            yield checks.Error(f"max_length is {self.max_length}, too short", hint, self, "storages_uploads.E013")


def delete_owned(field: DirectUploadField, name: str, using: str | None = None) -> None:
    """Delete ``name`` once the transaction is committed, if it was uploaded for ``field`` and no row has it.

    The upload's row stays until its last signature is of no use, so that the sweep finds what is sent late. To be
    called after the row that had it is saved: outside a transaction it looks at once.
    """
    from storages.uploads.models import State, Upload

    def delete() -> None:
        rows = Upload._default_manager.filter(field=field.label, name=name, state=State.CLAIMED)
        if rows.exists() and not _is_kept(field, name, using):
            claims.delete(field.storage, name, rows)

    transaction.on_commit(delete, using=using)


def _is_kept(field: DirectUploadField, name: str, using: str | None) -> bool:
    """Whether a row has the file, of this field or of another one that is uploaded to in the same storage."""
    if field.model._base_manager.using(using).filter(**{field.attname: name}).exists():
        return True
    storage = unwrapped(field.storage)
    others = {one for one in targets.fields() if isinstance(one, DirectUploadField) and one != field}
    beside = (one for one in others if unwrapped(one.storage) == storage)
    return any(one.model._base_manager.filter(**{one.attname: name}).exists() for one in beside)
