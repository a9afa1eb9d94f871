"""How models are loaded to be trained, and in which precision they compute."""

import torch
from transformers import TrainingArguments
from transformers.integrations import unset_hf_deepspeed_config


# The dtype of weights that are trained, whatever their file holds: steps of 1e-5 of a weight are lost in bf16. Mixed
# precision computes in bf16 and keeps the weights in fp32.
TRAINED = "float32"


def settle_bf16(args: TrainingArguments) -> None:
    """Compute in bf16 where the GPU knows it, unless it was said."""
    if args.bf16 is None:
        args.bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported() and not args.use_cpu


def load_whole() -> None:
    """Let every process load whole models under ZeRO-3, too; a trainer shards what it trains.

    `transformers` shards each model that is loaded after training arguments were made, those that are only read
    included, and does not heed accelerate's `zero3_init_flag: false`.
    """
    unset_hf_deepspeed_config()
