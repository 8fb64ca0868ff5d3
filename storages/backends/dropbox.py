"""Dropbox."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import io
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation

from storages import process, usual
from storages.base import BaseStorage, batches
from storages.contract import (
    PATIENCE,
    Body,
    Capabilities,
    Enforced,
    Entry,
    SignedRequest,
    Stat,
    UploadLimits,
    UploadTerms,
    WriteOptions,
)
from storages.errors import REQUESTS_MEANINGS, meaning_by_name
from storages.files import StorageFile
from storages.mixin import with_query
from storages.optional import OptionalModule
from storages.settings import Renamed, Setting
from storages.streams import AnswerBody, EmptyBody, range_header

dropbox = OptionalModule("dropbox", "dropbox")
dropbox_client = OptionalModule("dropbox.dropbox_client", "dropbox")
exceptions = OptionalModule("dropbox.exceptions", "dropbox")
files = OptionalModule("dropbox.files", "dropbox")

# dropbox.com/developers/reference/content-hash
HASHED_BLOCK = 4 * 1024**2  # bytes

LARGEST_UPLOAD = 150 * 1024**2  # bytes of one request
LINK_LIVES = (60, 4 * 3600)  # seconds that a link for an upload lives, at least and at most
CONNECT_TIMEOUT = 5  # seconds, or less where ``timeout`` is
LARGEST_PAGE = 2000  # entries of a listing
MOST_DELETES = 1000  # files in one batch
LONGEST_PAUSE = 2  # seconds between two looks at a batch
MANY = 8  # files of one folder whose revisions are cheaper to list than to ask for one by one
FIRST_PAUSE = 1  # seconds before the next try where the service names no time; they double

# Tags of the unions in an error to what they mean; the first one that is there decides.
# dropbox.com/developers/documentation/http/documentation, and the types in the SDK's files.py
_MEANINGS: dict[str, type[Exception]] = {
    **dict.fromkeys(("not_found", "not_file", "not_folder"), FileNotFoundError),
    "conflict": FileExistsError,
    **dict.fromkeys(
        (
            *("access_denied", "email_unverified", "locked", "no_write_permission", "operation_suppressed"),
            *("restricted_content", "team_folder", "unsupported_file", "user_suspended"),
        ),
        PermissionError,
    ),
    "content_hash_mismatch": ConnectionError,
    "insufficient_space": OSError,
    **dict.fromkeys(("disallowed_name", "malformed_path"), SuspiciousFileOperation),
}
_BUSY = "too_many_write_operations"

_CLIENT_MEANINGS = {**REQUESTS_MEANINGS, "AuthError": PermissionError}

_SAID: dict[type[Exception], str] = {
    FileNotFoundError: "There is no such file in the Dropbox",
    FileExistsError: "There is something of this name in the Dropbox already",
    SuspiciousFileOperation: "Dropbox takes no such name",
}


class DropboxStorageException(Exception):
    """Kept for code that catches it; errors are Python's and the SDK's."""


class DropboxFile(StorageFile):
    """An open file of a Dropbox."""


class DropboxStorage(BaseStorage):
    """Store files in a Dropbox."""

    oauth2_access_token = Setting(
        names=("DROPBOX_OAUTH2_TOKEN",),
        secret=True,
        help="Access token, which lasts for hours; for longer give the refresh token with app_key and app_secret.",
    )
    root_path = Setting("/", names=("DROPBOX_ROOT_PATH",), help="Folder of the files.")
    app_key = Setting(names=("DROPBOX_APP_KEY",), secret=True, help="Key of the app.")
    app_secret = Setting(names=("DROPBOX_APP_SECRET",), secret=True, help="Secret of the app.")
    oauth2_refresh_token = Setting(
        names=("DROPBOX_OAUTH2_REFRESH_TOKEN",), secret=True, help="Refresh token, from which access tokens are made."
    )
    timeout = usual.READ_TIMEOUT.named("DROPBOX_TIMEOUT")
    write_mode = Setting(
        "add",
        names=("DROPBOX_WRITE_MODE",),
        choices=("add", "overwrite", "update"),
        help="What becomes of a file of the same name: 'add' keeps it, the others replace it.",
    )
    file_overwrite = usual.OVERWRITE.named(
        "DROPBOX_FILE_OVERWRITE",
        default=None,
        help="Whether a file replaces one of the same name. False: it gets a free name, without a race. None: what "
        "write_mode says.",
    )
    ca_certs = Setting(
        names=("DROPBOX_CA_CERTS",),
        role="authority",
        help="Path of a CA bundle, for a proxy that inspects TLS; that in REQUESTS_CA_BUNDLE wins.",
    )

    positional = ("oauth2_access_token", "root_path", "timeout", "write_mode")
    renamed = {"location": Renamed("root_path")}

    sdk = dropbox
    file_class = DropboxFile
    CHUNK_SIZE = HASHED_BLOCK  # bytes of one part of a long write; a shorter file is one request
    parts_at_once = 0  # a session takes its parts in order

    capabilities = Capabilities(
        ranges=True,
        parts=True,
        create_only=True,
        if_match=True,
        copy=True,
        delete_many=True,
        missing={
            "streams": "The SDK takes the bytes of a request whole, a part at a time.",
            "presign": "url() asks for a link that works for four hours, and for reading only.",
            "created_time": "Dropbox tells the time of the last write only.",
            "accessed_time": "Dropbox does not note reads.",
            "content_type": "Dropbox goes by the name.",
        },
    )

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.part_size = self.CHUNK_SIZE
        if self.file_overwrite is None:
            self.file_overwrite = self.write_mode != "add"
        if self.app_key or self.app_secret or self.oauth2_refresh_token:
            self._require_tokens()

    def _require_tokens(self) -> None:
        if not self.oauth2_access_token and not (self.oauth2_refresh_token and self.app_key and self.app_secret):
            raise ImproperlyConfigured(
                f"{type(self).__name__}: give {self._spelt('oauth2_access_token')}, or {self._spelt('app_key')}, "
                f"{self._spelt('app_secret')} and {self._spelt('oauth2_refresh_token')} together"
            )

    # Client

    @property
    def client(self) -> Any:
        """Return the SDK's Dropbox, one for all storages and threads of this process with the same configuration."""
        return self._derived("client", self._shared_client)

    def _shared_client(self) -> Any:
        self._require_tokens()
        tokens = (self.oauth2_access_token, self.oauth2_refresh_token, self.app_key, self.app_secret)
        key = ("dropbox", *tokens, self.timeout, self.ca_certs)
        return process.shared(key, self._make_client)

    def _make_client(self) -> Any:
        return dropbox.Dropbox(
            # Beside a refresh token, an access token is one that has expired, or will.
            oauth2_access_token=None if self.oauth2_refresh_token else self.oauth2_access_token,
            oauth2_refresh_token=self.oauth2_refresh_token or None,
            app_key=self.app_key or None,
            app_secret=self.app_secret or None,
            timeout=(min(self.timeout, CONNECT_TIMEOUT), self.timeout),
            max_retries_on_error=3,
            max_retries_on_rate_limit=0,  # the SDK would wait however long it is told to
            session=dropbox.create_session(process.CONNECTIONS, ca_certs=self.ca_certs),
        )

    def _ask(self, ask: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call a method of the client; again, within PATIENCE, where the service is too busy."""
        started = time.monotonic()
        for tries in itertools.count():
            try:
                return ask(*arguments, **options)
            except (exceptions.RateLimitError, exceptions.ApiError) as error:
                if isinstance(error, exceptions.ApiError) and _BUSY not in _tags(error):
                    raise
                pause = getattr(error, "backoff", None) or FIRST_PAUSE * 2**tries
                if time.monotonic() - started + pause > PATIENCE:
                    raise
                time.sleep(pause)

    # Hooks

    def _stat(self, key: str) -> Stat:
        found = self._ask(self.client.files_get_metadata, self._path(key))
        if not isinstance(found, files.FileMetadata):
            raise FileNotFoundError(key)
        return _stat_of(found)

    def _open_range(self, key: str, start: int, end: int | None, if_match: str | None = None) -> Body:
        client = self.client
        if span := range_header(start, end):
            client.check_and_refresh_access_token()  # here, so that not every clone does it
            client = client.clone(headers=span)
        try:
            found, answer = self._ask(client.files_download, self._path(key))
        except exceptions.HttpError as error:
            if error.status_code != 416:
                raise
            # The file ends before the range; an empty one before any range at all.
            return EmptyBody(None if start else self._stat(key))
        if if_match not in (None, found.rev):
            answer.close()
            raise FileExistsError(key)
        whole = not start and (end is None or end >= found.size)
        return AnswerBody(answer, _stat_of(found), _Hash(), bytes.fromhex(found.content_hash) if whole else None)

    def _put(self, key: str, body: Any, options: WriteOptions) -> None:
        data = body.read()
        found = self._ask(self.client.files_upload, data, **self._commit_options(key, options))
        _compare(content_hash(data), found.content_hash)

    def _start_parts(self, key: str, options: WriteOptions) -> _Session:
        return _Session(self, key, options)

    def _delete(self, key: str) -> None:
        # A folder would go with all below it. One cannot have a revision, so this never deletes one.
        path = self._path(key)
        while True:
            found = self._ask(self.client.files_get_metadata, path)
            if not isinstance(found, files.FileMetadata):
                return
            try:
                self._ask(self.client.files_delete_v2, path, parent_rev=found.rev)
            except exceptions.ApiError as error:
                if "conflict" not in _tags(error):
                    raise
            else:
                return

    def _delete_many(self, keys: Iterable[str]) -> Iterator[tuple[str, BaseException]]:
        for batch in batches(self._revisions(keys), MOST_DELETES):
            arguments = [files.DeleteArg(self._path(key), revision) for key, revision in batch]
            deleted = self._delete_batch(arguments)
            # What changed meanwhile, or came in the way of others, may go by itself.
            yield from super()._delete_many(key for (key, _), gone in zip(batch, deleted, strict=True) if not gone)

    def _delete_batch(self, arguments: list[Any]) -> list[bool]:
        """Delete files of known revisions; return whether each is gone."""
        status = self._ask(self.client.files_delete_batch, arguments)
        if status.is_async_job_id():
            job, pause = status.get_async_job_id(), 0.1
            while (status := self._ask(self.client.files_delete_batch_check, job)).is_in_progress():
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        if not status.is_complete():
            return [False] * len(arguments)
        return [entry.is_success() for entry in status.get_complete().entries]

    def _revisions(self, keys: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yield key and revision of each key that is a file; where there are many in a folder, by its listing."""
        for folder, group in itertools.groupby(sorted(keys), lambda key: key.rpartition("/")[0]):
            wanted = {self._path(key).lower(): key for key in group}
            if len(wanted) >= MANY:
                for found in self._entries(f"{folder}/" if folder else ""):
                    if isinstance(found, files.FileMetadata) and found.path_lower in wanted:
                        yield wanted.pop(found.path_lower), found.rev
            for key in wanted.values():  # missing ones, or spelt in a way that only Dropbox folds
                try:
                    yield key, str(self._stat(key).etag)
                except FileNotFoundError:
                    continue
                except exceptions.ApiError as error:
                    if not _is_missing(error):
                        raise

    def _copy(self, source_key: str, key: str) -> None:
        self._stat(source_key)  # a folder would be copied with all below it
        try:
            self._ask(self.client.files_copy_v2, self._path(source_key), self._path(key))
        except exceptions.ApiError as error:
            if "conflict" not in _tags(error):
                raise
            # Dropbox copies to free names only, and without this one gone in between it must be through here.
            with contextlib.closing(self._open_range(source_key, 0, None)) as body:
                session = self._start_parts(key, WriteOptions())
                for part in iter(lambda: body.read(self.part_size), b""):
                    session.send(0, io.BytesIO(part))
                session.complete()

    def _list(self, prefix: str) -> Iterator[Entry]:
        for found in self._entries(prefix):
            # By its name: the case of a path's other parts may be another one.
            yield _entry_of(prefix + found.name, found)

    def _walk(self, prefix: str) -> Iterator[Entry]:
        for found in self._entries(prefix, recursive=True):
            if isinstance(found, files.FileMetadata):
                yield _entry_of(found.path_display[len(self._top) + 1 :], found)

    def _exists(self, key: str) -> bool:
        # One request where there is nothing; the base would have to look for a folder too.
        try:
            found = self._ask(self.client.files_get_metadata, self._path(key))
        except exceptions.ApiError as error:
            if _is_missing(error):
                return False
            raise
        return isinstance(found, files.FileMetadata) or next(self._list(key + "/"), None) is not None

    def _classify(self, error: BaseException) -> type[Exception] | None:
        if isinstance(error, (FileNotFoundError, FileExistsError)):
            return type(error)
        if isinstance(error, exceptions.ApiError):
            return next((_MEANINGS[tag] for tag in _tags(error) if tag in _MEANINGS), None)
        if isinstance(error, exceptions.BadInputError) and "invalid_" in str(error):
            return PermissionError  # what the token endpoint says of the app or of the refresh token
        return meaning_by_name(error, _CLIENT_MEANINGS)

    def _advise(self, error: Any, kind: type[Exception]) -> str:
        if kind in _SAID:
            return _SAID[kind]
        said = f"{type(self).__name__}: {error!r}"
        if "missing_scope" in said:
            return f"{said}: give the app the scope, and make a new token, which keeps the scopes of its making"
        if kind is PermissionError:
            return (
                f"{said}. The token may have expired: give {self._spelt('oauth2_refresh_token')} with 'app_key' and "
                "'app_secret' for one that does not; or the account may not do this"
            )
        if kind is OSError:
            return f"{said}: the Dropbox is full; remove something or buy space"
        return f"{said}. Check the network, DROPBOX_TIMEOUT and the service's status page"

    # Uploads by somebody else

    def _upload_kinds(self) -> dict[str, Enforced]:
        # A link is for one upload and one path, and adds a file where there is none.
        return {"link": Enforced("finish", "finish", "none", "denied", UploadLimits(LARGEST_UPLOAD))}

    def _presign_upload(self, key: str, kind: str, terms: UploadTerms) -> SignedRequest:
        commit = files.CommitInfo(**self._commit_options(key, WriteOptions(create_only=True)), autorename=False)
        shortest, longest = LINK_LIVES
        duration = float(min(max(terms.seconds, shortest), longest))
        link = self._ask(self.client.files_get_temporary_upload_link, commit, duration).link
        return SignedRequest("POST", link, {"Content-Type": "application/octet-stream"})

    # URLs

    def _signs_urls(self) -> bool:
        return False

    def _public_url(self, key: str, parameters: Mapping[str, Any]) -> str:
        # The one way to bytes over HTTP that needs no token, and it has to be asked for.
        return with_query(self._ask(self.client.files_get_temporary_link, self._path(key)).link, parameters)

    # Paths

    @property
    def _top(self) -> str:
        """Return the path of the folder of all keys, empty for the Dropbox itself."""
        return "".join(f"/{part}" for part in self.root_path.split("/") if part)

    def _path(self, key: str) -> str:
        return f"{self._top}/{key}"

    def _entries(self, prefix: str, **options: Any) -> Iterator[Any]:
        """Yield what lies in a folder, page by page; nothing where there is none."""
        path = self._path(prefix).rstrip("/")  # of the Dropbox itself it is empty
        try:
            page = self._ask(self.client.files_list_folder, path, limit=LARGEST_PAGE, **options)
        except exceptions.ApiError as error:
            if _is_missing(error):
                return
            raise
        yield from page.entries
        while page.has_more:
            page = self._ask(self.client.files_list_folder_continue, page.cursor)
            yield from page.entries

    def _commit_options(self, key: str, options: WriteOptions) -> dict[str, Any]:
        mode = files.WriteMode.add if options.create_only else files.WriteMode.overwrite
        if options.if_match:
            mode = files.WriteMode.update(options.if_match)
        # Else a file of the same content would be no conflict.
        return {"path": self._path(key), "mode": mode, "strict_conflict": mode != files.WriteMode.overwrite}


DropBoxStorage = DropboxStorage
DropBoxFile = DropboxFile
DropBoxStorageException = DropboxStorageException


class _Session:
    """An upload session; one that is not finished vanishes after a week."""

    def __init__(self, storage: DropboxStorage, key: str, options: WriteOptions):
        self._ask = storage._ask
        self._client = storage.client
        self._commit = files.CommitInfo(**storage._commit_options(key, options))
        started = self._ask(self._client.files_upload_session_start, b"")
        self._cursor = files.UploadSessionCursor(started.session_id, 0)
        self._hash = _Hash()

    def send(self, number: int, body: Any) -> None:
        part = body.read()
        self._ask(self._client.files_upload_session_append_v2, part, self._cursor)
        self._hash.update(part)
        self._cursor.offset += len(part)

    def complete(self) -> None:
        found = self._ask(self._client.files_upload_session_finish, b"", self._cursor, self._commit)
        _compare(self._hash.hexdigest(), found.content_hash)

    def abort(self) -> None:
        """Leave the session to Dropbox, which has no call for this."""


class _Hash:
    """Dropbox's hash of a file: of the hashes of its blocks."""

    def __init__(self) -> None:
        self._hashes = hashlib.sha256()
        self._block = hashlib.sha256()
        self._room = HASHED_BLOCK

    def update(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            self._block.update(left[: self._room])
            taken = min(len(left), self._room)
            left, self._room = left[taken:], self._room - taken
            if not self._room:
                self._hashes.update(self._block.digest())
                self._block, self._room = hashlib.sha256(), HASHED_BLOCK

    def digest(self) -> bytes:
        whole = self._hashes.copy()
        if self._room < HASHED_BLOCK:
            whole.update(self._block.digest())
        return whole.digest()

    def hexdigest(self) -> str:
        return self.digest().hex()


def content_hash(data: bytes) -> str:
    """Return Dropbox's hash of a file."""
    whole = _Hash()
    whole.update(data)
    return whole.hexdigest()


def _compare(ours: str, theirs: str) -> None:
    if ours != theirs:
        raise ConnectionError("The bytes are not those that Dropbox has a hash of; they were damaged on their way")


def _stat_of(found: Any) -> Stat:
    return Stat(found.size, found.server_modified.replace(tzinfo=datetime.timezone.utc), etag=found.rev)


def _entry_of(key: str, found: Any) -> Entry:
    if not isinstance(found, files.FileMetadata):
        return Entry(key, True)
    stat = _stat_of(found)
    return Entry(key, False, stat.size, stat.modified, stat.etag)


def _tags(error: Any) -> list[str]:
    """Return the tags of the unions that are nested in an error of the API, the outer ones first."""
    tags = []
    value = error.error
    while hasattr(value, "_tag"):
        tags.append(value._tag)
        value = value._value
        value = getattr(value, "reason", value)  # a failed upload is a struct around its reason
    return tags


def _is_missing(error: Any) -> bool:
    return any(tag in ("not_found", "not_folder") for tag in _tags(error))
