"""For development and tests: S3's uploads by forms, without S3."""
