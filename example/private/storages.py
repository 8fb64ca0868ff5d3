"""The album's servers, each made private: a URL is that of the view, which asks who wants the file."""

from storages.backends.azure_storage import AzureStorage
from storages.backends.b2 import B2Storage
from storages.backends.ftp import FTPStorage
from storages.backends.gcloud import GoogleCloudStorage
from storages.backends.s3 import S3Storage
from storages.backends.sftpstorage import SFTPStorage
from storages.private.storage import PrivateStorageMixin


class PrivateS3(PrivateStorageMixin, S3Storage):
    """In a bucket."""


class PrivateAzure(PrivateStorageMixin, AzureStorage):
    """In a container."""


class PrivateGoogleCloud(PrivateStorageMixin, GoogleCloudStorage):
    """In a bucket."""


class PrivateB2(PrivateStorageMixin, B2Storage):
    """In a bucket."""


class PrivateSFTP(PrivateStorageMixin, SFTPStorage):
    """In a directory of an SSH server."""


class PrivateFTP(PrivateStorageMixin, FTPStorage):
    """In a directory of an FTP server."""
