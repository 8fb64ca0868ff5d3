"""Direct uploads: a browser sends a file straight to the storage, and the form gets a token that proves it."""
