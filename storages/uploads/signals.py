"""What happened to uploads; the sender is the model, and every receiver is given ``upload``."""

from __future__ import annotations

from django.dispatch import Signal

# request. A row is there, and the client has what it needs to send the bytes.
upload_begun = Signal()

# request. All has been looked at, and a form can take the file.
upload_finished = Signal()

# A form took the file, and its transaction is committed.
upload_claimed = Signal()

# request, code (of the protocol). It was not what it was said to be, or not clean; the bytes are deleted.
upload_rejected = Signal()

# request. The client gave it up.
upload_aborted = Signal()
