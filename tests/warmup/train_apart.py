"""Warm a student up and store its log and weights: test_processes.py runs this in one and in two processes."""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from hfdistill.errors import exit_on_user_error
from hfdistill.sections import AdapterConfig
from hfdistill.student import load_encoder
from hfdistill.training.adapters import add_adapter, lora_config
from hfdistill.training.saving import save_trained
from hfdistill.warmup.config import WarmupConfig
from tests.launch import cpu_options
from tests.warmup.test_trainer import make


@exit_on_user_error
def main(student: str, out: str, adapter: str, resume: str | None = None) -> None:
    options = cpu_options()
    args = WarmupConfig(
        output_dir=f"{out}/checkpoints",
        # Of 64 examples: no whole number of updates an epoch.
        global_batch_size=12,
        per_device_train_batch_size=4,
        num_train_epochs=2,
        learning_rate=1e-2,
        logging_steps=1,
        eval_steps=4,
        eval_strategy="steps",
        save_steps=4,
        save_strategy="steps",
        save_total_limit=None,
        bf16=False,
        disable_tqdm=True,
        **options,
    )
    encoder = load_encoder(student)
    model = AutoModelForCausalLM.from_pretrained(student, dtype=torch.float32)
    if adapter == "lora":
        model = add_adapter(model, lora_config(AdapterConfig(r=4)), seed=0)
    trainer = make(model, args, encoder)
    trainer.train(resume_from_checkpoint=resume)
    save_trained(trainer, f"{out}/final")
    if trainer.is_world_process_zero():
        log = [{k: v for k, v in entry.items() if k in LOGGED} for entry in trainer.state.log_history]
        log.append({"best_step": trainer.state.best_global_step, "processes": args.world_size})
        Path(out, "log.json").write_text(json.dumps(log))


LOGGED = ("loss", "grad_norm", "learning_rate", "eval_accuracy", "eval_no_answer", "eval_tokens", "step")


if __name__ == "__main__":
    main(*sys.argv[1:])
