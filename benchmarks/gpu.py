"""One device, eight minutes: generation, the reward model and PPO of hfdistill beside TRL, on one GPU or at toy size.

    python benchmarks/gpu.py --trl_112 FOLDER      # pip install --no-deps --target FOLDER trl==1.12.0
    python benchmarks/gpu.py --toy                 # on a CPU, in two minutes: does it still work

It needs no network: models have the shapes of SmolLM2-135M and of Llama-3.2-1B and random weights, prompts are random,
and a byte-level tokenizer is made on the spot. No response ends early, so that all sides make the same tokens. PPO
trains four epochs on each rollout with a reward model and, except for the shared backbone, a value model of the
policy's shape; GRPO, which has no value model, makes 4 responses a prompt and one epoch. Whatever knows bf16 computes
in it, on weights in float32. Each measurement is a process of its own; one that fails, or takes too long, is said.
"""

import argparse
import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path


ROOT = Path(__file__).parents[1]
MINUTES = 8
SHAPES = {
    "smollm2-135m": {
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
    },
    "llama-3.2-1b": {
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "toy": {
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
}
PAD, EOS = 256, 257
# What is measured, in this order, and the seconds that each may take with the larger models.
SECONDS = {
    "generation: hfdistill": 40,
    "generation: transformers": 40,
    "reward model: hfdistill": 40,
    "PPO: hfdistill": 60,
    "PPO: hfdistill, shared backbone": 50,
    "PPO: trl 1.12": 120,
    "GRPO: trl 1.16": 60,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="tiny models and numbers, for a CPU")
    parser.add_argument("--trl_112", type=Path, metavar="FOLDER", help="where trl 1.12.0 was installed by --target")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--shape", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        args.out.write_text(json.dumps(measure(args.worker, args.shape, sizes(args.shape))))
        return
    started, rows = time.monotonic(), []
    print(describe_device(), flush=True)
    print(f"{'shape':14} {'what':32} {'tokens/s':>10} {'rows/s':>9} {'seconds':>8} {'peak GB':>8}", flush=True)
    for shape in ["toy"] if args.toy else ["smollm2-135m", "llama-3.2-1b"]:
        for worker, seconds in SECONDS.items():
            left = MINUTES * 60 - (time.monotonic() - started)
            row = {"shape": shape, "what": worker, **launch(worker, shape, args.trl_112, min(seconds * 2, left))}
            rows.append(row)
            print(line(row), flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2))


def describe_device() -> str:
    """The device, and the versions that ran on it."""
    import torch
    import transformers

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores, one thread"
    return f"{name}; torch {torch.__version__}, transformers {transformers.__version__}"


def sizes(shape: str) -> dict:
    """How much is measured."""
    if shape == "toy":
        return {"prompt": 8, "response": 16, "episodes": 16, "updates": 2, "rows": 8, "generated": 32, "triples": 32}
    return {"prompt": 100, "response": 300, "episodes": 40, "updates": 2, "rows": 8, "generated": 256, "triples": 64}


def launch(worker: str, shape: str, trl_112: Path | None, seconds: float) -> dict:
    """Run one measurement in a process of its own: its figures, or why there are none."""
    path = [str(ROOT)]
    if worker == "PPO: trl 1.12":
        if trl_112 is None or not (trl_112 / "trl").is_dir():
            return {"skipped": "trl 1.12.0 is not there: --trl_112 FOLDER"}
        path.insert(0, str(trl_112))
    elif importlib.util.find_spec("trl") is None:
        return {"skipped": "trl is not installed"}
    if seconds < 5:
        return {"skipped": f"the {MINUTES} minutes are over"}
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*path, os.environ.get("PYTHONPATH", "")]),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
        "TRL_EXPERIMENTAL_SILENCE": "1",
    }
    if shape == "toy":
        environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        command = [sys.executable, __file__, "--worker", worker, "--shape", shape, "--out", str(out)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, env=environment, timeout=seconds, cwd=folder
            )
        except subprocess.TimeoutExpired:
            return {"skipped": f"not done after {seconds:.0f} s"}
        if done.returncode:
            return {"skipped": (done.stderr.strip().splitlines() or ["no message"])[-1][:200]}
        return json.loads(out.read_text())


def line(row: dict) -> str:
    """A row of the table."""
    if "skipped" in row:
        return f"{row['shape']:14} {row['what']:32} {row['skipped']}"
    figures = f"{row['tokens_per_s']:10,.0f} {row['rows_per_s']:9,.2f} {row['seconds']:8.1f} {row['peak_gb']:8.2f}"
    return f"{row['shape']:14} {row['what']:32} {figures}"


def measure(worker: str, shape: str, size: dict) -> dict:
    """Prepare, take the time, and count."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    work, rows, tokens = PREPARE[worker](shape, size, device)
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    return {
        "rows_per_s": rows / seconds,
        "tokens_per_s": tokens / seconds,
        "seconds": seconds,
        "peak_gb": torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else resident_peak() / 1e9,
    }


def resident_peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# ---- What all sides share ----


def config_of(shape: str, **options):
    from transformers import LlamaConfig

    return LlamaConfig(
        **SHAPES[shape],
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=PAD,
        eos_token_id=EOS,
        bos_token_id=None,
        **options,
    )


def make_policy(shape: str):
    """A language model that hardly ever ends a response: one token of the whole vocabulary is the end."""
    import torch
    from transformers import LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(config_of(shape))


def make_scalar_model(shape: str):
    import torch
    from transformers import LlamaForSequenceClassification

    torch.manual_seed(1)
    return LlamaForSequenceClassification(config_of(shape, num_labels=1))


def make_tokenizer(shape: str):
    """256 bytes, two special tokens, and a name for every other id that a random model may draw."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    words |= {"<pad>": PAD, "<eos>": EOS}
    words |= {f"w{i}": i for i in range(len(words), SHAPES[shape]["vocab_size"])}
    core = Tokenizer(models.BPE(words, []))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>")


def make_prompts(count: int, length: int) -> list[str]:
    draw = random.Random(0)
    return ["".join(draw.choices("abcdefgh ijklmnop", k=length)) for _ in range(count)]


def training_options(size: dict, device: str, folder: str) -> dict:
    return {
        "output_dir": folder,
        "learning_rate": 1e-6,
        "per_device_train_batch_size": size["rows"],
        "bf16": device == "cuda",
        "use_cpu": device == "cpu",
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
        "report_to": "none",
    }


# ---- The measurements: each returns the work, and how many rows and tokens it is ----


def prepare_generation(shape: str, size: dict, device: str):
    from hfdistill.generation import Sampling, generate

    model, tokenizer = make_policy(shape).to(device).eval(), make_tokenizer(shape)
    prompts = tokenizer(make_prompts(size["generated"], size["prompt"]))["input_ids"]
    sampling = Sampling(max_new_tokens=size["response"], temperature=1.0, seed=0)

    def work():
        with autocast(device):
            generate(model, prompts, sampling, eos_token_id=EOS, pad_token_id=PAD)

    return work, len(prompts), len(prompts) * size["response"]


def prepare_transformers_generation(shape: str, size: dict, device: str):
    import torch

    model, tokenizer = make_policy(shape).to(device).eval(), make_tokenizer(shape)
    prompts = torch.tensor(tokenizer(make_prompts(size["generated"], size["prompt"]))["input_ids"], device=device)

    def work():
        with torch.no_grad(), autocast(device):
            model.generate(
                prompts,
                attention_mask=torch.ones_like(prompts),
                do_sample=True,
                top_k=0,
                max_new_tokens=size["response"],
                min_new_tokens=size["response"],
            )

    return work, len(prompts), len(prompts) * size["response"]


def autocast(device: str):
    import torch

    return torch.autocast(device, torch.bfloat16, enabled=device == "cuda")


def prepare_reward(shape: str, size: dict, device: str):
    """One epoch over triples, and then the score of each of their responses."""
    from hfdistill.encoding import Encoder
    from hfdistill.reward.batches import EncodedTriple
    from hfdistill.reward.config import RewardConfig
    from hfdistill.reward.model import RewardScorer, prepare_reward_model
    from hfdistill.reward.trainer import TripletTrainer

    model, tokenizer = prepare_reward_model(make_scalar_model(shape)), make_tokenizer(shape)
    ids = tokenizer(make_prompts(4 * size["triples"], size["response"]))["input_ids"]
    triples = [
        EncodedTriple(ids[i][: size["prompt"]], (ids[i + 1], ids[i + 2], ids[i + 3], None))
        for i in range(0, len(ids), 4)
    ]
    options = training_options(size, device, tempfile.mkdtemp()) | {"eval_strategy": "no", "num_train_epochs": 1}
    trainer = TripletTrainer(model, RewardConfig(**options), triples, [], tokenizer)
    sequences = [triple.prompt + response for triple in triples for response in triple.responses if response]

    def work():
        trainer.train()
        RewardScorer(model, Encoder(tokenizer)).score_ids(sequences)

    return work, len(sequences), sum(map(len, sequences))


def prepare_ppo(shape: str, size: dict, device: str, backbone: str = "separate"):
    from hfdistill.ppo import PPOConfig, PPOTrainer

    config = PPOConfig(
        **training_options(size, device, tempfile.mkdtemp()),
        rollout_batch_size=size["episodes"],
        total_episodes=size["episodes"] * size["updates"],
        max_completion_length=size["response"],
        value_backbone=backbone,
    )
    rows = [{"prompt": prompt} for prompt in make_prompts(size["episodes"], size["prompt"])]
    tokenizer, reward = make_tokenizer(shape), make_scalar_model(shape)
    trainer = PPOTrainer(make_policy(shape), reward, config, rows, processing_class=tokenizer)
    return trainer.train, *episodes(size)


def prepare_shared_ppo(shape: str, size: dict, device: str):
    return prepare_ppo(shape, size, device, "shared")


def episodes(size: dict) -> tuple[int, int]:
    """Episodes of a training, and the tokens of their responses."""
    count = size["episodes"] * size["updates"]
    return count, count * size["response"]


def prepare_trl_ppo(shape: str, size: dict, device: str):
    from datasets import Dataset
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    tokenizer = make_tokenizer(shape)
    tokenizer.padding_side = "left"
    config = PPOConfig(
        **training_options(size, device, tempfile.mkdtemp()),
        gradient_accumulation_steps=size["episodes"] // size["rows"],
        local_rollout_forward_batch_size=size["episodes"],
        num_ppo_epochs=4,
        num_mini_batches=1,
        response_length=size["response"],
        total_episodes=size["episodes"] * size["updates"],
        num_sample_generations=0,
        gradient_checkpointing=False,
    )
    prompts = make_prompts(size["episodes"], size["prompt"])
    trainer = PPOTrainer(
        args=config,
        processing_class=tokenizer,
        model=make_policy(shape),
        ref_model=make_policy(shape),
        reward_model=make_scalar_model(shape),
        value_model=make_scalar_model(shape),
        train_dataset=Dataset.from_dict({"input_ids": tokenizer(prompts)["input_ids"]}),
    )
    return trainer.train, *episodes(size)


def prepare_grpo(shape: str, size: dict, device: str):
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    config = GRPOConfig(
        **training_options(size, device, tempfile.mkdtemp()),
        gradient_accumulation_steps=size["episodes"] // size["rows"],
        num_generations=4,
        max_completion_length=size["response"],
        max_steps=size["updates"],
        beta=0.05,
        model_init_kwargs={"dtype": "float32"},
    )
    reward, tokenizer = make_scalar_model(shape), make_tokenizer(shape)
    tokenizer.padding_side = "left"
    # It loads its reference from where the policy came from.
    folder = tempfile.mkdtemp()
    make_policy(shape).save_pretrained(folder)
    trainer = GRPOTrainer(
        model=folder,
        reward_funcs=reward,
        args=config,
        train_dataset=Dataset.from_dict({"prompt": make_prompts(size["episodes"], size["prompt"])}),
        processing_class=tokenizer,
        reward_processing_classes=make_tokenizer(shape),
    )
    return trainer.train, *episodes(size)


PREPARE = dict(
    zip(
        SECONDS,
        (
            prepare_generation,
            prepare_transformers_generation,
            prepare_reward,
            prepare_ppo,
            prepare_shared_ppo,
            prepare_trl_ppo,
            prepare_grpo,
        ),
        strict=True,
    )
)


if __name__ == "__main__":
    main()
