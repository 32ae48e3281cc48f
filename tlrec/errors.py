"""The one exception that means: the user's input is wrong, and the message says how to mend it."""


class InputError(Exception):
    """One line that names the file, the record and the cure. Scripts print it and exit with code 2."""
