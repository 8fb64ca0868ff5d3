"""What happened to private files."""

from __future__ import annotations

from django.dispatch import Signal

# sender: the view's class; private_file, request. Once per download, however many ranges it takes.
file_served = Signal()

# sender: the view's class; private_file, request.
file_denied = Signal()
