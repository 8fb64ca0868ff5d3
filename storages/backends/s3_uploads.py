"""Uploads to S3 that somebody else makes: what can be signed, and what then is in the signature."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from storages.contract import Enforced, PartsMissing, Received, UploadLimits, UploadTerms
from storages.optional import OptionalModule

serialize = OptionalModule("botocore.serialize", "s3")

# docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
_GIB = 1024**3
LARGEST_PUT = 5 * _GIB  # bytes, in one request
MOST_PARTS = 10_000
_ONE_REQUEST = UploadLimits(largest=LARGEST_PUT)
_IN_PARTS = UploadLimits(smallest_part=5 * 1024**2, largest_part=5 * _GIB, most_parts=MOST_PARTS)

# A form can be sent again for as long as its policy lives, and no condition of it looks at what is there.
_POST = Enforced(size="exact", type="signed", overwrite="promote", limits=_ONE_REQUEST)
_PUT = dataclasses.replace(_POST, overwrite="promote")
_PUT_ONCE = dataclasses.replace(_POST, overwrite="denied")
# The parts have their sizes; they are made one object once, here.
_PARTS = Enforced(size="exact", type="signed", overwrite="promote", limits=_IN_PARTS)
_PARTS_ONCE = dataclasses.replace(_PARTS, overwrite="denied")

# Hosts of services without POST policies, as their documentation has it.
_WITHOUT_FORMS = (".r2.cloudflarestorage.com", ".backblazeb2.com")

# Never in the hands of who uploads: who may read it, and the key that the object is encrypted with.
_ACCESS = ("ACL", "GrantFullControl", "GrantRead", "GrantReadACP", "GrantWriteACP")
_SECRETS = ("SSECustomerAlgorithm", "SSECustomerKey", "SSECustomerKeyMD5")
# What the terms say, or what only the writer of the bytes can know.
_OF_TERMS = ("Body", "Bucket", "ContentLength", "ContentMD5", "ContentType", "IfMatch", "IfNoneMatch", "Key")

# What a form has fields for, named as the header is.
_IN_FORMS = {
    *("CacheControl", "ContentDisposition", "ContentEncoding", "Expires", "Metadata", "StorageClass"),
    *("BucketKeyEnabled", "SSEKMSEncryptionContext", "SSEKMSKeyId", "ServerSideEncryption", "WebsiteRedirectLocation"),
}

# What a PUT must not be made to do, for services that act on headers outside of the signature: to give somebody rights,
# to copy what its sender may not read, to take another length than is signed, to lock or bill in another way.
ADDITIONS = (
    "x-amz-acl",
    *(f"x-amz-grant-{right}" for right in ("full-control", "read", "read-acp", "write", "write-acp")),
    *("x-amz-copy-source", "x-amz-copy-source-range", "x-amz-metadata-directive", "x-amz-tagging-directive"),
    *("x-amz-content-sha256", "x-amz-decoded-content-length", "x-amz-trailer"),
    *("x-amz-object-lock-legal-hold", "x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date"),
    *("x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id"),
    *(f"x-amz-server-side-encryption-customer-{part}" for part in ("algorithm", "key", "key-md5")),
    *("x-amz-storage-class", "x-amz-tagging", "x-amz-website-redirect-location"),
)

# What the answer to a HEAD tells of what a writer has said, beside type and encoding.
_SAID = ("cache-control", "content-disposition", "content-language", "expires", "x-amz-website-redirect-location")
# But no tags, which no service takes with what is signed here, and which scanners of AWS put on what has arrived.
_METADATA, _CLASS = "x-amz-meta-", "x-amz-storage-class"
# Only those that a writer has to ask for: a bucket of a service other than AWS may have one of its own.
_CLASSES = {*("DEEP_ARCHIVE", "GLACIER", "GLACIER_IR", "INTELLIGENT_TIERING", "ONEZONE_IA", "REDUCED_REDUNDANCY")}

_PRIVATE = (None, "", "private", "bucket-owner-full-control")

# What completing says of parts that are not as they are said to be: AWS the first, SeaweedFS the second.
OTHER_PARTS = frozenset({"InvalidPart", "BadDigest"})

# How the state of an upload begins whose parts have checksums.
_WITH_CHECKSUMS = "sha256 "


def kinds_of(
    parameters: Mapping[str, Any], *, once: bool, forms: bool, puts: bool, checksums: bool
) -> dict[str, Enforced]:
    """Return what can be signed, the best first.

    ``parameters`` are those of the object; ``once``: the service honours If-None-Match; ``forms``: it takes POST
    policies; ``puts``: nobody can add to a signed PUT; ``checksums``: it verifies x-amz-checksum-sha256.
    """
    if parameters.keys() & set(_SECRETS):
        return {}
    # Who uploads must not be able to show everybody what nobody has looked at: the ACL comes with the copy.
    is_public = parameters.get("ACL") not in _PRIVATE or any(parameters.get(name) for name in _ACCESS[1:])
    put = _PUT_ONCE if once and not is_public else _PUT
    signed = "signed" if checksums else "none"
    post, put = (dataclasses.replace(enforced, checksum=signed) for enforced in (_POST, put))
    kinds = {"put": put, "post": post} if put.single_use else {"post": post, "put": put}
    kinds["multipart"] = dataclasses.replace(
        _PARTS if is_public else _PARTS_ONCE, checksum="parts" if checksums else "none"
    )
    if not forms or granted(parameters).keys() - _IN_FORMS:
        del kinds["post"]
    return kinds if puts else {kind: enforced for kind, enforced in kinds.items() if kind == "post"}


def refuses_unsigned_headers(endpoint_url: str | None) -> bool:
    """Whether the service is AWS, which refuses x-amz- headers that a signature does not cover."""
    host = urlsplit(endpoint_url or "").hostname or ""
    return not endpoint_url or host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def takes_forms(endpoint_url: str | None) -> bool:
    """Whether the service behind ``endpoint_url`` is not known to lack POST policies."""
    return not (urlsplit(endpoint_url or "").hostname or "").endswith(_WITHOUT_FORMS)


def granted(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the object's parameters that are part of a grant."""
    if secrets := parameters.keys() & set(_SECRETS):
        raise ValueError(f"Nobody else can upload what is encrypted with a key of yours ({min(secrets)})")
    left_out = {*_ACCESS, *_OF_TERMS}
    return {
        name: value for name, value in parameters.items() if name not in left_out and not name.startswith("Checksum")
    }


def headers_of(client: Any, operation: str, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers with which a request of ``operation`` carries ``arguments``."""
    model = client.meta.service_model
    serializer = serialize.create_serializer(model.protocol, include_validation=False)
    headers = serializer.serialize_to_request(dict(arguments), model.operation_model(operation))["headers"]
    return {name: str(value) for name, value in headers.items()}


def said_of(answer: Mapping[str, str]) -> dict[str, str]:
    """Return those headers of the answer to a HEAD that the object has from its writer."""
    found = {name: value for name, value in answer.items() if name in _SAID or name.startswith(_METADATA)}
    if answer.get(_CLASS) in _CLASSES:
        found[_CLASS] = answer[_CLASS]
    return found


def said_by(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what said_of() gives for an object that was written with ``headers``."""
    return said_of({name.lower(): value for name, value in headers.items()})


def form_fields(headers: Mapping[str, str], terms: UploadTerms, *, checksums: bool) -> tuple[dict[str, str], list[Any]]:
    """Return the fields of a form and the conditions on what is no field."""
    fields = {**headers, "Content-Type": terms.content_type, "success_action_status": "204"}
    if checksums and terms.checksum:
        fields.update({"x-amz-checksum-algorithm": "SHA256", "x-amz-checksum-sha256": terms.checksum})
    return fields, [["content-length-range", terms.size, terms.size]]


def put_headers(headers: Mapping[str, str], terms: UploadTerms, *, once: bool, checksums: bool) -> dict[str, str]:
    """Return what a PUT has to carry."""
    headers = {**headers, "Content-Type": terms.content_type}
    if once:
        headers["If-None-Match"] = "*"
    if checksums and terms.checksum:
        headers["x-amz-checksum-sha256"] = terms.checksum
    return headers


def state_of(upload_id: str, *, checksums: bool) -> str:
    """Return what is to be remembered of a multipart upload."""
    return f"{_WITH_CHECKSUMS}{upload_id}" if checksums else upload_id


def read_state(state: str) -> tuple[str, bool]:
    """Return the id of a multipart upload, and whether its parts have checksums."""
    return state.removeprefix(_WITH_CHECKSUMS), state.startswith(_WITH_CHECKSUMS)


def received(listed: Iterable[Mapping[str, Any]]) -> list[Received]:
    """Return the parts that S3 lists."""
    return [Received(part["PartNumber"], part["Size"]) for part in listed]


def completed(
    listed: Iterable[Mapping[str, Any]], terms: UploadTerms, signed: Mapping[int, str], *, checksums: bool
) -> list[dict[str, Any]]:
    """Return the parts as they are to be completed; raise PartsMissing unless each is there, as it was signed.

    With ``checksums``, S3 wants to hear those of the parts again: what it lists, or what was ``signed`` where it lists
    none, as SeaweedFS.
    """
    found = {}
    for part in listed:
        number = part["PartNumber"]
        entry = {"PartNumber": number, "ETag": part["ETag"]}
        is_good = part["Size"] == terms.size_of(number)
        if checksums:
            known = part.get("ChecksumSHA256") or signed.get(number)
            entry["ChecksumSHA256"] = known
            is_good = is_good and known is not None and signed.get(number, known) == known
        if is_good:
            found[number] = entry
    wanted = range(1, terms.parts + 1)
    if missing := [number for number in wanted if number not in found]:
        raise PartsMissing(missing)
    return [found[number] for number in wanted]


def refused(answer: Mapping[str, Any], terms: UploadTerms) -> list[int]:
    """Return the parts that are not as they are said to be: all, where the service does not say which."""
    told = str(answer["Error"].get("PartNumber", ""))
    return [int(told)] if told.isdecimal() else list(range(1, terms.parts + 1))
