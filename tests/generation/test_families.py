"""Every family of students says what transformers' own generation says, token by token."""

import random

import pytest
import torch

from hfdistill.generation import Sampling, generate

from ..families import FAMILIES, WINDOW


ENDS = [2, 7]


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_equals_transformers_beyond_the_window_and_at_every_end_token(family):
    model = FAMILIES[family](60, pad_token_id=0, eos_token_id=ENDS).double()
    rng = random.Random(0)
    prompts = [[rng.randrange(3, 60) for _ in range(length)] for length in (1, 2, 5, 7, 8, 9, 13, 20, 24, 24)]
    prompts.append(prompts[3])
    ours = generate(model, prompts, Sampling(3 * WINDOW), eos_token_id=ENDS, pad_token_id=0, batch_size=4)
    seen = set()
    for prompt, response in zip(prompts, ours, strict=True):
        theirs = model.generate(torch.tensor([prompt]), max_new_tokens=3 * WINDOW, do_sample=False)[0, len(prompt) :]
        theirs = theirs.tolist()
        ended = theirs[-1] in ENDS
        assert response.token_ids == (theirs[:-1] if ended else theirs)
        assert response.finish_reason == ("eos_token" if ended else "length")
        seen.update(theirs)
    assert len(seen) > 12
