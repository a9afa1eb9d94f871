"""An update that takes the same examples on any number of processes."""

from transformers import TrainingArguments

from ..errors import HFDistillError
from ..fields import check_positive


def divide_global_batch(section: str, args: TrainingArguments) -> None:
    """Work out batch and accumulation of a process from `global_batch_size`, where that is set.

    A process's share of the update is cut into the fewest equal passes of at most `per_device_train_batch_size`
    examples.

    Args:
        section (`str`): where the settings stand in a configuration, for errors.
        args (`TrainingArguments`): with a field `global_batch_size`; `per_device_train_batch_size` and
            `gradient_accumulation_steps` are set.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the processes cannot share the update equally, or something else says
            what a process takes.
    """
    total, processes = args.global_batch_size, args.world_size
    if total is None:
        return
    check_positive(f"{section}.", args, "global_batch_size", "per_device_train_batch_size")
    if args.gradient_accumulation_steps != 1:
        raise HFDistillError(
            f"{section}.gradient_accumulation_steps is {args.gradient_accumulation_steps} beside "
            f"{section}.global_batch_size, from which it is worked out: leave one of them out"
        )
    if args.deepspeed:
        raise HFDistillError(
            f"{section}.deepspeed reads the batch before {section}.global_batch_size divides it: leave it out, and "
            "start by `accelerate launch --config_file recipes/accelerate/zero2.yaml`"
        )
    if total % processes:
        raise HFDistillError(
            f"{section}.global_batch_size is {total}, which {processes} processes cannot share equally: start as many "
            f"as divide it, or set it to {max(total // processes, 1) * processes}"
        )
    share = total // processes
    most = min(share, args.per_device_train_batch_size)
    args.per_device_train_batch_size = next(rows for rows in range(most, 0, -1) if share % rows == 0)
    args.gradient_accumulation_steps = share // args.per_device_train_batch_size


def check_one_gpu(args: TrainingArguments) -> None:
    """Refuse a process that sees several GPUs: it would multiply its batch by their number."""
    if args.n_gpu > 1:
        raise HFDistillError(f"{args.n_gpu} GPUs are visible to one process: start it by `accelerate launch`")
