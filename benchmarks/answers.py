"""Reading final answers: accuracy and speed beside math-verify and lm-evaluation-harness, on the same responses.

    python benchmarks/answers.py [--peers ENV/bin/python] [--responses FILE.jsonl] [--count 1000000]

The peers live in an environment of their own, since they pull much in:

    python -m venv ENV && ENV/bin/pip install math-verify lm-eval

Responses: the hand-labelled cases of tests/data; GSM8K's gold solutions, rendered in the forms that real outputs have
(currency, LaTeX, emphasis, an invented next question, no answer at all); and, with --responses, real ones, rows of
`response` and `gold`. Times are CPU seconds of one core, so that other work on the machine counts little.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path


ROOT = Path(__file__).parents[1]
INVALID = "[invalid]"
# The patterns of lm-evaluation-harness's tasks gsm8k and gsm8k_cot (version 3.0 of both).
HARNESS = {
    "harness gsm8k strict": {"regex_pattern": r"#### (\-?[0-9\.\,]+)"},
    "harness gsm8k_cot strict": {"regex_pattern": r"The answer is (\-?[0-9\.\,]+)."},
    "harness flexible": {"regex_pattern": r"(-?[$0-9.,]{2,})|(-?[0-9]+)", "group_select": -1},
}
FORMS = (
    "The answer is {gold}.",
    "The answer is {gold}.",
    "The answer is {gold}.",
    "The answer is ${gold}.",
    "The answer is **{gold}**.",
    "The answer is {gold}.00",
    "The answer is {gold} dollars.",
    "The final answer is: $\\boxed{{{gold}}}$",
    "The answer is $\\boxed{{{gold}\\text{{ units}}}}$.",
    "The answer is:\n\n{gold}",
    "#### {gold}",
    "The answer is 7 + 5 = {gold}.",
)
WITHOUT = (
    "So she has some left",
    "The answer is that it cannot be determined.",
    "The answer is 62 + 3x.",
    "The answer is 86 glasses and 42 plates.",
    "The answer is",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peers", help="Python of an environment with math-verify and lm-eval")
    parser.add_argument("--responses", type=Path, help="real responses, JSON lines with response and gold")
    parser.add_argument("--count", type=int, default=1_000_000, help="responses to extract and vote on")
    parser.add_argument("--sample", type=int, default=2_000, help="responses that each peer reads")
    parser.add_argument("--as_peer", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.as_peer:
        print(json.dumps(peers(json.loads(args.as_peer.read_text(encoding="utf-8")))))
        return
    sys.path.insert(0, str(ROOT))
    from hfdistill.tasks.loading import load_rows

    data = os.environ.get("HFDISTILL_DATA", str(ROOT.parent / "shared" / "data"))
    rows = rendered([row["answer"] for row in load_rows("gsm8k", "", "train", path=data)])
    sets = {"hand-labelled": hand_labelled(), "rendered": random.Random(1).sample(rows, args.sample)}
    if args.responses:
        real = [json.loads(line) for line in args.responses.read_text(encoding="utf-8").splitlines()]
        sets["real"] = random.Random(1).sample(real, min(args.sample, len(real)))
    compare(sets, args.peers)
    million(rows, args.count)
    adversarial()


def hand_labelled() -> list[dict]:
    lines = (ROOT / "tests" / "data" / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    cases = [json.loads(line) for line in lines]
    return [{"response": case["response"], "gold": case["answer"]} for case in cases if case["kind"] == "number"]


def rendered(answers: list[str]) -> list[dict]:
    """A response a gold solution; three in ten run on into another question, one in twenty has no answer."""
    draw = random.Random(20261124)
    solutions = [(answer.rpartition("#### ")[2].replace(",", ""), answer.rpartition("####")[0]) for answer in answers]
    rows = []
    for gold, solution in solutions:
        answered = draw.random() >= 0.05
        last = draw.choice(FORMS).format(gold=gold) if answered else draw.choice(WITHOUT)
        response = f"\n{solution}{last}"
        if draw.random() < 0.3:
            other, steps = draw.choice(solutions)
            response += f"\n\nQ: What comes next?\nA:\n{steps}The answer is {other}."
        rows.append({"response": response, "gold": gold if answered else None})
    return rows


def compare(sets: dict[str, list[dict]], python: str | None) -> None:
    """The table: how many of the answers each reads right, how many it invents, and how fast it is."""
    from hfdistill.tasks import extract_number

    found = {name: {"hfdistill": timed(lambda text: extract_number(text).value, rows)} for name, rows in sets.items()}
    if python:
        for name, rows in sets.items():
            with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
                json.dump(rows, file)
                file.flush()
                command = [python, str(Path(__file__).resolve()), "--as_peer", file.name]
                said = subprocess.run(command, check=True, capture_output=True, text=True)
            found[name] |= json.loads(said.stdout.splitlines()[-1])
    print(f"{'responses':14} {'reader':26} {'right':>16} {'invented':>14} {'µs each':>9}")
    for name, readers in found.items():
        rows = sets[name]
        with_answer = sum(row["gold"] is not None for row in rows)
        for reader, (values, seconds) in readers.items():
            right = sum(equal(value, row["gold"]) for value, row in zip(values, rows, strict=True) if row["gold"])
            invented = sum(value is not None for value, row in zip(values, rows, strict=True) if row["gold"] is None)
            print(
                f"{name:14} {reader:26} {right:6} of {with_answer:6} {invented:5} of {len(rows) - with_answer:5} "
                f"{seconds / len(rows) * 1e6:9.1f}"
            )


def equal(value: str | None, gold: str) -> bool:
    """Equality that is generous to every reader: as numbers, whatever signs and commas are in the text."""
    from hfdistill.tasks import same_number

    return value is not None and same_number(value.strip("$., "), gold)


def timed(read, rows: list[dict]) -> tuple[list[str | None], float]:
    started = time.process_time()
    values = [read(row["response"]) for row in rows]
    return values, time.process_time() - started


def peers(rows: list[dict]) -> dict[str, tuple[list[str | None], float]]:
    """What the peers read, in their own environment."""
    from lm_eval.filters.extraction import RegexFilter
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    found = {}
    for name, options in HARNESS.items():
        chosen = RegexFilter(**options)
        values, seconds = timed(lambda text, chosen=chosen: next(iter(chosen.apply([[text]], [{}])))[0], rows)
        found[name] = ([None if value == INVALID else value for value in values], seconds)
    kinds = (LatexExtractionConfig(), ExprExtractionConfig())

    def verify(text: str) -> str | None:
        parsed = parse(text, kinds, parsing_timeout=None)
        return str(parsed[0]) if parsed else None

    found["math-verify"] = timed(verify, rows)
    return found


def million(rows: list[dict], count: int) -> None:
    """Extract and vote, streamed: 35 responses a question, 20 of them vote."""
    from hfdistill.labels.dataset import labelled_dataset
    from hfdistill.tasks import load_task

    task = load_task({"name": "generic"})
    questions = [task.question(f"Question {number}", "train", str(number)) for number in range(-(-count // 35))]

    class Responses:
        def __iter__(self) -> Iterator[dict]:
            for number in range(count):
                confidence = "high" if number % 35 < 20 else "low"
                # Four in five responses to a question agree.
                response = rows[(number // 35 if number % 5 else number) % len(rows)]["response"]
                yield {"question_id": str(number // 35), "response": response, "confidence": confidence}

    before, started = peak_megabytes(), time.process_time()
    labelled, asked = labelled_dataset(questions, Responses(), task)
    correct = sum(row["label"] == "correct" for row in labelled)
    seconds = time.process_time() - started
    mean = sum(len(row["response"]) for row in rows) / len(rows)
    print(
        f"\n{count:,} responses of {mean:.0f} characters extracted, voted on and labelled in {seconds:.1f} CPU s "
        f"({count / seconds:,.0f} a second); {peak_megabytes() - before:.0f} MB more than before "
        f"({correct:,} correct, {sum(row['failed'] for row in asked):,} of {len(asked):,} questions without label)"
    )


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def adversarial() -> None:
    """The worst of many repetitive texts of a megabyte, for every extractor."""
    sys.path.insert(0, str(ROOT / "tests" / "tasks"))
    from test_linear_time import EXTRACTORS, MEGABYTE, REPEATED, seconds

    for kind, extract in EXTRACTORS.items():
        times = {piece: seconds(extract, (piece * (MEGABYTE // len(piece) + 1))[:MEGABYTE]) for piece in REPEATED}
        worst = max(times, key=times.__getitem__)
        print(f"1 MB of {worst[:20]!r}: {kind} reader {times[worst] * 1000:.1f} ms, the worst of {len(times)} texts")


if __name__ == "__main__":
    main()
