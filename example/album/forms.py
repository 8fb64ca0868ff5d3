"""The upload form."""

from pathlib import PurePath

from django import forms
from django.template.defaultfilters import filesizeformat

from example.album.models import Photo

# Up to one part of the storage, so that an upload is one request, sent by the thread whose bill is counted.
MAX_SIZE = 8 * 1024**2  # bytes
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")  # what every browser shows
READABLE_FORMATS = "JPEG, PNG, WebP or GIF"


class PhotoForm(forms.ModelForm):
    """Take one photo that a browser can show, of at most ``MAX_SIZE`` bytes."""

    class Meta:
        model = Photo
        fields = ["image", "title"]
        error_messages = {
            "image": {
                "required": f"Choose a photo first: {READABLE_FORMATS}.",
                "empty": "That file is empty. Choose another one.",
                "invalid_image": f"That file is not an image, or it is damaged. Choose a {READABLE_FORMATS} file.",
                "invalid_extension": f"That file does not look like an image. Choose a {READABLE_FORMATS} file.",
            },
        }

    def clean_image(self):
        upload = self.cleaned_data["image"]
        if upload.size > MAX_SIZE:
            raise forms.ValidationError(
                f"That photo is {filesizeformat(upload.size)}; the album takes up to {filesizeformat(MAX_SIZE)}. "
                "Choose a smaller one, or scale it down first."
            )
        if upload.image.format not in FORMATS:
            raise forms.ValidationError(
                f"Browsers do not show {upload.image.format} images. Choose a {READABLE_FORMATS} file."
            )
        return upload

    def clean(self):
        cleaned = super().clean()
        if "image" in cleaned and not cleaned.get("title"):
            stem = PurePath(cleaned["image"].name).stem
            cleaned["title"] = stem.replace("_", " ").replace("-", " ").strip()[:80]
        return cleaned
