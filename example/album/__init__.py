"""The one app of the demo site."""
