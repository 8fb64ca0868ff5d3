"""The app with the model that is uploaded to."""
