"""Ready-made private storages of services; reach them by ``storages.private.storage``."""
