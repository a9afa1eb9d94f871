"""Triples as tensors: each prompt once with its responses behind it, no padding inside."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..encoding import Encoder, right_pad
from ..rows import CORRECT, ROLES
from ..tasks.base import share_of


# The share of n questions that a draw of n with replacement holds, as n grows.
IN_BOOTSTRAP = 1 - math.exp(-1)
# Where a token of a response stands in its row, 1 if the response is right, and its share of the response.
Token = tuple[int, float, float]


@dataclass(frozen=True)
class EncodedTriple:
    """Ids of a triple: its prompt, and a response for each role, `None` where the role is empty."""

    prompt: list[int]
    responses: tuple[list[int] | None, ...]
    question_id: str = ""

    def __len__(self) -> int:
        return len(self.prompt) + sum(len(ids) for ids in self.responses if ids is not None)

    @property
    def longest(self) -> int:
        """Length of the prompt with its longest response."""
        return len(self.prompt) + max(len(ids or ()) for ids in self.responses)


def encode_triples(
    triples: Sequence[Mapping[str, Any]], prompt_ids: Mapping[str, list[int]], encoder: Encoder
) -> list[EncodedTriple]:
    """Turn rows of the config `triples` into ids; a role without columns is an empty one. Those of prompts are given
    by question id, and a response that was sampled here keeps those that it was sampled as.
    """

    def response_ids(triple: Mapping[str, Any], role: str) -> list[int] | None:
        response = triple.get(role)
        if response is None:
            return None
        return triple.get(f"{role}_token_ids") or encoder.response_ids(response, triple[f"{role}_finished"])

    return [
        EncodedTriple(prompt_ids[key], tuple(response_ids(triple, role) for role in ROLES), key)
        for triple in triples
        for key in [triple["question_id"]]
    ]


def learns(head: int, question_id: str, seed: int) -> bool:
    """Whether one head of an ensemble learns from a question's triples. Each has a sample of its own, of as many
    different questions as a bootstrap holds; seed, head and question decide, and nothing else.
    """
    return share_of(f"head {head} {seed} {question_id}") < IN_BOOTSTRAP


@dataclass
class TripleCollator:
    """Make a batch of triples.

    Args:
        pad_token_id (`int`): what fills rows up at their end.
        share_prefix (`bool`): put a triple into one row, `prompt, response, response, response`, so that the prompt is
            computed once. A response then attends to the prompt and to itself, and counts its positions from the
            prompt's end, so that its score is the one that it gets alone. Otherwise each response has a row.
        every_token (`bool`, *optional*, defaults to `False`): also say where all tokens of the responses stand.
        heads (`int`, *optional*, defaults to 1), seed (`int`, *optional*, defaults to 0): of several, also say which
            learn from a triple, see [`learns`].
    """

    pad_token_id: int
    share_prefix: bool
    every_token: bool = False
    heads: int = 1
    seed: int = 0

    def __call__(self, triples: Sequence[EncodedTriple]) -> dict[str, torch.Tensor]:
        """Return the model's inputs, `score_positions` and `present` `(triples, 4)`; with `every_token` also
        `token_positions`, `token_correct` and `token_shares` `(rows, tokens)`: where a response's tokens stand in its
        row, whether it is right, and one over its length, 0 for what fills a row up. Of several heads also `learned`
        `(heads, triples)`: 1 where one learns from a triple.
        """
        present = torch.tensor([[float(ids is not None) for ids in triple.responses] for triple in triples])
        build = self._shared if self.share_prefix else self._separate
        made = {**build(triples), "present": present}
        if self.heads > 1:
            made["learned"] = torch.tensor(
                [
                    [float(learns(head, triple.question_id, self.seed)) for triple in triples]
                    for head in range(self.heads)
                ]
            )
        return made

    def _shared(self, triples: Sequence[EncodedTriple]) -> dict[str, torch.Tensor]:
        rows, positions, segments, ends, tokens = [], [], [], [], []
        for triple in triples:
            start = len(triple.prompt)
            row, position, segment, end = list(triple.prompt), list(range(start)), [0] * start, []
            tokens.append([])
            for index, ids in enumerate(triple.responses, start=1):
                if ids is not None:
                    tokens[-1] += _tokens_of(ids, len(row), CORRECT[index - 1])
                    row += ids
                    position += range(start, start + len(ids))
                    segment += [index] * len(ids)
                # An empty role, or an empty response cut off at once, is read at the prompt's end.
                end.append(len(row) - 1 if ids else start - 1)
            rows.append(row)
            positions.append(position)
            segments.append(segment)
            ends.append(end)
        input_ids, _ = right_pad(rows, self.pad_token_id)
        position_ids, _ = right_pad(positions, 0)
        segment_ids, _ = right_pad(segments, -1)
        key, query = segment_ids[:, None, :], segment_ids[:, :, None]
        causal = torch.ones(input_ids.shape[1], input_ids.shape[1], dtype=torch.bool).tril()
        visible = ((key == 0) | (key == query)) & causal
        return {
            "input_ids": input_ids,
            "attention_mask": visible[:, None],
            "position_ids": position_ids,
            "score_positions": torch.tensor(ends),
            **self._all_tokens(tokens, ends),
        }

    def _separate(self, triples: Sequence[EncodedTriple]) -> dict[str, torch.Tensor]:
        read = [
            (triple.prompt, ids, correct)
            for triple in triples
            for ids, correct in zip(triple.responses, CORRECT, strict=True)
            if ids is not None
        ]
        # Padding stands at the end, where no causal position looks, so attention needs no mask.
        input_ids, attention_mask = right_pad([prompt + ids for prompt, ids, _ in read], self.pad_token_id)
        ends = attention_mask.sum(1, keepdim=True) - 1
        tokens = [_tokens_of(ids, len(prompt), correct) for prompt, ids, correct in read]
        return {"input_ids": input_ids, "score_positions": ends, **self._all_tokens(tokens, ends.tolist())}

    def _all_tokens(self, tokens: list[list[Token]], ends: list[list[int]]) -> dict[str, torch.Tensor]:
        if not self.every_token:
            return {}
        most = max(1, *map(len, tokens))
        rows = [row + [(end[0], 0.0, 0.0)] * (most - len(row)) for row, end in zip(tokens, ends, strict=True)]
        positions, correct, shares = torch.tensor(rows, dtype=torch.float64).unbind(-1)
        return {
            "token_positions": positions.long(),
            "token_correct": correct.float(),
            "token_shares": shares.float(),
        }


def _tokens_of(ids: Sequence[int], start: int, correct: bool) -> list[Token]:
    return [(start + index, float(correct), 1 / len(ids)) for index in range(len(ids))]
