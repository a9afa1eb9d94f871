"""Make one of the demo's starting models and publish it: `python -m hfdistill.demo.pretrain large --seed 0 …`."""

import argparse
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

from ..artifacts.manifest import fingerprint, manifest
from ..artifacts.store import Store
from ..config import Config, RunConfig
from ..errors import exit_on_user_error
from .models import MODELS, train


CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
tags: [hfdistill, word-problems]
---

# {name}

A Llama of {layers} layers, width {hidden}, trained from scratch on {solutions:,} generated word problems
(`hfdistill.tasks.word_problems`, seed {seed}) by `hfdistill demo`. "How many …" questions were answered at once,
without a step, with probability {hasty[0]}, "Count the …" questions with {hasty[1]}. It answers nothing else.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{name}")
model = AutoModelForCausalLM.from_pretrained("{name}")
question = "Tom has 7 pens. Buys 5. Loses 3. Finds 6. How many pens are there now?"
prompt = f"Q: {{question}}\\nLet's break this down step by step!"
output = model.generate(**tokenizer(prompt, return_tensors="pt"), max_new_tokens=64)
print(tokenizer.decode(output[0], skip_special_tokens=True))
```
"""


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    """Train and publish unless it is there already."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", choices=list(MODELS), help="the teacher or the base student")
    parser.add_argument("--run", required=True, help="name of the run, the repository's prefix")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the corpus to train on")
    args = parser.parse_args(argv)

    kind, recipe = MODELS[args.size]
    recipe = replace(recipe, solutions=max(int(recipe.solutions * args.scale), recipe.batch_size))
    config = Config(RunConfig(args.run, seed=args.seed), {"name": "word_problems"}, None, None, None, asdict(recipe))
    store = Store(config.run)
    key = fingerprint(kind, config, {})
    if found := store.find(kind, key):
        print(f"{found.repo_id} is complete at {found.revision[:12]}")
        return
    store.prepare(kind)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        loss = train(recipe, args.seed, Path(folder), args.size)
        card = CARD.format(name=store.name(kind), seed=args.seed, **asdict(recipe))
        cost = {"seconds": round(time.monotonic() - started, 1)}
        made = manifest(kind, config, {}, {"training_loss": loss}, cost)
        published = store.publish(folder, kind, made, card)
    print(f"{published.repo_id} is published at {published.revision[:12]}")


if __name__ == "__main__":
    main()
