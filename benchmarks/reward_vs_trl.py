"""Responses a CPU second in training a reward model: `TripletTrainer` beside TRL's `RewardTrainer`, on the same pairs.

    OMP_NUM_THREADS=1 python benchmarks/reward_vs_trl.py [--hidden 64 --layers 2 --triples 480 --rounds 3]

A triple (right student, wrong student, right teacher response) is two pairs: teacher above student, right above wrong.
TRL takes the pairs, so it computes the shared response twice; here each is computed once. The second comparison has no
shared response, as with pairs of right and wrong answers alone, and shows what is left.
Same weights, pairs, batch in pairs, learning rate and objective (lambda 0), lengths as in GSM8K. Both in turn in one
process, several rounds; the best round of each counts, since other work on the machine only slows a round down.
"""

import argparse
import json
import os
import random
import tempfile
import time
import warnings


os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Trainer
from transformers.trainer_callback import PrinterCallback
from trl import RewardConfig as TRLConfig
from trl import RewardTrainer

from hfdistill.reward.batches import EncodedTriple
from hfdistill.reward.config import RewardConfig
from hfdistill.reward.model import RewardScorer, initialise_reward_model
from hfdistill.reward.trainer import TripletTrainer


PAD, EOS, VOCABULARY = 0, 1, 1000
SETTINGS = {
    "num_train_epochs": 1,
    "learning_rate": 1e-3,
    "eval_strategy": "no",
    "save_strategy": "no",
    "logging_steps": 10,
    "use_cpu": True,
    "bf16": False,
    "disable_tqdm": True,
    "report_to": "none",
}


def make_tokenizer() -> PreTrainedTokenizerFast:
    words = {"<pad>": PAD, "</s>": EOS, **{f"w{i}": i for i in range(2, VOCABULARY)}}
    core = Tokenizer(models.WordLevel(words, unk_token="w2"))
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="</s>", unk_token="w2")


def draw(triples: int, teacher: bool) -> list[EncodedTriple]:
    """Random ids with the lengths of GSM8K's questions and of answers to them, in tokens of Llama 3."""
    rng = random.Random(0)

    def ids(mean: float, deviation: float, low: int, high: int) -> list[int]:
        length = min(max(round(rng.gauss(mean, deviation)), low), high)
        return [rng.randrange(2, VOCABULARY) for _ in range(length)]

    rows = []
    for _ in range(triples):
        prompt = ids(72, 25, 30, 220)
        answers = [[*ids(110, 45, 25, 320), EOS] for _ in range(3 if teacher else 2)]
        rows.append(EncodedTriple(prompt, (*answers, *[None] * (4 - len(answers)))))
    return rows


def pairs(triples: list[EncodedTriple]) -> Dataset:
    """The same comparisons as TRL's rows."""
    chosen, rejected = [], []
    for triple in triples:
        right, wrong, taught, _ = triple.responses
        for better, worse in ((right, wrong), (taught, right)):
            if better is not None:
                chosen.append(triple.prompt + better)
                rejected.append(triple.prompt + worse)
    return Dataset.from_dict({"chosen_ids": chosen, "rejected_ids": rejected})


def measure(trainer: Trainer) -> float:
    """CPU seconds of a training that prints nothing."""
    trainer.remove_callback(PrinterCallback)
    started = time.process_time()
    trainer.train()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--triples", type=int, default=480)
    parser.add_argument("--batch", type=int, default=16, help="triples an update")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=FutureWarning)
    tokenizer = make_tokenizer()
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        LlamaForCausalLM(
            LlamaConfig(
                vocab_size=VOCABULARY,
                hidden_size=args.hidden,
                intermediate_size=args.hidden * 3,
                num_hidden_layers=args.layers,
                num_attention_heads=4,
                max_position_embeddings=1024,
                pad_token_id=PAD,
                eos_token_id=EOS,
                bos_token_id=None,
            )
        ).save_pretrained(folder)
        for name, teacher in (("triples", True), ("pairs", False)):
            print(
                json.dumps({"data": name, **compare(folder, tokenizer, draw(args.triples, teacher), args)}), flush=True
            )


def compare(folder: str, tokenizer, triples: list[EncodedTriple], args: argparse.Namespace) -> dict:
    """Train both on the same comparisons, in turn, and return the figures of the best round of each."""
    data = pairs(triples)
    each = len(data) // len(triples)
    seconds: dict[str, list[float]] = {"trl": [], "ours": []}
    losses = {}
    for _ in range(args.rounds):
        for way in seconds:
            model = initialise_reward_model(folder, PAD)
            if way == "trl":
                settings = TRLConfig(
                    output_dir=folder,
                    per_device_train_batch_size=args.batch * each,
                    gradient_checkpointing=False,
                    max_length=None,
                    **SETTINGS,
                )
                # TRL's forward is the model's own, without the positions that only ours asks for.
                del model.forward
                trainer = RewardTrainer(model, settings, train_dataset=data, processing_class=tokenizer)
            else:
                settings = RewardConfig(
                    output_dir=folder,
                    per_device_train_batch_size=args.batch,
                    classification_weight=0.0,
                    **SETTINGS,
                )
                trainer = TripletTrainer(model, settings, triples, [], tokenizer)
            seconds[way].append(measure(trainer))
            loss = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry][-1]
            # Ours is the sum of two means over the triples, TRL's one mean over all pairs.
            losses[way] = loss if way == "trl" else loss / each
    responses = sum(ids is not None for triple in triples for ids in triple.responses)
    rates = {way: responses / min(times) for way, times in seconds.items()}
    return {
        "responses": responses,
        "pairs": len(data),
        "responses_per_cpu_s": {way: round(rate, 1) for way, rate in rates.items()},
        "times_trl": {way: round(rate / rates["trl"], 2) for way, rate in rates.items()},
        "last_loss_per_pair": {way: round(loss, 4) for way, loss in losses.items()},
        "same_first_loss": first_losses(folder, tokenizer, triples, data),
    }


def first_losses(folder: str, tokenizer, triples: list[EncodedTriple], data: Dataset) -> dict[str, float]:
    """Mean loss of all pairs before training, by TRL's rows and by ours."""
    from hfdistill.encoding import Encoder

    model = initialise_reward_model(folder, PAD)
    torch.nn.init.normal_(model.score.weight, std=(model.config.hidden_size + 1) ** -0.5)
    scorer = RewardScorer(model, Encoder(tokenizer))
    margin = scorer.score_ids(data["chosen_ids"]) - scorer.score_ids(data["rejected_ids"])
    settings = RewardConfig(output_dir=folder, classification_weight=0.0, **SETTINGS)
    trainer = TripletTrainer(scorer.model, settings, triples, [], tokenizer)
    trainer.remove_callback(PrinterCallback)
    ours = trainer.evaluate(triples)["eval_loss"] / (len(data) / len(triples))
    return {"trl": round(-torch.nn.functional.logsigmoid(margin).mean().item(), 5), "ours": round(ours, 5)}


if __name__ == "__main__":
    main()
