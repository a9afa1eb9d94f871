"""PPO beside the last PPOTrainer that TRL shipped (1.12.0): episodes a CPU second, peak memory, learning curves.

    python benchmarks/ppo_vs_trl.py --peer ENV/bin/python [--episodes 1024] [--picture ppo_vs_trl.png]

The peer lives in an environment of its own: python -m venv ENV && ENV/bin/pip install trl==1.12.0 torch==2.13.0

Both train the same policy against the same reward model with the same value model, prompts, seed and options: word
problems, a Llama of 2 layers made on the spot, 64 episodes an update, 4 PPO epochs of one mini-batch, at most 64 new
tokens at temperature 1. Each side is a process with one thread. Times are CPU seconds of `train()`, so that other work
on the machine counts little; memory is what the process grew by while it trained.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


ROOT = Path(__file__).parents[1]
OPTIONS = {
    "learning_rate": 3e-4,
    "adam_epsilon": 1e-5,
    "num_ppo_epochs": 4,
    "num_mini_batches": 1,
    "kl_coef": 0.05,
    "vf_coef": 0.1,
    "temperature": 1.0,
    "seed": 0,
    "bf16": False,
    "use_cpu": True,
    "save_strategy": "no",
    "logging_steps": 1,
    "disable_tqdm": True,
    "report_to": "none",
}
EPISODES_AN_UPDATE, PASS, NEW_TOKENS = 64, 16, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", help="Python of an environment with trl 1.12.0; without it only our side runs")
    parser.add_argument("--episodes", type=int, default=1024)
    parser.add_argument("--solutions", type=int, default=6000, help="corpus that the policy is made from")
    parser.add_argument("--picture", default="ppo_vs_trl.png")
    parser.add_argument("--worker", choices=["ours", "shared", "trl"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        run_worker(args)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder, args.solutions)
        sides = {"ours": sys.executable, "shared": sys.executable, **({"trl": args.peer} if args.peer else {})}
        results = {side: launch(side, python, folder, args.episodes) for side, python in sides.items()}
    report(results)
    draw(results, Path(args.picture))


def prepare(folder: Path, solutions: int) -> None:
    """Make the policy, an untrained reward model on its backbone, and the prompts."""
    sys.path.insert(0, str(ROOT))
    from itertools import islice

    from hfdistill.demo.models import Recipe, train
    from hfdistill.reward.model import initialise_reward_model
    from hfdistill.tasks.word_problems import bare_prompt, problems

    train(Recipe(layers=2, hidden=64, solutions=solutions), 0, folder / "policy", "policy")
    pad = json.loads((folder / "policy/config.json").read_text())["pad_token_id"]
    initialise_reward_model(str(folder / "policy"), pad).save_pretrained(folder / "reward")
    prompts = [bare_prompt(problem.text) for problem in islice(problems(1, "train"), 2000)]
    (folder / "prompts.json").write_text(json.dumps(prompts))


def launch(side: str, python: str, folder: Path, episodes: int) -> dict:
    """Run one side in a process of its own."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
        "TRL_EXPERIMENTAL_SILENCE": "1",
    }
    command = [python, __file__, "--worker", side, "--folder", str(folder), "--episodes", str(episodes)]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return json.loads((folder / f"{side}.json").read_text())


def run_worker(args: argparse.Namespace) -> None:
    """Train, and write what it took."""
    import torch

    torch.set_num_threads(1)
    trainer = (make_trl if args.worker == "trl" else make_ours)(args)
    before, started = peak_megabytes(), time.process_time()
    trainer.train()
    seconds = time.process_time() - started
    log = [
        {"episodes": entry["episode"], "score": entry["objective/scores"], "kl": entry["objective/kl"]}
        for entry in trainer.state.log_history
        if "objective/scores" in entry
    ]
    result = {"seconds": seconds, "episodes": args.episodes, "megabytes": peak_megabytes() - before, "log": log}
    (args.folder / f"{args.worker}.json").write_text(json.dumps(result))


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def load(folder: Path):
    """Policy, reference, reward model, value model, tokenizer and prompts."""
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    policies = [AutoModelForCausalLM.from_pretrained(folder / "policy") for _ in range(2)]
    scalars = [AutoModelForSequenceClassification.from_pretrained(folder / "reward") for _ in range(2)]
    prompts = json.loads((folder / "prompts.json").read_text())
    return *policies, *scalars, AutoTokenizer.from_pretrained(folder / "policy"), prompts


def make_ours(args: argparse.Namespace):
    sys.path.insert(0, str(ROOT))
    from hfdistill.ppo import PPOConfig, PPOTrainer

    policy, reference, reward, value, tokenizer, prompts = load(args.folder)
    config = PPOConfig(
        output_dir=str(args.folder / args.worker),
        rollout_batch_size=EPISODES_AN_UPDATE,
        per_device_train_batch_size=PASS,
        max_completion_length=NEW_TOKENS,
        total_episodes=args.episodes,
        value_backbone="shared" if args.worker == "shared" else "separate",
        **OPTIONS,
    )
    rows = [{"prompt": prompt} for prompt in prompts]
    return PPOTrainer(policy, reward, config, rows, processing_class=tokenizer, value_model=value, ref_model=reference)


def make_trl(args: argparse.Namespace):
    from datasets import Dataset
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    policy, reference, reward, value, tokenizer, prompts = load(args.folder)
    tokenizer.padding_side = "left"
    config = PPOConfig(
        output_dir=str(args.folder / args.worker),
        per_device_train_batch_size=PASS,
        gradient_accumulation_steps=EPISODES_AN_UPDATE // PASS,
        local_rollout_forward_batch_size=EPISODES_AN_UPDATE,
        response_length=NEW_TOKENS,
        total_episodes=args.episodes,
        stop_token="eos",
        num_sample_generations=0,
        gradient_checkpointing=False,
        **OPTIONS,
    )
    rows = Dataset.from_dict({"input_ids": [tokenizer(prompt)["input_ids"] for prompt in prompts]})
    return PPOTrainer(
        args=config,
        processing_class=tokenizer,
        model=policy,
        ref_model=reference,
        reward_model=reward,
        value_model=value,
        train_dataset=rows,
    )


def report(results: dict[str, dict]) -> None:
    """Print a row a side, and the ratios to TRL."""
    names = {"ours": "hfdistill", "shared": "hfdistill, shared backbone", "trl": "trl 1.12.0"}
    base = results.get("trl")
    print(f"{'':28} {'episodes/CPU s':>15} {'ratio':>6} {'grew by MB':>11} {'ratio':>6} {'score, first and last':>24}")
    for side, result in results.items():
        speed, memory = result["episodes"] / result["seconds"], result["megabytes"]
        ratio = f"{speed / (base['episodes'] / base['seconds']):.2f}" if base else ""
        share = f"{memory / base['megabytes']:.2f}" if base else ""
        first, last = (mean(result["log"][part]) for part in (slice(0, 2), slice(-3, None)))
        print(f"{names[side]:28} {speed:15.2f} {ratio:>6} {memory:11.0f} {share:>6} {first:12.3f} {last:11.3f}")


def mean(log: list[dict]) -> float:
    return sum(entry["score"] for entry in log) / len(log)


def draw(results: dict[str, dict], path: Path) -> None:
    """Scores against episodes and against time."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, by in zip(figure.subplots(1, 2), ("episodes", "CPU seconds"), strict=True):
        for side, result in results.items():
            scale = 1 if by == "episodes" else result["seconds"] / result["episodes"]
            axes.plot(
                [entry["episodes"] * scale for entry in result["log"]],
                [entry["score"] for entry in result["log"]],
                label=side,
            )
        axes.set_xlabel(by)
        axes.set_ylabel("score of the reward model")
        axes.legend(frameon=False)
    figure.savefig(path, dpi=150, metadata={"Software": None})


if __name__ == "__main__":
    main()
