"""Errors that a user can act on. Everything else is a bug and deserves its traceback."""

import difflib
import errno
import os
import sys
import time
from collections.abc import Callable, Iterable


# How the system says that there is no room: a full disk, a user's quota, a limit on a file's size.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class HFDistillError(Exception):
    """A mistake in a command, a configuration or a service, told in one sentence.

    The message names the thing, the value and the way out. The command line and the recipes print it without a
    traceback and end with exit status 2.
    """


def unknown(kind: str, name: str, known: Iterable[str]) -> HFDistillError:
    """Build the error for a name that does not exist.

    Args:
        kind (`str`): what the name stands for, for example `"task"`.
        name (`str`): the name that was given.
        known (`Iterable[str]`): every name that would have been accepted.

    Returns:
        [`HFDistillError`]: with the nearest known name, if any is near, and the list of all.
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    suggestion = f", did you mean {near[0]!r}?" if near else "."
    return HFDistillError(f"unknown {kind} {name!r}{suggestion} Known: {', '.join(known) or 'none'}")


def exit_on_user_error(main: Callable[..., int | None]) -> Callable[..., None]:
    """Decorate an entry point: a [`HFDistillError`], a full disk, or an output that nobody reads any
    more becomes one line and exit status 2, Ctrl-C status 130.
    """

    def wrapped(*args, **kwargs) -> None:
        try:
            status = main(*args, **kwargs) or 0
            sys.stdout.flush()
            _settle_process_group()
            sys.exit(status)
        except HFDistillError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        except OSError as error:
            if error.errno == errno.EPIPE and _output_is_closed():
                print("error: whoever read the output closed it before its end", file=sys.stderr)
                sys.exit(2)
            if error.errno not in NO_ROOM:
                raise
            place = error.filename or "what comes next"
            print(f"error: {place} cannot be written: {error.strerror}. Make room, and start again", file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            print("interrupted; the same command goes on from here", file=sys.stderr)
            sys.exit(130)

    return wrapped


def _output_is_closed() -> bool:
    """Whether nobody reads standard output any more; what is still to be written then goes nowhere."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _settle_process_group() -> None:
    """Let the threads of a process group drop the tensors of its last collective.

    gloo's need the interpreter for that: one that ends meanwhile aborts the process, and its launcher the others.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        time.sleep(1)
