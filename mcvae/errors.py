"""The one exception that is meant for the user's eyes: a sentence, never a traceback."""


class UserError(ValueError):
    """Bad input, said in one sentence: what was given, what is allowed, and where."""
