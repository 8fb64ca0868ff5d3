"""The model field of django-buckets: a CharField whose value is the URL of a file, with the file behind it."""

from __future__ import annotations

import copy
import datetime
import functools
import operator
import posixpath
import shutil
import tempfile
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from django.core.exceptions import SuspiciousFileOperation, ValidationError
from django.core.files.base import File
from django.core.files.storage import Storage, default_storage
from django.core.files.utils import validate_file_name
from django.db import models, transaction
from django.db.models.query_utils import DeferredAttribute
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from storages import sniffing
from storages.contract import Enforced
from storages.uploads import addresses, claims, registry, wording
from storages.uploads.errors import UploadError

if TYPE_CHECKING:
    from storages.uploads.models import Upload


class S3File:
    """The file that a URL means, or none; false when there is none.

    ``committed`` is false as long as ``file`` is not in the storage. ``original_url`` is that of before an assignment.
    """

    def __init__(self, url: str | None, field: S3FileField, original_url: str | None = None):
        self.url = url or None
        self.field = field
        self.original_url = original_url
        self.committed = True
        self.posted = False  # by somebody: not to be saved before it was looked at
        self._file: Any = None
        self.claim: claims.Claim | None = None  # made when it is saved

    def __bool__(self) -> bool:
        return bool(self.url) or self._file is not None

    def __str__(self) -> str:
        return self.url or ""

    def __repr__(self) -> str:
        return f"<S3File: {'posted' if self.posted else str(self) or None}>"  # tokens are for no log

    def __eq__(self, other: object) -> bool:
        if isinstance(other, S3File):
            return self.url == other.url and self._file is other._file
        if not isinstance(other, (str, type(None))):
            return NotImplemented
        return self._file is None and str(self) == (other or "")

    def __hash__(self) -> int:
        return hash(str(self))

    @property
    def name(self) -> str | None:
        """The name of the object in the field's storage; None where the URL is of none, or was not looked at."""
        return self.field.name_of(self.url) if self.url and not self.posted else None

    @property
    def file(self) -> Any:
        """The file: that which was assigned, or a copy of the stored one, opened."""
        if self._file is None:
            if not self.url:
                raise ValueError("There is no file")
            self._file = self._download()
        return self._file

    @file.setter
    def file(self, file: Any) -> None:
        self._file = file
        self.committed = False
        self.posted = False

    @file.deleter
    def file(self) -> None:
        self.close()
        self._file = None
        self.committed = True

    def open(self, mode: str = "rb") -> File:
        """Return the file, at its start; a stored one is copied into a temporary file that nobody else can read.

        Raises FileNotFoundError, ValueError where there is none, SuspiciousFileOperation for a URL of elsewhere.
        """
        if mode not in ("r", "rb"):
            raise ValueError(f"{mode!r}: a file is replaced by assigning another one")
        if self.committed and self._file is not None and self._file.closed:
            self._file = None
        file = self.file
        file.seek(0)
        return file

    def close(self) -> None:
        """Close what is open; a copy is gone then."""
        if self._file is not None:
            self._file.close()

    def save(self) -> None:
        """Store the file that was assigned; ``url`` is that of the stored one then."""
        if self._file is None or self.committed:
            return
        self._store(self.field.generate_filename(None, _file_name(self._file)))

    def delete(self) -> None:
        """Delete the stored file, if it is one of the field's; then there is none."""
        name = self.name
        if name is not None and self.field.owns(name):
            self.field.storage.delete(name)
        self.close()
        self.url, self._file, self.committed = None, None, True

    def _store(self, name: str) -> None:
        storage = self.field.storage
        self._file.seek(0)
        content = self._file if isinstance(self._file, File) else File(self._file, name)
        saved = storage.save(name, content, max_length=None)
        self.url, self.committed = addresses.address_of(storage, saved), True
        self._file = None

    def _download(self) -> File:
        name = self.name
        if name is None:
            raise SuspiciousFileOperation(f"{self.field.label} reads no file of elsewhere: {self!r}")
        private = tempfile.TemporaryFile()  # noqa: SIM115  # without a name in any directory; closed by close()
        try:
            with self.field.storage.open(name, "rb") as stored:
                shutil.copyfileobj(stored, private)
        except BaseException:
            private.close()
            raise
        private.seek(0)
        return File(private, posixpath.basename(name))

    # The claim of what was uploaded

    def accept(self, upload: Upload) -> None:
        """Be the file of ``upload``, which is claimed when the row is saved."""
        self.claim = claims.Claim(upload)
        self.url, self.posted = addresses.address_of(self.field.storage, upload.name), False

    def copied(self) -> S3File:
        """Return a copy for another row, which has to claim for itself what this one has not for good."""
        file = copy.copy(self)
        file.claim = self.claim and self.claim.for_another_row()
        return file


class S3FileDescriptor(DeferredAttribute):
    """Give the file of an instance, and make one of what is assigned: a URL, a file, None."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        value = super().__get__(instance, owner)
        if isinstance(value, (str, type(None))):
            value = instance.__dict__[self.field.attname] = S3File(value, self.field, value)
        return value

    def __set__(self, instance: Any, value: Any) -> None:
        before = instance.__dict__.get(self.field.attname)
        if isinstance(value, (str, type(None))) and not isinstance(before, S3File) and before is None:
            instance.__dict__[self.field.attname] = S3File(value, self.field, value)
            return
        original = before.original_url if isinstance(before, S3File) else before
        if isinstance(value, S3File):
            file = value if value is before else value.copied()  # which may be another row's too
            file.original_url = original
        elif isinstance(value, (str, type(None))):
            file = S3File(value, self.field, original)
        elif hasattr(value, "read"):
            file = S3File(before.url if isinstance(before, S3File) else None, self.field, original)
            file.file = value
        else:  # an expression, for an UPDATE
            instance.__dict__[self.field.attname] = value
            return
        instance.__dict__[self.field.attname] = file


class S3FileField(models.CharField):
    """The URL of a file that was uploaded by a signed form; a CharField, with the same arguments.

    ``upload_to`` is a directory, which may have formats of strftime(), or a function of instance and file name.
    ``accepted_types`` are content types, patterns such as ``image/*`` among them; all if left out.

    Code may assign any URL. What a form or an API client sends has to be one that was signed for that user, or a token.
    """

    descriptor_class = S3FileDescriptor
    description = _("URL of a file")
    signs_forms = True

    # What the protocol asks of a field.
    uploads_directly = True
    min_size = 1
    permission = None
    enforce: frozenset[str] = frozenset()
    checksum = False
    scan = None
    must_scan = False

    def __init__(
        self,
        *args: Any,
        upload_to: str | Callable[..., str] = "",
        storage: Storage | Callable[[], Storage] | None = None,
        accepted_types: Iterable[str] | str | None = None,
        **options: Any,
    ):
        self.upload_to = upload_to
        self._storage = storage
        types = [accepted_types] if isinstance(accepted_types, str) else accepted_types
        self.accepted_types = list(types) if types else None
        options.setdefault("max_length", 200)
        super().__init__(*args, **options)

    @property
    def storage(self) -> Any:
        """The storage of the files."""
        return self._storage() if callable(self._storage) else self._storage or default_storage

    @property
    def label(self) -> str:
        """The field's name in the protocol: "app_label.Model.field"."""
        return registry.label_of(self)

    @property
    def content_types(self) -> tuple[str, ...] | None:
        """The accepted types, None for all."""
        return tuple(self.accepted_types) if self.accepted_types else None

    @property
    def max_size(self) -> int | None:
        """Bytes that a file may have, None for any number."""
        from django.conf import settings

        said = getattr(settings, "AWS", None) or {}
        return getattr(self.storage, "max_file_size", None) or said.get("MAX_FILE_SIZE")

    def keeps(self, enforced: Enforced) -> bool:
        """Whether a kind of upload will do."""
        return True

    def deconstruct(self) -> Any:
        """Return what a migration writes down, as of a CharField, with our three arguments."""
        name, _path, args, options = super().deconstruct()
        options["upload_to"] = self.upload_to
        if self._storage is not None:
            options["storage"] = self._storage
        if self.accepted_types is not None:
            options["accepted_types"] = self.accepted_types
        return name, "storages.uploads.fields.S3FileField", args, options

    def contribute_to_class(self, cls: Any, name: str, **options: Any) -> None:  # type: ignore[override]
        super().contribute_to_class(cls, name, **options)
        if not cls._meta.abstract:
            # After the UPDATE, which may fail; before, the old file would be gone for nothing. Proxies and children are
            # other senders.
            models.signals.post_save.connect(self._after_save)
            claims.guard(cls)

    # Names

    def upload_prefix(self) -> str:
        """Return the directory of new files; a function is called with an empty instance."""
        return posixpath.dirname(self.generate_filename(None, "file"))

    def generate_filename(self, instance: models.Model | None, filename: str) -> str:
        """Return the name of a new file, as FileField has it. Raises SuspiciousFileOperation."""
        if callable(self.upload_to):
            name = str(self.upload_to(instance or self.model(), filename))
        else:
            # What strftime() needs is the server's own time, as in Django's field.
            directory = datetime.datetime.now().strftime(str(self.upload_to))  # noqa: DTZ005
            name = posixpath.join(directory.strip("/"), filename)
        valid = validate_file_name(name.replace("\\", "/"), allow_relative_path=True)
        return str(self.storage.generate_filename(valid))

    def name_of(self, url: str | None) -> str | None:
        """Return the name of the object that ``url`` means, None where it is not in the field's directory."""
        name = addresses.name_in(self.storage, url) if url else None
        return name if name is not None and self._has_directory(posixpath.dirname(name)) else None

    def _has_directory(self, directory: str) -> bool:
        if callable(self.upload_to):
            return True
        fixed, has_format, _rest = str(self.upload_to).strip("/").partition("%")
        if has_format:
            return f"{directory}/".startswith(fixed.rpartition("/")[0])
        if directory == fixed:
            return True
        # A directory of each file's own, with UPLOADS_S3_KEEP_NAMES.
        parent, _, own = directory.rpartition("/")
        return parent == fixed and _is_own(own)

    def owns(self, name: str) -> bool:
        """Whether the object ``name`` is this field's to delete: no other field's, and no upload that nobody took."""
        from storages.uploads.models import State, Upload

        found = list(Upload._base_manager.filter(models.Q(name=name) | models.Q(staging=name)))
        if not found:  # stored by this server, or before there were rows
            return not callable(self.upload_to)
        return all(one.field == self.label and one.state == State.CLAIMED for one in found)

    # What is posted

    def save_form_data(self, instance: models.Model, data: Any) -> None:
        """Take what a form says; nothing of it is saved before clean() has looked at it."""
        current: S3File = getattr(instance, self.attname)
        if isinstance(data, str) and data and data == str(current) and not current.posted:
            return
        if isinstance(data, str) and data:
            file = S3File(data, self)
            file.posted = True
            setattr(instance, self.attname, file)
            return
        setattr(instance, self.attname, data or None)

    def clean(self, value: Any, model_instance: models.Model | None) -> Any:
        """Look at what was posted; its URL is that under which it stays then. Raises ValidationError."""
        if isinstance(value, S3File):
            if value.posted:
                self.look(value)
            if not value.committed:
                self._check_file(value)
                return value
            super().clean(self.get_prep_value(value), model_instance)
            return value
        return super().clean(value, model_instance)

    def look(self, file: S3File, request: HttpRequest | None = None) -> None:
        """Look at a posted URL or token. Raises ValidationError, and nothing is accepted without a request."""
        from storages.uploads.s3_claims import accepted

        try:
            file.accept(accepted(self, str(file), request))
        except UploadError as error:
            raise ValidationError(wording.of(error), code=error.code) from error

    def measure(self, upload: Upload) -> None:
        """Note the size of what has arrived, which the client did not announce. Raises UploadError."""
        from storages.uploads.s3_claims import measure

        measure(upload, self)

    def _check_file(self, file: S3File) -> None:
        content = file.file
        size = getattr(content, "size", None)
        if self.max_size is not None and size is not None and size > self.max_size:
            raise ValidationError(_("The file is too large."), code="too_large")
        if self.content_types:
            name = _file_name(content)
            claim = getattr(content, "content_type", None) or sniffing.type_of(name)[0] or sniffing.OCTETS
            position = content.tell()
            content.seek(0)
            head = content.read(sniffing.HEAD)
            content.seek(position)
            if not sniffing.fits(name, claim, head, self.content_types):
                raise ValidationError(_("File type not allowed."), code="type_not_allowed")

    # The database

    def get_prep_value(self, value: Any) -> Any:
        if isinstance(value, S3File):
            value = value.url or (None if self.null else "")
        return super().get_prep_value(value)

    def to_python(self, value: Any) -> Any:
        return value if isinstance(value, S3File) else super().to_python(value)

    def value_to_string(self, obj: models.Model) -> str:
        return str(self.value_from_object(obj))

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        """Store the file, or claim the upload. Raises UploadError for what was posted and not looked at."""
        file = getattr(model_instance, self.attname)
        if not isinstance(file, S3File):
            return file
        if file.posted:
            raise UploadError("upload_not_found", "This file was not looked at; validate the object before saving it.")
        if not file.committed:
            file._store(self.generate_filename(model_instance, _file_name(file.file)))
        if file.claim is not None:
            file.claim.make()
        is_another = not add and file.url != file.original_url
        model_instance.__dict__[self._replaced] = self._url_in_database(model_instance) if is_another else ""
        return file

    def _url_in_database(self, instance: models.Model) -> str:
        rows = type(instance)._base_manager.using(instance._state.db).filter(pk=instance.pk)
        return str(rows.values_list(self.attname, flat=True).first() or "")

    @property
    def _replaced(self) -> str:
        return f"_{self.attname}_replaced"

    def _after_save(self, instance: models.Model, using: str, **_: Any) -> None:
        if not isinstance(instance, self.model) or self._replaced not in instance.__dict__:
            return
        old, file = instance.__dict__.pop(self._replaced), getattr(instance, self.attname)
        new = file.url

        def settle() -> None:  # not before: what came to nothing, a next save begins with the old file again
            file.original_url = new
            if old and old != new:
                self._delete_replaced(old)

        transaction.on_commit(settle, using=using)

    def _delete_replaced(self, url: str) -> None:
        """Delete a file that a row of this field had, unless another row of any field like this one has it."""
        from storages.uploads.models import Upload
        from storages.uploads.s3_signing import signing_fields

        name = self.name_of(url)
        if name is None or not self.owns(name):
            return
        for field in signing_fields():
            is_it = (models.Q((f"{field.attname}__endswith", ending)) for ending in _endings(name))
            if field.model._base_manager.filter(functools.reduce(operator.or_, is_it)).exists():
                return
        claims.delete(self.storage, name, Upload._base_manager.filter(field=self.label, name=name))

    def formfield(self, **options: Any) -> Any:
        """Return a CharField with the widget; ``max_length`` is of what is stored, not of what is posted."""
        from storages.uploads.legacy_widgets import S3FileUploadWidget

        own = S3FileUploadWidget(self._shown_prefix(), self.accepted_types, field=self.label)
        if _is_of_admin(options.get("widget")):  # as for any CharField
            del options["widget"]
        return super().formfield(**{"widget": own, **options, "max_length": None})

    def _shown_prefix(self) -> str:
        return "" if callable(self.upload_to) else self.upload_prefix()


def _is_own(directory: str) -> bool:
    """Whether a directory is that of one file, with UPLOADS_S3_KEEP_NAMES."""
    return len(directory) == 24 and directory.isalnum()


def _endings(name: str) -> set[str]:
    """Return how URLs of an object may end, whatever stands before, as they are quoted or not."""
    directory, last = posixpath.split(name)
    own = posixpath.basename(directory)
    tail = f"/{own}/{last}" if _is_own(own) else f"/{last}"
    return {tail, quote(tail, safe="/~"), quote(tail, safe="/!*'()~")}


def _is_of_admin(widget: Any) -> bool:
    cls = widget if isinstance(widget, type) else type(widget)
    return f"{cls.__module__}.{cls.__qualname__}" == "django.contrib.admin.widgets.AdminTextInputWidget"


def key_from_url(url: str, upload_to: str) -> str:
    """Return the last part of ``url`` below the directory ``upload_to``."""
    return posixpath.join(upload_to, posixpath.basename(url.partition("?")[0]))


def _file_name(file: Any) -> str:
    name = posixpath.basename(str(getattr(file, "name", "") or "file").replace("\\", "/"))
    return name or "file"
