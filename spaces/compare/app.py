"""Teacher and distilled students side by side. What is shown stands in space.json, or in the variable RUN."""

from pathlib import Path

from hfdistill.space.app import main


if __name__ == "__main__":
    main(Path(__file__).with_name("space.json"))
