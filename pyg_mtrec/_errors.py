"""The one exception that means: the user's input was wrong."""


class InputError(ValueError):
    r"""Bad input: one line that says what was wrong, what was found and what to do.

    The command line prints it and exits with 2; anything else that escapes is a fault of ours.
    """
