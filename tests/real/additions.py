"""Word problems of one addition, as files of a user's own task."""

import itertools
import json
import random
from pathlib import Path


EXAMPLES = [
    {"question": "Tom has 4 plums and gets 5 more. How many plums does Tom have now?", "response": "4 + 5 = 9."},
    {"question": "Ina has 12 nuts and gets 6 more. How many nuts does Ina have now?", "response": "12 + 6 = 18."},
]
TASK = {
    "name": "generic",
    "answer_column": "answer",
    "validation_split": "validation",
    "test_split": "test",
    "max_new_tokens": 40,
    "shots": 2,
    "prompt_template": "Q: {question}\nA:",
    "examples": [
        {**row, "response": f"{row['response']} The answer is {row['response'][-3:-1].strip()}."} for row in EXAMPLES
    ],
}


def write_questions(folder: Path) -> None:
    draw = random.Random(11)
    pairs = draw.sample(list(itertools.product(range(2, 21), range(2, 13))), 60)
    folder.mkdir(parents=True)
    for name, part in (("train", pairs[:24]), ("validation", pairs[24:32]), ("test", pairs[32:42])):
        rows = []
        for a, b in part:
            who, what = draw.choice(["Anna", "Ben", "Carla", "Deniz"]), draw.choice(["apples", "coins", "books"])
            text = f"{who} has {a} {what} and gets {b} more. How many {what} does {who} have now?"
            rows.append(json.dumps({"question": text, "answer": str(a + b)}))
        (folder / f"{name}.jsonl").write_text("\n".join(rows), encoding="utf-8")
