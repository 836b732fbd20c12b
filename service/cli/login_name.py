"""The name of the person who runs a command."""

import getpass
import os


def login_name() -> str:
    """Return the login name, or the user id where the host knows no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
