"""Who may see which private file; PRIVATE_STORAGE_AUTH_FUNCTION names it."""

from storages.private.permissions import allow_owner

# The first directory below documents/ is the owner's number, see Document.file.
owner = allow_owner(path="documents/{pk}/")
