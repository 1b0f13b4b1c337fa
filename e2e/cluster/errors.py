class Refusal(Exception):  # noqa: N818 - it is an answer to the user, not a fault of the program
    """What was asked for cannot be done here; the message says why and what to do, in whole sentences."""
