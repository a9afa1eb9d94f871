"""The command that publishes a run on another Hub."""


def promote(source, target, *words: str, **more: str) -> str:
    """Promote the run, and return what was said."""
    done = source.command("hub", "promote", "local/demo", "--to", target.endpoint, *words, **more)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
