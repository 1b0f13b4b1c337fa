class Refusal(Exception):
    """What was asked for cannot be done here; the message says why and what to do, in whole sentences."""
