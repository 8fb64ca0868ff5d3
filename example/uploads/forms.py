"""The form of the page with direct uploads."""

from django import forms
from django.template.defaultfilters import filesizeformat

from example.uploads.models import MAX_SIZE
from storages.uploads.forms import DirectUploadFormField

MOST = 5  # files at once


class ParcelForm(forms.Form):
    """Take some files, with a note that goes with all of them."""

    file = DirectUploadFormField(
        field="uploads.Parcel.file",
        multiple=True,
        max_files=MOST,
        error_messages={
            "required": "Choose a file first.",
            "empty": "That file is empty. Choose another one.",
            "file_too_large": f"That file is larger than {filesizeformat(MAX_SIZE)}. Choose a smaller one.",
        },
    )
    note = forms.CharField(max_length=80, error_messages={"required": "Say what it is. The files are kept meanwhile."})
