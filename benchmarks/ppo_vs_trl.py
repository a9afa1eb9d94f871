"""PPO beside the last PPOTrainer that TRL shipped (1.12.0): episodes a CPU second, peak memory, learning curves.

    python benchmarks/ppo_vs_trl.py --peer ENV/bin/python [--episodes 2048] [--seeds 3] [--picture ppo_vs_trl.png]

The peer lives in an environment of its own: python -m venv ENV && ENV/bin/pip install trl==1.12.0 torch==2.13.0

Both train the same policy against the same reward model with the same value model, prompts, seeds and options: word
problems, a Llama made on the spot (2 layers, 64 wide), 64 episodes an update, 4 PPO epochs of one mini-batch, at most
64 new tokens at temperature 1, forward passes of the same number of rows. Each run is a process with one thread. Times
are CPU seconds of `train()`, so that other work on the machine counts little; memory is what the process grew by while
it trained.
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
    "use_cpu": True,
    "save_strategy": "no",
    "logging_steps": 1,
    "disable_tqdm": True,
    "report_to": "none",
}
EPISODES_AN_UPDATE, NEW_TOKENS = 64, 64
NAMES = {"ours": "hfdistill", "shared": "hfdistill, shared backbone", "trl": "trl 1.12.0"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", help="Python of an environment with trl 1.12.0; without it only our side runs")
    parser.add_argument("--episodes", type=int, default=2048)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=64, help="rows of a forward pass in training, on both sides")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--solutions", type=int, default=6000, help="corpus that the policy is made from")
    parser.add_argument("--bf16", action="store_true", help="both sides under autocast")
    parser.add_argument("--picture", default="ppo_vs_trl.png")
    parser.add_argument("--worker", choices=["ours", "shared", "trl"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        run_worker(args)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder, args)
        sides = {"ours": sys.executable, "shared": sys.executable, **({"trl": args.peer} if args.peer else {})}
        results = {side: [] for side in sides}
        for seed in range(args.seeds):
            for side, python in sides.items():
                results[side].append(launch(side, python, folder, args, seed))
    report(results)
    draw(results, Path(args.picture))


def prepare(folder: Path, args: argparse.Namespace) -> None:
    """Make the policy, an untrained reward model on its backbone, and the prompts."""
    sys.path.insert(0, str(ROOT))
    from itertools import islice

    import torch

    from hfdistill.demo.models import Recipe, train
    from hfdistill.reward.model import initialise_reward_model
    from hfdistill.tasks.word_problems import bare_prompt, problems

    recipe = Recipe(layers=args.layers, hidden=args.hidden, solutions=args.solutions)
    train(recipe, 0, folder / "policy", "policy")
    pad = json.loads((folder / "policy/config.json").read_text())["pad_token_id"]
    reward_model = initialise_reward_model(str(folder / "policy"), pad)
    torch.nn.init.normal_(reward_model.score.weight, std=(args.hidden + 1) ** -0.5)
    reward_model.save_pretrained(folder / "reward")
    prompts = [bare_prompt(problem.text) for problem in islice(problems(1, "train"), 2000)]
    (folder / "prompts.json").write_text(json.dumps(prompts))


def launch(side: str, python: str, folder: Path, args: argparse.Namespace, seed: int) -> dict:
    """Run one side in a process of its own."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
        "TRL_EXPERIMENTAL_SILENCE": "1",
    }
    options = {"worker": side, "folder": folder, "episodes": args.episodes, "rows": args.rows, "seed": seed}
    command = [python, __file__, *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
    command += ["--bf16"] * args.bf16
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
        per_device_train_batch_size=args.rows,
        seed=args.seed,
        max_completion_length=NEW_TOKENS,
        total_episodes=args.episodes,
        value_backbone="shared" if args.worker == "shared" else "separate",
        bf16=args.bf16,
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
        per_device_train_batch_size=args.rows,
        seed=args.seed,
        gradient_accumulation_steps=EPISODES_AN_UPDATE // args.rows,
        local_rollout_forward_batch_size=EPISODES_AN_UPDATE,
        response_length=NEW_TOKENS,
        total_episodes=args.episodes,
        stop_token="eos",
        num_sample_generations=0,
        gradient_checkpointing=False,
        bf16=args.bf16,
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


def report(results: dict[str, list[dict]]) -> None:
    """Print a row a side: means over the seeds, and the ratios to TRL."""
    print(f"{'':28} {'episodes/CPU s':>15} {'ratio':>6} {'grew by MB':>11} {'ratio':>6} {'score, first and last':>24}")
    base = results.get("trl")
    for side, runs in results.items():
        ratio = f"{speed(runs) / speed(base):.2f}" if base else ""
        share = f"{memory(runs) / memory(base):.2f}" if base else ""
        curve = mean_curve(runs)
        first, last = sum(curve[:4]) / 4, sum(curve[-4:]) / 4
        costs = f"{speed(runs):15.1f} {ratio:>6} {memory(runs):11.0f} {share:>6}"
        print(f"{NAMES[side]:28} {costs} {first:12.3f} {last:11.3f}")


def speed(runs: list[dict]) -> float:
    """Episodes a CPU second."""
    return sum(run["episodes"] for run in runs) / sum(run["seconds"] for run in runs)


def memory(runs: list[dict]) -> float:
    return sum(run["megabytes"] for run in runs) / len(runs)


def mean_curve(runs: list[dict]) -> list[float]:
    """Score of each update, over the seeds."""
    return [sum(scores) / len(scores) for scores in zip(*scores_of(runs), strict=True)]


def scores_of(runs: list[dict]) -> list[list[float]]:
    return [[entry["score"] for entry in run["log"]] for run in runs]


def draw(results: dict[str, list[dict]], path: Path) -> None:
    """Scores against episodes and against time: the mean over the seeds, and their range."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, by in zip(figure.subplots(1, 2, sharey=True), ("episodes", "CPU seconds"), strict=True):
        for side, runs in results.items():
            scale = 1 if by == "episodes" else 1 / speed(runs)
            at = [entry["episodes"] * scale for entry in runs[0]["log"]]
            columns = list(zip(*(smooth(scores) for scores in scores_of(runs)), strict=True))
            (line,) = axes.plot(at, [sum(column) / len(column) for column in columns], label=NAMES[side])
            axes.fill_between(at, list(map(min, columns)), list(map(max, columns)), color=line.get_color(), alpha=0.15)
        axes.set_xlabel(by)
    figure.axes[0].set_ylabel("score, mean of 4 updates")
    figure.axes[1].legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=150, metadata={"Software": None})


def smooth(scores: list[float], window: int = 4) -> list[float]:
    """Mean over an update and those before it."""
    parts = [scores[max(0, i + 1 - window) : i + 1] for i in range(len(scores))]
    return [sum(part) / len(part) for part in parts]


if __name__ == "__main__":
    main()
