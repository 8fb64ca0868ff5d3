"""Static files under names that carry a hash of the content, in services whose packages have no such class."""

from django.contrib.staticfiles.storage import ManifestFilesMixin

from storages.backends.azure_storage import AzureStorage
from storages.backends.gcloud import GoogleCloudStorage


class ManifestAzureStorage(ManifestFilesMixin, AzureStorage):
    """Static files in a public container: what expires would have no place in a style sheet."""


class ManifestGoogleCloudStorage(ManifestFilesMixin, GoogleCloudStorage):
    """Static files in a public bucket."""
