"""The two people who can log in to the demo."""

from django.contrib.auth import get_user_model

PASSWORDS = {"ada": "first-programmer", "guest": "just-looking"}  # no secrets: the page on which they log in shows them


def make_users():
    """Create both of them."""
    for name, password in PASSWORDS.items():
        get_user_model().objects.create_user(name, password=password)
