"""Who may see a private file: functions of a PrivateFile."""

from __future__ import annotations

from storages.private.models import PrivateFile


def allow_superuser(private_file: PrivateFile) -> bool:
    """Whether an active superuser asks; the default."""
    user = getattr(private_file.request, "user", None)
    return bool(user is not None and user.is_active and user.is_superuser)
