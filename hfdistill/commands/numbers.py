"""Numbers on a command line that are refused where they make no sense."""

import argparse


def positive(value: str) -> int:
    """A whole number from 1 on."""
    return whole(value, least=1)


def whole(value: str, least: int = 0) -> int:
    """A whole number from `least` on."""
    number = int(value)
    if number < least:
        raise argparse.ArgumentTypeError(f"{value} is below {least}")
    return number
