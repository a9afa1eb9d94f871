"""How models are loaded to be trained, and in which precision they compute."""

import torch
from transformers import TrainingArguments
from transformers.integrations import unset_hf_deepspeed_config


# The dtype of weights that are trained, whatever their file holds: steps of 1e-5 of a weight are lost in bf16. Mixed
# precision computes in bf16 and keeps the weights in fp32.
TRAINED = "float32"


def settle_bf16(args: TrainingArguments) -> None:
    """Compute in bf16 where the processor is fast at it, unless it was said: on GPUs that know it, and on CPUs with
    instructions for it (AVX512-BF16, AMX). Others do without: there it is many times slower than fp32.
    """
    on_cpu = args.use_cpu or not torch.accelerator.is_available()
    if args.bf16 is None:
        fast = _cpu_multiplies_bf16() if on_cpu else torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        args.bf16 = fast and not args.fp16
    # Without it, `transformers` takes bf16 for a GPU's.
    args.use_cpu = args.use_cpu or (on_cpu and args.bf16)


def _cpu_multiplies_bf16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def load_whole() -> None:
    """Let every process load whole models under ZeRO-3, too; a trainer shards what it trains.

    `transformers` shards each model that is loaded after training arguments were made, those that are only read
    included, and does not heed accelerate's `zero3_init_flag: false`.
    """
    unset_hf_deepspeed_config()
