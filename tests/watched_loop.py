"""A decode loop whose logits are kept."""

import torch

from hfdistill.generation import DecodeLoop


def keep_logits(loop: DecodeLoop) -> dict[int, list[torch.Tensor]]:
    """The logits of each row by its tag, a vector a step, filled while the loop decodes."""
    decode, seen = loop.forward.decode, {}

    def noted(*arguments):
        logits = decode(*arguments)
        for row, line in zip(loop.rows, logits, strict=True):
            seen.setdefault(row.tag, []).append(line.clone())
        return logits

    loop.forward.decode = noted
    return seen
