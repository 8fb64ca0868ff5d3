"""Count what the requests of one upload made this site send, between begin and finish."""

from django.db.models import F

from example.uploads.models import Spent
from storages.uploads.signals import upload_begun, upload_finished


def watch():
    """Count from now on."""
    for signal in (upload_begun, upload_finished):
        signal.connect(_note, dispatch_uid="demo-spending")


def _note(upload, request, **_):
    bill = request.bill
    Spent.objects.get_or_create(pk=upload.pk)
    Spent.objects.filter(pk=upload.pk).update(requests=F("requests") + bill.requests, sent=F("sent") + bill.sent)
