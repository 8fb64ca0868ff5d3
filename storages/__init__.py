"""Django storages for object stores."""

__version__ = "1.0.0.dev0"
