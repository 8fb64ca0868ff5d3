"""Django's storage API, written once over a handful of hooks.

A backend is one subclass of :class:`BaseStorage` that implements the hooks at its end. Public methods take a name,
hooks take a key; hooks raise whatever their SDK raises, and ``_classify()`` says what it means.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import functools
import io
import itertools
import posixpath
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, TypeVar

from django.conf import settings as django_settings
from django.core.files.base import File
from django.core.files.storage import Storage
from django.core.files.utils import validate_file_name
from django.utils import timezone

from storages.contract import (
    Body,
    DeleteError,
    Enforced,
    Entry,
    ObjectChanged,
    PartUpload,
    Received,
    SignedRequest,
    Stat,
    UploadTerms,
    WriteOptions,
)
from storages.errors import Translated, translated
from storages.files import StorageFile
from storages.mixin import StorageMixin
from storages.names import clean_name, shorten
from storages.readers import MIB, RangeFile, RangeReader, Unzipped
from storages.streams import Spool, chunks_of, file_on_disk, gzipped, read_chunks, reader, taken
from storages.terms import PART_KINDS, SINGLE_KINDS, check_checksum, check_terms
from storages.writers import GzipWriter, PartWriter, SpoolWriter, Writer, send_file

T = TypeVar("T")

# Tries at a free name before save() gives up: each adds seven random characters, so a second one is rare.
_MOST_NAMES = 100


class BaseStorage(StorageMixin, Storage):
    """A Django storage over the hooks of a backend."""

    file_class: type[StorageFile] = StorageFile

    part_size = 8 * MIB  # bytes of one part of a long write; what is shorter is written in one request
    parts_at_once = 4  # parts on their way at a time; 0 sends each in the writing thread
    file_parts_at_once = 10  # the same for a file on disk, whose parts take no memory
    ranges_at_once = 16  # ranges on their way at a time in a sequential read
    read_ahead = 32 * MIB  # bytes that a sequential read may hold
    spool_limit = 8 * MIB  # bytes in memory of what can only be written or read whole
    authority_variable = "REQUESTS_CA_BUNDLE"  # where an SDK over requests finds whom to trust

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return what a migration writes down: the class and its options, without the secret ones."""
        declared = self.declared_settings()
        path, *_ = super().deconstruct()  # type: ignore[misc]
        args, kwargs = self._given_options()
        return path, args, {n: v for n, v in kwargs.items() if n not in declared or not declared[n].hides(v)}

    # Opening

    def open(
        self,
        name: str,
        mode: str = "rb",
        *,
        encoding: str | None = None,
        newline: str | None = None,
        errors: str | None = None,
    ) -> Any:
        """Open ``name`` as Python's open() does: modes r, w, x, a with + and b or t; text is UTF-8 by default.

        Raises FileNotFoundError, for x FileExistsError, PermissionError, ValueError for an unknown mode.
        """
        if encoding is None and newline is None and errors is None:
            return self._open(name, mode)
        return self.file_class(name, mode, self, encoding=encoding, newline=newline, errors=errors)

    def _open(self, name: str, mode: str = "rb") -> Any:
        return self.file_class(name, mode, self)

    def open_range(self, name: str, start: int, end: int | None = None, if_match: str | None = None) -> RangeFile:
        """Return a readable of the bytes of ``name`` from ``start`` to before ``end``, as stored; close it after use.

        It is empty where the object ends before ``start``. ``if_match`` is the etag of an earlier Stat. Raises
        FileNotFoundError, ValueError for bad bounds, ObjectChanged where the etag is another one by now.
        """
        if start < 0 or (end is not None and end < start):
            raise ValueError(f"a range goes from 0 upwards, not from {start} to {end}")
        key = self._file_key(name)
        if not self.capabilities.ranges:
            return RangeFile(self._fetch(name, key, 0, None, if_match), start, end)
        if start == end:  # no service can be asked for nothing, and the object must be there
            return RangeFile(self._fetch(name, key, start, start + 1, if_match), 0, 0)
        return RangeFile(self._fetch(name, key, start, end, if_match))

    # Saving

    def save(self, name: str | None, content: Any, max_length: int | None = None) -> str:
        """Store ``content`` whole under ``name``, or, when that is taken and overwriting is off, under a free name.

        Return the name. Two savers never get one name where the service can create conditionally. The content is read
        from its start, and left open. Raises SuspiciousFileOperation for a bad name, and what the service raises;
        nothing shows then.
        """
        if name is None:
            name = content.name
        if not hasattr(content, "chunks"):
            content = File(content, name)
        validate_file_name(name, allow_relative_path=True)
        with contextlib.ExitStack() as stack:
            if self.capabilities.create_only and not self._role("overwrite") and not _is_seekable(content):
                content = self._rewindable(content, stack)
            for candidate in self._candidates(str(name), content, max_length):
                # Again, for subclasses whose get_available_name() does not (CVE-2024-39330).
                validate_file_name(candidate, allow_relative_path=True)
                try:
                    saved = self._save(candidate, content)
                except FileExistsError:
                    continue
                validate_file_name(saved, allow_relative_path=True)
                return saved
        raise FileExistsError(errno.EEXIST, f"{type(self).__name__} found no free name", name)

    def _candidates(self, name: str, content: Any, max_length: int | None) -> Iterator[str]:
        """Yield names to try. The write itself finds out whether a name is free, where the service can tell."""
        own_choice = type(self).get_available_name is not BaseStorage.get_available_name
        if self.capabilities.content_addressed and not own_choice:  # it will have another one
            yield name
            return
        if own_choice or self._role("overwrite") or not self.capabilities.create_only:
            # Only who asks for a name has it cut by default; a save under too long a one is refused.
            available = self.get_available_name if own_choice else self._available_name
            for _ in range(_MOST_NAMES):
                yield available(name, max_length=max_length)
            return
        # A long upload that would be refused at its end is worth a question first.
        taken_already = self._is_long(content) and self.exists(name)
        if not taken_already and (not max_length or len(name) <= max_length):
            yield name
        root, extension = posixpath.splitext(posixpath.basename(name))
        for _ in range(_MOST_NAMES):
            alternative = self.get_alternative_name(root, extension)
            yield shorten(name, max_length, alternative[len(root) : len(alternative) - len(extension)])

    def _is_long(self, content: Any) -> bool:
        try:
            return content.size > self.part_size
        except Exception:  # noqa: BLE001 -- a content may lack a size in any number of ways
            return True

    def _rewindable(self, content: Any, stack: contextlib.ExitStack) -> File:
        """Return a copy of a content that can be read only once: a refused write must be able to start again."""
        spool = stack.enter_context(contextlib.closing(self._new_spool()))
        for chunk in chunks_of(content):
            spool.write(chunk)
        copy: Any = File(spool, content.name)  # type: ignore[arg-type]
        copy.content_type = getattr(content, "content_type", None)
        return copy

    def _save(self, name: str, content: Any) -> str:
        """Store ``content`` under exactly ``name``; FileExistsError where that is taken and overwriting is off."""
        key = self._file_key(name)
        options = self._options(key, content, create_only=not self._role("overwrite"))
        on_disk = file_on_disk(content)
        if (
            on_disk
            and on_disk[1] > self.part_size
            and self.capabilities.parts
            and not self._compresses(options.parameters)
        ):
            self._write_file(name, key, on_disk, options)
            return clean_name(name)
        stored = self._write(name, key, chunks_of(content), options)
        return self._name(stored) if stored else clean_name(name)

    def _write_file(self, name: str, key: str, on_disk: tuple[int, int], options: WriteOptions) -> None:
        start = functools.partial(self._start, name, key, options)
        depth = self.file_parts_at_once if self.parts_at_once else 0
        send_file(start, *on_disk, part_size=self.part_size, depth=depth)

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Return ``name`` cut to ``max_length`` where overwriting is on, else a free name like it."""
        if not max_length and self.longest_name:
            max_length = self.longest_name
            name = shorten(str(name), max_length)  # a longer one could not even be asked about
        return self._available_name(name, max_length)

    def _available_name(self, name: str, max_length: int | None) -> str:
        if self._role("overwrite"):
            validate_file_name(str(name), allow_relative_path=True)
            return shorten(clean_name(name), max_length)
        return super().get_available_name(name, max_length=max_length)

    # Asking

    def exists(self, name: str) -> bool:
        """Whether an object lies under ``name`` or below it. False only where the service says so."""
        clean = clean_name(name or "").rstrip("/")
        with self._translating(name):
            if clean:
                return self._exists(self._key(clean))
            return next(iter(self._list(self._root)), None) is not None

    def stat(self, name: str) -> Stat:
        """Return all that one request tells of ``name``: size, times, etag, type. Raises FileNotFoundError."""
        return self._stat_of(name)

    def size(self, name: str) -> int:
        """Return the size in bytes, as stored (before decompression). Raises FileNotFoundError."""
        return self._stat_of(name).size

    def get_modified_time(self, name: str) -> datetime.datetime:
        """Return when ``name`` was last written; aware if USE_TZ, else naive local time. Raises FileNotFoundError."""
        return self._time(self._stat_of(name).modified, "the time of the last change")

    def get_created_time(self, name: str) -> datetime.datetime:
        """Return when ``name`` was first written. Raises FileNotFoundError, NotImplementedError."""
        return self._time(self._stat_of(name).created if self.capabilities.created_time else None, "the creation time")

    def get_accessed_time(self, name: str) -> datetime.datetime:
        """Return when ``name`` was last read. Raises FileNotFoundError, NotImplementedError."""
        return self._time(self._stat_of(name).accessed if self.capabilities.accessed_time else None, "the access time")

    def listdir(self, path: str | None) -> tuple[list[str], list[str]]:
        """Return the names of the directories and of the files directly below ``path``; of a missing one, none."""
        directories: list[str] = []
        files: list[str] = []
        prefix = self._list_prefix(path or "")
        cut = len(prefix)
        with self._translating(path or ""):
            for entry in self._list(prefix):
                (directories if entry.is_prefix else files).append(entry.name[cut:])
        return directories, files

    def walk(self, prefix: str = "") -> Iterator[Entry]:
        """Yield an Entry for every object below ``prefix``, page by page, with what the listing tells of it."""
        cut = len(self._root)
        with self._translating(prefix):
            for entry in self._walk(self._list_prefix(prefix)):
                yield entry._replace(name=entry.name[cut:])

    # Removing, copying

    def delete(self, name: str) -> None:
        """Delete the object under exactly ``name``; silent where there is none. Raises ValueError for an empty name."""
        if not name:
            raise ValueError("The name must be given to delete().")
        with contextlib.suppress(FileNotFoundError), self._translating(name):
            self._delete(self._key(name))

    def delete_many(self, names: Iterable[str]) -> None:
        """Delete every object of ``names``, in as few requests as the service allows; missing ones are silent.

        Raises DeleteError, after having tried all, with what could not be deleted; ConnectionError and TimeoutError as
        soon as the service is out of reach.
        """
        by_key = {self._key(name): name for name in names}
        errors: dict[str, BaseException] = {}
        with self._translating(""):
            for key, error in self._delete_many(by_key):
                meaning = self._translated(error, by_key[key])
                if not isinstance(meaning, FileNotFoundError):
                    errors[by_key[key]] = meaning
        if errors:
            raise DeleteError(errors)

    def copy(self, source: str, target: str) -> None:
        """Copy an object to ``target``, which is replaced; by the service if it can. Raises FileNotFoundError."""
        source_key, target_key = self._file_key(source), self._file_key(target)
        self._may_choose_names()
        if source_key == target_key:
            self._stat_of(source)
        elif self.capabilities.copy:
            with self._translating(source):
                self._copy(source_key, target_key)
        else:
            with self._open(source, "rb") as content:
                self._write(target, target_key, chunks_of(content), self._options(target_key, content))

    def move(self, source: str, target: str) -> None:
        """Rename an object to ``target``, which is replaced; in one step where possible. Raises FileNotFoundError."""
        source_key, target_key = self._file_key(source), self._file_key(target)
        if source_key != target_key and self.capabilities.move:
            with self._translating(source):
                self._move(source_key, target_key)
            return
        self.copy(source, target)
        if source_key != target_key:
            self.delete(source)

    # Uploads that somebody else makes: a browser, by requests that are signed here

    @property
    def upload_kinds(self) -> Mapping[str, Enforced]:
        """The kinds of upload that can be signed (post, put, link; multipart, resumable, blocks), the best first.

        Each with what the service itself refuses. Empty where nothing can be signed; no request is sent.
        """
        return self._upload_kinds()

    def presign_upload(self, name: str, kind: str, terms: UploadTerms) -> SignedRequest:
        """Return the one request that uploads ``name``: of the kinds post, put and link.

        Raises ValueError for a kind that is not offered and for terms that it cannot have.
        """
        key = self._granted(name, kind, SINGLE_KINDS, terms)
        with self._translating(name):
            return self._presign_upload(key, kind, terms)

    def open_upload(self, name: str, kind: str, terms: UploadTerms) -> str:
        """Begin an upload in parts (multipart, resumable, blocks) and return its state, to be kept secret.

        Raises ValueError as presign_upload() does.
        """
        key = self._granted(name, kind, PART_KINDS, terms)
        with self._translating(name):
            return self._open_upload(key, kind, terms)

    def presign_part(
        self, name: str, kind: str, state: str, number: int, terms: UploadTerms, checksum: str = ""
    ) -> SignedRequest:
        """Return the request that sends part ``number``, counted from 1; a resumable one for all that is left.

        ``terms`` are those that the upload was opened with, but for the seconds; ``checksum`` is the part's SHA-256 in
        base64, signed where the service takes it. Raises ValueError.
        """
        key = self._granted(name, kind, PART_KINDS, terms)
        check_checksum(checksum)
        if type(number) is not int or not 1 <= number <= terms.parts:
            raise ValueError(f"the parts have numbers from 1 to {terms.parts}, not {number!r}")
        with self._translating(name):
            return self._presign_part(key, kind, state, number, terms, checksum)

    def received_parts(self, name: str, kind: str, state: str) -> list[Received]:
        """Return the parts that have arrived, by number; of a resumable upload one, of all bytes so far.

        Raises FileNotFoundError where there is no such upload (any more).
        """
        key = self._granted(name, kind, PART_KINDS)
        with self._translating(name):
            return self._received_parts(key, kind, state)

    def close_upload(
        self, name: str, kind: str, state: str, terms: UploadTerms, checksums: Mapping[int, str] | None = None
    ) -> None:
        """Make one object of the parts, replacing none; once that is done, doing it again is silent.

        ``checksums`` are those that parts were signed with, by number: a service may want to be told them again. Raises
        FileExistsError, PartsMissing (a ValueError), FileNotFoundError where there is no such upload.
        """
        key = self._granted(name, kind, PART_KINDS, terms)
        with self._translating(name):
            self._close_upload(key, kind, state, terms, checksums or {})

    def abandon_upload(self, name: str, kind: str, state: str) -> None:
        """Give an upload in parts up, and what has arrived of it; silent where there is none.

        An empty ``state`` means whatever is open for the name, as far as the service can list it. Since it was opened,
        options may have changed, and offer the kind no longer.
        """
        ends_uploads = type(self)._abandon_upload is not BaseStorage._abandon_upload
        key = self._file_key(name) if ends_uploads and kind in PART_KINDS else self._granted(name, kind, PART_KINDS)
        with contextlib.suppress(FileNotFoundError), self._translating(name):
            self._abandon_upload(key, kind, state)

    def discard_upload(self, name: str) -> None:
        """Delete what somebody else has uploaded, with all that he could hang on it; silent where there is none."""
        key = self._file_key(name)
        with contextlib.suppress(FileNotFoundError), self._translating(name):
            self._discard(key)

    def own_headers(self, name: str) -> Mapping[str, str]:
        """Return what this storage itself gives to an object under ``name``, as Stat.headers has it; no request.

        A value may be ANY: that of nobody else, as it is signed, or set anew by a copy.
        """
        key = self._file_key(name)
        with self._translating(name):
            return self._own_headers(key)

    # Kept for code written for earlier releases

    def modified_time(self, name: str) -> datetime.datetime:
        """Return get_modified_time() in naive local time. Deprecated."""
        return self._naive("modified_time", name)

    def created_time(self, name: str) -> datetime.datetime:
        """Return get_created_time() in naive local time. Deprecated."""
        return self._naive("created_time", name)

    def accessed_time(self, name: str) -> datetime.datetime:
        """Return get_accessed_time() in naive local time. Deprecated."""
        return self._naive("accessed_time", name)

    def _naive(self, old: str, name: str) -> datetime.datetime:
        warnings.warn(f"{old}() is deprecated; use get_{old}()", DeprecationWarning, 3)
        value: datetime.datetime = getattr(self, f"get_{old}")(name)
        return timezone.make_naive(value) if timezone.is_aware(value) else value

    # From here on: between the public methods and the hooks

    def _file_key(self, name: str) -> str:
        key = self._key(name)
        if key.endswith("/"):
            raise IsADirectoryError(errno.EISDIR, "This names a directory, not a file", name)
        return key

    def _granted(self, name: str, kind: str, among: frozenset[str], terms: UploadTerms | None = None) -> str:
        """Return the key of an upload by somebody else, whose kind and terms have been looked at."""
        key = self._file_key(name)
        kinds = self.upload_kinds
        if kind not in among or kind not in kinds:
            offered = ", ".join(one for one in kinds if one in among) or "none"
            raise ValueError(f"{type(self).__name__} signs no upload of the kind {kind!r}; it offers {offered}")
        if terms is not None:
            longest = self.longest_expire
            check_terms(terms, kinds[kind].limits, in_parts=among is PART_KINDS, longest=longest)
        return key

    def _may_choose_names(self) -> None:
        if self.capabilities.content_addressed:
            raise NotImplementedError(
                f"{type(self).__name__} names a file after its content, so only save() writes; it returns the name"
            )

    def _name(self, key: str) -> str:
        return key[len(self._root) :]

    def _stat_of(self, name: str) -> Stat:
        key = self._file_key(name)
        with self._translating(name):
            return self._stat(key)

    def _time(self, value: datetime.datetime | None, what: str) -> datetime.datetime:
        if value is None:
            raise NotImplementedError(f"{type(self).__name__} does not know {what}")
        return value if django_settings.USE_TZ else timezone.make_naive(value)

    # Reading

    def _fetch(self, name: str, key: str, start: int, end: int | None, if_match: str | None = None) -> Body:
        condition = if_match if self.capabilities.if_match else None
        with self._translating(name, changed=condition is not None):
            body = self._open_range(key, start, end, condition)
        if if_match and body.stat and body.stat.etag not in (None, if_match):
            body.close()
            raise ObjectChanged(errno.EIO, "Another writer changed the object since it was opened; open it again", name)
        return _TranslatingBody(self, name, body)

    def _reader(self, name: str) -> tuple[BinaryIO, Stat]:
        """Return a seekable binary reader of ``name``, and what is known of the object. For StorageFile."""
        key = self._file_key(name)
        file: Any
        if self.capabilities.ranges:
            fetch = functools.partial(self._fetch, name, key)
            raw = RangeReader(fetch, depth=self.ranges_at_once, ahead=self.read_ahead)
            file, stat = io.BufferedReader(raw, 64 * 1024), raw.stat
        else:
            spool = self._new_spool()
            with contextlib.closing(self._fetch(name, key, 0, None)) as body:
                for chunk in read_chunks(body):
                    spool.write(chunk)
            spool.seek(0)
            file, stat = io.BufferedReader(spool), body.stat or Stat(spool.size)
        if self._role("gzip") and stat.content_encoding == "gzip":
            file = Unzipped(file)
        return file, stat

    # Writing

    def _options(
        self, key: str, content: Any = None, *, create_only: bool = False, if_match: str | None = None
    ) -> WriteOptions:
        return WriteOptions(
            self._get_write_parameters(key, content),
            create_only and self.capabilities.create_only,
            if_match if self.capabilities.if_match else None,
        )

    def _compressing(self, options: WriteOptions) -> bool:
        """Whether this write is to be compressed; its parameters say so from then on."""
        if compresses := self._compresses(options.parameters):
            options.parameters[self.parameter_names["content_encoding"]] = "gzip"
        return compresses

    def _compressed(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        return gzipped(chunks)

    def _write(self, name: str, key: str, chunks: Iterator[bytes], options: WriteOptions) -> str | None:
        """Write ``chunks`` under ``key``, in one request if they are few; return the key if the service chose it."""
        if self._compressing(options):
            chunks = self._compressed(chunks)
        if self.capabilities.parts:
            with self._part_writer(name, key, options) as writer:
                for chunk in chunks:
                    writer.write(chunk)
                writer.commit()
            return None
        head, rest = taken(chunks, self.part_size)
        is_all = head.getbuffer().nbytes <= self.part_size
        return self._put_whole(name, key, options, head if is_all else reader(head, rest))

    def _put_whole(self, name: str, key: str, options: WriteOptions, body: Any) -> str | None:
        with self._translating(name, changed=options.if_match is not None):
            return self._put(key, body, options)

    def _part_writer(self, name: str, key: str, options: WriteOptions, part_size: int | None = None) -> PartWriter:
        start = functools.partial(self._start, name, key, options)
        put = functools.partial(self._put_whole, name, key, options)
        return PartWriter(put, start, part_size=part_size or self.part_size, depth=self.parts_at_once)

    def _start(self, name: str, key: str, options: WriteOptions) -> PartUpload:
        with self._translating(name):
            return _TranslatingUpload(self, name, options, self._start_parts(key, options))

    def _writer(self, name: str, kind: str, part_size: int | None = None) -> tuple[Writer, Stat | None]:
        """Return a writer for a mode other than ``r``, and what is known of the object. For StorageFile."""
        key = self._file_key(name)
        self._may_choose_names()
        if kind[0] == "x" and self.exists(name):
            raise FileExistsError(errno.EEXIST, "There is such an object already", name)
        options, stat = self._options(key, create_only=kind[0] == "x"), None
        if kind in ("w", "x") and self.capabilities.parts:
            writer = self._part_writer(name, key, options, part_size)
            return (GzipWriter(writer) if self._compressing(options) else writer), None
        spool = self._new_spool()
        if kind[0] in "ra":
            options, stat = self._load(name, key, kind[0], spool)
        publish = functools.partial(self._write, name, key, options=options)
        # What is only read, or appended nothing to, is not written back.
        return SpoolWriter(publish, spool, always=stat is None, append=kind[0] == "a", reads="+" in kind), stat

    def _load(self, name: str, key: str, kind: str, spool: Spool) -> tuple[WriteOptions, Stat | None]:
        """Read an object into ``spool`` to be changed there; return how it is to be written back."""
        try:
            content, stat = self._reader(name)
        except FileNotFoundError:
            if kind == "r":
                raise
            return self._options(key, create_only=True), None
        with contextlib.closing(content):
            for chunk in read_chunks(content):
                spool.write(chunk)
        spool.seek(0, io.SEEK_END if kind == "a" else io.SEEK_SET)
        spool.written = False
        return self._options(key, if_match=stat.etag), stat

    def _new_spool(self) -> Spool:
        return Spool(self._role("memory") or self.spool_limit, django_settings.FILE_UPLOAD_TEMP_DIR)

    # Errors

    @contextlib.contextmanager
    def _translating(self, name: str, *, changed: bool = False) -> Iterator[None]:
        """Turn what a hook raises into what it means for ``name``; the cause is chained.

        ``changed``: the hook was given an etag, so that a failed condition means another writer.
        """
        try:
            yield
        except Exception as error:
            meaning = self._translated(error, name, changed)
            if meaning is error:
                raise
            raise meaning from error

    def _translated(self, error: BaseException, name: str, changed: bool = False) -> BaseException:
        kind = None if isinstance(error, Translated) else self._classify(error)
        if kind is None:
            return error
        if changed and kind is FileExistsError:
            message = "Another writer changed the object since it was opened; open it again"
            return translated(error, ObjectChanged, message, name)
        return translated(error, kind, self._advise(error, kind) + self._advise_on_trust(error), name)

    def _advise_on_trust(self, error: BaseException) -> str:
        """Return what to do where a certificate was refused, which every SDK words as OpenSSL does."""
        if "CERTIFICATE_VERIFY_FAILED" not in str(error):
            return ""
        option = next((name for name, one in self.declared_settings().items() if one.role == "authority"), None)
        where = self._spelt(option) if option else f"the environment variable {self.authority_variable}"
        return f". The server did not prove who it is; if it is the right one, name its authority's file in {where}"

    # The hooks, which all take a key. One that needs a capability is called only where that is declared.

    def _stat(self, key: str) -> Stat:
        """Return what is known of an object; "not found" raises."""
        raise NotImplementedError

    def _open_range(self, key: str, start: int, end: int | None, if_match: str | None = None) -> Body:
        """Return the bytes from ``start`` to before ``end``; none where the object ends before. "Not found" raises."""
        raise NotImplementedError

    def _put(self, key: str, body: Any, options: WriteOptions) -> str | None:
        """Create or replace an object atomically; never close ``body``. Return the key if the service chose it."""
        raise NotImplementedError

    def _delete(self, key: str) -> None:
        """Delete exactly this object; "not found" may raise."""
        raise NotImplementedError

    def _list(self, prefix: str) -> Iterator[Entry]:
        """Yield the direct children of ``prefix``, page by page, without duplicates."""
        raise NotImplementedError

    def _classify(self, error: BaseException) -> type[Exception] | None:
        """Return the class that says what ``error`` means, or None to let it through. No I/O."""
        raise NotImplementedError

    def _advise(self, error: BaseException, kind: type[Exception]) -> str:
        """Return the message for an error: what happened and what to do next."""
        return str(error)

    def _exists(self, key: str) -> bool:
        """Whether an object lies at ``key`` or below ``key/``."""
        if type(self)._first is BaseStorage._first:
            return self._has(key) or next(iter(self._list(key + "/")), None) is not None
        refused: list[bool] = self._derived("list refused", list)
        if refused:  # who may only get objects may not list
            return self._has(key)
        try:
            with self._translating(key):
                return self._exists_in_listing(key)
        except PermissionError as refusal:
            try:
                answer = self._has(key)
            except PermissionError:
                raise refusal from refusal.__cause__  # it says more than the answer to a HEAD
            refused.append(True)
            return answer

    def _has(self, key: str) -> bool:
        """Whether an object lies at ``key``."""
        try:
            with self._translating(key):
                self._stat(key)
        except FileNotFoundError:
            return False
        return True

    def _exists_in_listing(self, key: str) -> bool:
        """Ask one listing for the object and for what lies below it."""
        first = self._first(key)
        if first == key or first.startswith(key + "/"):
            return True
        # Names that go on with one of " !\"#$%&'()*+,-." come before those that go on with a slash.
        return bool(first) and first < key + "/" and bool(self._first(key + "/"))

    def _first(self, prefix: str) -> str:
        """Return the first of the keys that begin with ``prefix``, or nothing; where one request tells."""
        raise NotImplementedError

    def _walk(self, prefix: str) -> Iterator[Entry]:
        """Yield every object below ``prefix``."""
        waiting = [prefix]
        while waiting:
            for entry in self._list(waiting.pop()):
                if entry.is_prefix:
                    waiting.append(entry.name + "/")
                else:
                    yield entry

    def _delete_many(self, keys: Iterable[str]) -> Iterator[tuple[str, BaseException]]:
        """Delete the objects; yield a key and its error for each that is still there."""
        for key in keys:
            try:
                self._delete(key)
            except Exception as error:
                if isinstance(self._translated(error, key), (ConnectionError, TimeoutError)):
                    raise  # the rest would each wait as long
                yield key, error

    def _start_parts(self, key: str, options: WriteOptions) -> PartUpload:
        """Begin a write in parts."""
        raise NotImplementedError

    def _upload_kinds(self) -> Mapping[str, Enforced]:
        """Return the kinds of upload for which a request can be signed, the best first; no I/O.

        The hooks below are called only for these, with terms that are sound and within the kind's limits.
        """
        return {}

    def _presign_upload(self, key: str, kind: str, terms: UploadTerms) -> SignedRequest:
        """Return the request that makes the object, with all of the terms in its signature; of the kinds in one go."""
        raise NotImplementedError

    def _open_upload(self, key: str, kind: str, terms: UploadTerms) -> str:
        """Begin an upload in parts; return what the hooks below need to know of it."""
        raise NotImplementedError

    def _presign_part(
        self, key: str, kind: str, state: str, number: int, terms: UploadTerms, checksum: str
    ) -> SignedRequest:
        """Return the request that sends one part, with its number, size and checksum (if any) in the signature."""
        raise NotImplementedError

    def _received_parts(self, key: str, kind: str, state: str) -> list[Received]:
        """Return what has arrived, by number; "not found" raises."""
        raise NotImplementedError

    def _close_upload(self, key: str, kind: str, state: str, terms: UploadTerms, checksums: Mapping[int, str]) -> None:
        """Make the object of exactly the parts of the terms, where there is none; raise PartsMissing otherwise.

        Where the upload is gone but an object of the size is there, it was closed before. A part is also missing where
        its checksum is not the one in ``checksums``.
        """
        raise NotImplementedError

    def _abandon_upload(self, key: str, kind: str, state: str) -> None:
        """Remove an upload and its parts; without a state, all that are open for the key, where the service lists them.

        "Not found" may raise.
        """
        raise NotImplementedError

    def _discard(self, key: str) -> None:
        """Delete an object that somebody else has uploaded, and what hangs on it; "not found" may raise."""
        self._delete(key)

    def _own_headers(self, key: str) -> Mapping[str, str]:
        """Return those of Stat.headers that the options give to an object, where _stat() tells them."""
        return {}

    def _move(self, source_key: str, key: str) -> None:
        """Rename an object on the service's side, replacing what lies at ``key``; "not found" raises."""
        raise NotImplementedError

    def _copy(self, source_key: str, key: str) -> None:
        """Copy an object on the service's side; "not found" raises."""
        raise NotImplementedError


class _TranslatingBody:
    """A backend's Body whose errors are the base's."""

    def __init__(self, storage: BaseStorage, name: str, body: Body):
        self._storage, self._name, self._body = storage, name, body
        self.stat, self.close = body.stat, body.close

    def read(self, size: int = -1, /) -> bytes:
        with self._storage._translating(self._name):
            return self._body.read() if size < 0 else self._body.read(size)


class _TranslatingUpload:
    """A backend's PartUpload whose errors are the base's."""

    def __init__(self, storage: BaseStorage, name: str, options: WriteOptions, upload: PartUpload):
        self._translating = functools.partial(storage._translating, name, changed=options.if_match is not None)
        self._upload = upload

    def send(self, number: int, body: BinaryIO) -> None:
        with self._translating():
            self._upload.send(number, body)

    def complete(self) -> None:
        with self._translating():
            self._upload.complete()

    def abort(self) -> None:
        with self._translating():
            self._upload.abort()


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield ``items`` in lists of ``size``, as they come; itertools.batched() of Python 3.12."""
    left = iter(items)
    while batch := list(itertools.islice(left, size)):
        yield batch


def _is_seekable(content: Any) -> bool:
    seekable = getattr(content, "seekable", None)
    return bool(seekable and seekable())
