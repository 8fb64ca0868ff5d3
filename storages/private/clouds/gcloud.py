"""Private files in Google Cloud Storage."""

from __future__ import annotations

from storages.backends.gcloud import GoogleCloudStorage
from storages.private.storage import PrivateStorageMixin


class PrivateGoogleCloudStorage(PrivateStorageMixin, GoogleCloudStorage):
    """The project of the GS_* settings, with a bucket of its own, in which nothing is public."""

    bucket_name = GoogleCloudStorage.bucket_name.named("GS_PRIVATE_BUCKET_NAME")
    default_acl = GoogleCloudStorage.default_acl.named()
    file_overwrite = GoogleCloudStorage.file_overwrite.named(default=False)
    querystring_auth = GoogleCloudStorage.querystring_auth.named()
