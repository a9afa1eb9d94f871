"""Train a reward model and store its log and weights: test_processes.py runs this in one and in two processes."""

import json
import sys
from dataclasses import replace
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parents[2]))

from hfdistill.encoding import Encoder
from hfdistill.errors import exit_on_user_error
from hfdistill.reward.config import RewardConfig
from hfdistill.reward.held_out import held_out_figures
from hfdistill.reward.model import initialise_reward_model
from hfdistill.reward.trainer import TripletTrainer
from hfdistill.training.saving import save_trained
from tests.launch import cpu_options
from tests.reward.conftest import PAD, draw_triples, make_tokenizer
from tests.reward.words import Words


class HeldOut(Words):
    """The same task, of which all questions are for validation."""

    def questions(self):
        return [replace(question, split="validation") for question in super().questions()]


@exit_on_user_error
def main(student: str, out: str, world_size: str) -> None:
    options = cpu_options()
    args = RewardConfig(
        output_dir=f"{out}/checkpoints",
        global_batch_size=8,
        per_device_train_batch_size=2,
        per_device_eval_batch_size=7,
        num_train_epochs=3,
        learning_rate=3e-3,
        every_token=0.3,
        ensemble=2,
        logging_steps=1,
        bf16=False,
        disable_tqdm=True,
        **options,
    )
    assert args.world_size == int(world_size), f"{args.world_size} processes instead of {world_size}"
    # Some triples without a teacher's answer, so that the processes hold different numbers of comparisons, and no
    # whole number of updates an epoch.
    train = [*draw_triples(20, seed=1), *draw_triples(17, seed=2, teacher=False)]
    model = initialise_reward_model(student, PAD, args.ensemble)
    trainer = TripletTrainer(model, args, train, draw_triples(23, seed=3), make_tokenizer())
    trainer.train()
    save_trained(trainer, f"{out}/final")
    # What it says of answers outside the triples: a share on each process.
    task, encoder = HeldOut(), Encoder(make_tokenizer())
    answers = [
        {"question_id": f"q{i % 23}", "answer": "w1", "token_ids": [20 + i % 17] * (i % 5 + 1), "label": label}
        for i, label in enumerate(["correct", "incorrect"] * 20)
    ]
    figures = held_out_figures(trainer, encoder, task, answers, temperature=1.5)
    if trainer.is_world_process_zero():
        log = [
            {k: v for k, v in entry.items() if "time" not in k and "second" not in k}
            for entry in trainer.state.log_history
        ]
        log.append({**figures.pop("pos_neg_of_all_pairs"), "best": figures.pop("best")["value"], **figures})
        Path(out, "log.json").write_text(json.dumps(log))


if __name__ == "__main__":
    main(*sys.argv[1:])
