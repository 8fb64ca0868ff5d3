"""The forms of the private pages."""

from django import forms
from django.template.defaultfilters import filesizeformat

from example.private.models import MAX_SIZE, Document

LONGEST_SHARE = 24 * 60  # minutes


class DocumentForm(forms.ModelForm):
    """Take one file of any type."""

    class Meta:
        model = Document
        fields = ["file"]
        error_messages = {
            "file": {
                "required": "Choose a file first.",
                "empty": "That file is empty. Choose another one.",
                "file_too_large": f"That file is larger than {filesizeformat(MAX_SIZE)}. Choose a smaller one.",
            },
        }


class ShareForm(forms.Form):
    """How long a link is to live."""

    minutes = forms.IntegerField(
        min_value=1,
        max_value=LONGEST_SHARE,
        initial=10,
        error_messages={
            "required": "Say how many minutes the link is to live.",
            "invalid": "Minutes are a whole number.",
            "min_value": "A link lives for a minute at least.",
            "max_value": f"A link lives for {LONGEST_SHARE:,} minutes at most, which is a day.",
        },
    )
