"""One PPO update of a small Llama, or of adapters in it, in a process of its own: prints what the process grew by, and
what was estimated.
"""

import json
import re
import sys
from pathlib import Path

import torch
from ppo_toy import copy_reward, make_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from hfdistill.encoding import Encoder
from hfdistill.ppo import PPOConfig, PPOTrainer
from hfdistill.runs.memory import PROCESS, CountedModel, Lengths, Spread, stage_need
from hfdistill.sections import AdapterConfig
from hfdistill.training.adapters import lora_config


PROMPT, RESPONSE, ROWS = "a b c d e f g h " * 4, 64, 12


def peak() -> int:
    # Not that of `resource`, which begins with the parent's.
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


def main() -> None:
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    before = peak()
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=6000,
            hidden_size=384,
            intermediate_size=1152,
            num_hidden_layers=5,
            num_attention_heads=6,
            num_key_value_heads=3,
            pad_token_id=0,
            eos_token_id=1,
            bos_token_id=2,
        )
    )
    options = PPOConfig(
        output_dir=sys.argv[1],
        rollout_batch_size=ROWS,
        per_device_train_batch_size=ROWS,
        total_episodes=ROWS,
        num_ppo_epochs=2,
        max_completion_length=RESPONSE,
        learning_rate=1e-6,
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
        activation_checkpointing="checkpointing" in sys.argv,
    )
    prompt = len(Encoder(tokenizer).prompt_ids(PROMPT))
    settings = {**vars(options), "rewards": ["vote"], "few_shot": False}
    settings |= {"moving_labels": "none", "yardstick": "labels", "all_yardsticks": False}
    peft = AdapterConfig(r=8) if "adapters" in sys.argv else None
    student = CountedModel(model.config, peft)
    need = stage_need("ppo", student, settings, Lengths(prompt, prompt, RESPONSE), Spread())
    rows, given = [{"prompt": PROMPT}] * ROWS, {"processing_class": tokenizer, "peft_config": lora_config(peft)}
    trainer = PPOTrainer(model, copy_reward, options, rows, **given)
    trainer.train()
    trainer.whole_policy()
    print(json.dumps({"grew": peak() - before, "estimated": need.memory - PROCESS}))


if __name__ == "__main__":
    main()
