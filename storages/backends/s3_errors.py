"""What the errors of S3 and of botocore mean, and what to do about them."""

from __future__ import annotations

import email.utils
import time
from typing import Any

from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation

from storages.errors import meaning_by_name
from storages.optional import OptionalModule

exceptions = OptionalModule("botocore.exceptions", "s3")

SKEW = 15 * 60  # seconds that S3 lets a request's time differ from its own

# Error codes of S3, and the status where a HEAD has no code, to what they mean.
# docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_MEANINGS: dict[str, type[Exception]] = {
    **dict.fromkeys(("404", "NoSuchKey", "NoSuchUpload", "NotFound", "NoSuchVersion"), FileNotFoundError),
    **dict.fromkeys(("412", "PreconditionFailed", "ConditionalRequestConflict"), FileExistsError),
    **dict.fromkeys(
        (
            *("400", "401", "403", "AccessDenied", "AccountProblem", "AllAccessDisabled", "ExpiredToken"),
            *("ExpiredTokenException", "Forbidden", "InvalidAccessKeyId", "InvalidToken", "RequestTimeTooSkewed"),
            *("SignatureDoesNotMatch", "TokenRefreshRequired", "Unauthorized"),
        ),
        PermissionError,
    ),
    **dict.fromkeys(
        (
            *("301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "InvalidBucketName"),
            *("NoSuchBucket", "PermanentRedirect"),
        ),
        ImproperlyConfigured,
    ),
    **dict.fromkeys(("QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull"), OSError),
    "KeyTooLongError": SuspiciousFileOperation,
    "NotImplemented": NotImplementedError,
}

# botocore's own errors.
_CLIENT_MEANINGS: dict[str, type[Exception]] = {
    **dict.fromkeys(("ConnectTimeoutError", "EndpointConnectionError", "ProxyConnectionError"), ConnectionError),
    **dict.fromkeys(("ConnectionClosedError", "HTTPClientError", "IncompleteReadError", "SSLError"), ConnectionError),
    "ResponseStreamingError": ConnectionError,
    "ReadTimeoutError": TimeoutError,
    **dict.fromkeys(
        ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "NoRegionError", "InvalidRegionError"),
        ImproperlyConfigured,
    ),
}

# What a request needs, as it is written in a policy.
_PERMISSIONS = {
    "HeadObject": "s3:GetObject, and s3:ListBucket: without it S3 answers 403 for an object that does not exist",
    "GetObject": "s3:GetObject, and s3:ListBucket: without it S3 answers 403 for an object that does not exist",
    "PutObject": "s3:PutObject (and s3:PutObjectAcl where an ACL is sent)",
    "CreateMultipartUpload": "s3:PutObject (and s3:PutObjectAcl where an ACL is sent)",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "ListParts": "s3:ListMultipartUploadParts",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "CopyObject": "s3:GetObject for the source and s3:PutObject for the target",
    "DeleteObject": "s3:DeleteObject",
    "DeleteObjects": "s3:DeleteObject",
    "ListObjectsV2": "s3:ListBucket",
}

# Error codes that name their own remedy.
_REMEDIES = {
    "NoSuchBucket": "the bucket {bucket!r} does not exist at {endpoint}: create it, or correct 'bucket_name' "
    "(AWS_STORAGE_BUCKET_NAME)",
    "InvalidBucketName": "{bucket!r} is no name of a bucket: correct 'bucket_name' (AWS_STORAGE_BUCKET_NAME)",
    "InvalidAccessKeyId": "the service does not know this access key: correct 'access_key' (AWS_S3_ACCESS_KEY_ID), or "
    "'endpoint_url' (AWS_S3_ENDPOINT_URL) if the key is another service's",
    "SignatureDoesNotMatch": "the secret key does not belong to the access key: correct 'secret_key' "
    "(AWS_S3_SECRET_ACCESS_KEY); if it does, something between here and the service changes requests",
    "RequestTimeTooSkewed": "this machine's clock is off: set it",
    "400": "S3 does not say why it refuses a HEAD: the credentials may have expired, or the region may be wrong; "
    "renew 'security_token' (AWS_SESSION_TOKEN) or correct 'region_name' (AWS_S3_REGION_NAME)",
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"),
        "the temporary credentials have expired: renew 'security_token' (AWS_SESSION_TOKEN) with its two keys, or "
        "leave all three out so that boto3 refreshes what the machine provides",
    ),
    **dict.fromkeys(
        ("301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"),
        "the bucket {bucket!r} is not in this region: set 'region_name' (AWS_S3_REGION_NAME) to {region}",
    ),
}


def meaning_of(error: BaseException) -> type[Exception] | None:
    """Return the class that says what ``error`` means, or None where it speaks for itself."""
    if isinstance(error, exceptions.ClientError):
        return _MEANINGS.get(code_of(error))
    return meaning_by_name(error, _CLIENT_MEANINGS) if isinstance(error, exceptions.BotoCoreError) else None


def advice_on(error: Any, kind: type[Exception], bucket: str, endpoint: str) -> str:
    """Return what happened and what to do next, for an error that means ``kind``."""
    code = code_of(error)
    if code in _REMEDIES:
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        region = error.response["Error"].get("Region") or headers.get("x-amz-bucket-region") or "the bucket's"
        return f"{error}: {_REMEDIES[code].format(bucket=bucket, region=region, endpoint=endpoint)}"
    if kind is OSError:  # Ceph and MinIO have quotas
        return f"{error}. There is no room left for the bucket {bucket!r}: remove something, or have its quota raised"
    if code == "NoSuchUpload":
        return f"There is no such upload in the bucket {bucket!r}: it was completed, or aborted"
    if kind is FileNotFoundError:
        return f"There is no such object in the bucket {bucket!r}"
    if kind is FileExistsError:
        return f"There is such an object already in the bucket {bucket!r}"
    if kind is PermissionError and (hint := _hint_of_clock(error)):
        return f"{error}. {hint}"
    if kind is PermissionError:
        needs = _PERMISSIONS.get(getattr(error, "operation_name", ""), "the permission for this request")
        return f"{error}. The credentials may lack {needs}"
    if kind in (ConnectionError, TimeoutError):
        return f"{error}. Check 'endpoint_url' (AWS_S3_ENDPOINT_URL), the network and the service"
    if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
        return (
            f"{error}: set option 'access_key' (Django setting AWS_S3_ACCESS_KEY_ID or AWS_ACCESS_KEY_ID) and option "
            "'secret_key' (AWS_S3_SECRET_ACCESS_KEY or AWS_SECRET_ACCESS_KEY), or a profile"
        )
    return str(error)


def _hint_of_clock(error: Any) -> str:
    """Return what to do where the answer is from a time at which the request is none of now; a HEAD says no more."""
    headers = getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        off = time.time() - email.utils.parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return ""
    side = "ahead of" if off > 0 else "behind"
    return f"This machine's clock is {abs(off):.0f} seconds {side} the service's: set it" if abs(off) > SKEW else ""


def code_of(error: Any) -> str:
    """Return the error code of an answer, of a HEAD its status, or nothing where there was no answer."""
    response = getattr(error, "response", None) or {}  # None on a timeout
    return str(response.get("Error", {}).get("Code", ""))
