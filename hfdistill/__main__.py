"""`python -m hfdistill` is the command `hfdistill`."""

from .cli import main


main()
