"""Private files in Azure Blob Storage."""

from __future__ import annotations

from storages.backends.azure_storage import AzureStorage
from storages.private.storage import PrivateStorageMixin


class PrivateAzureStorage(PrivateStorageMixin, AzureStorage):  # type: ignore[misc]
    """The account of the AZURE_* settings, with a container of its own."""

    azure_container = AzureStorage.azure_container.named("AZURE_PRIVATE_CONTAINER")
