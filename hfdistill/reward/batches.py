"""Triples as tensors: each prompt once with its responses behind it, no padding inside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..encoding import Encoder, right_pad
from ..rows import ROLES


@dataclass(frozen=True)
class EncodedTriple:
    """Ids of a triple: its prompt, and a response for each role, `None` where the role is empty."""

    prompt: list[int]
    responses: tuple[list[int] | None, ...]

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
        EncodedTriple(prompt_ids[triple["question_id"]], tuple(response_ids(triple, role) for role in ROLES))
        for triple in triples
    ]


@dataclass
class TripleCollator:
    """Make a batch of triples.

    Args:
        pad_token_id (`int`): what fills rows up at their end.
        share_prefix (`bool`): put a triple into one row, `prompt, response, response, response`, so that the prompt is
            computed once. A response then attends to the prompt and to itself, and counts its positions from the
            prompt's end, so that its score is the one that it gets alone. Otherwise each response has a row.
    """

    pad_token_id: int
    share_prefix: bool

    def __call__(self, triples: Sequence[EncodedTriple]) -> dict[str, torch.Tensor]:
        """Return the model's inputs, `score_positions` and `present` `(triples, 4)`."""
        present = torch.tensor([[float(ids is not None) for ids in triple.responses] for triple in triples])
        build = self._shared if self.share_prefix else self._separate
        return {**build(triples), "present": present}

    def _shared(self, triples: Sequence[EncodedTriple]) -> dict[str, torch.Tensor]:
        rows, positions, segments, ends = [], [], [], []
        for triple in triples:
            start = len(triple.prompt)
            row, position, segment, end = list(triple.prompt), list(range(start)), [0] * start, []
            for index, ids in enumerate(triple.responses, start=1):
                if ids is not None:
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
        }

    def _separate(self, triples: Sequence[EncodedTriple]) -> dict[str, torch.Tensor]:
        rows = [triple.prompt + ids for triple in triples for ids in triple.responses if ids is not None]
        input_ids, attention_mask = right_pad(rows, self.pad_token_id)
        # Padding stands at the end, where no causal position looks, so attention needs no mask.
        return {"input_ids": input_ids, "score_positions": attention_mask.sum(1, keepdim=True) - 1}
