"""The vote at the end, and on the way what each step adds to the score."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

from .scored import ScoredReward
from .stratified import squashed
from .vote import vote_reward


def delta_rewards(scores: Sequence[float], tokens: Sequence[int], length: int, weight: float) -> list[float]:
    """What each token of a response earns by the score alone, `(length,)`.

    A step is paid where it ends, by `weight * (place(after) - place(before))` with the place 2 * sigmoid(score) - 1,
    so that a whole response earns `weight * (place(last) - place(first))`, between -2 and 2 weights: a step that is
    made again, or leads nowhere, earns nothing. This is a potential's difference (Ng et al. 1999), which leaves the
    best policy what it is. Delta of https://arxiv.org/abs/2410.15115 bounds the sum over a response, too, but takes
    from a step's score that of the next one.

    Args:
        scores (`Sequence[float]`): of the prompt alone, and of the response up to the end of each step.
        tokens (`Sequence[int]`): the last token of each step.
        length (`int`): tokens of the response.
        weight (`float`): of the differences.
    """
    earned = [0.0] * length
    for token, (before, after) in zip(tokens, pairwise(scores), strict=True):
        earned[token] += weight * (squashed(after) - squashed(before))
    return earned


@dataclass
class DeltaReward(ScoredReward):
    """The vote ([`~hfdistill.reward.vote.vote_reward`]) at a response's last token, and [`delta_rewards`] on the way.

    Steps end at newlines: at a token whose text holds one, and at the response's end. A response without an answer has
    -5 at its end and nothing else; one to a question without a pseudo-label has the differences alone. Called as a
    function it gives the sum over a response.

    Args:
        weight (`float`, *optional*, defaults to 0.5): of the differences beside the vote.
        pessimism (`float`, *optional*, defaults to 0.0): standard deviations of an ensemble taken off its mean score.
    """

    name: ClassVar[str] = "delta"
    dense: ClassVar[bool] = True

    weight: float = 0.5
    pessimism: float = 0.0

    def __post_init__(self):
        self.check_number("weight", least=0)
        self.check_number("pessimism", least=0)

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
        """Rewards of the completions, each the sum of its [`~DeltaReward.token_rewards`]."""
        return [sum(row) for row in self.token_rewards(prompts=prompts, completions=completions, **columns)]

    def token_rewards(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[list[int]],
        question_id: Sequence[str],
        pseudo_label: Sequence[str | None],
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[list[float]]:
        """What each token of each completion earns; logs the share without an answer and the share that agrees with
        y*.
        """
        answers = self.answers(completions, question_id)
        self.log_agreement(answers, pseudo_label, log_metric)
        asked = [index for index, answer in enumerate(answers) if answer is not None]
        sequences, positions, steps = [], [], []
        for index in asked:
            sampled = completion_ids[index]
            prompt, response = self.sequence(completions[index], sampled, question_id[index])
            ends = self._steps(response, sampled)
            sequences.append(prompt + response)
            positions.append([len(prompt) + end for end in (-1, *ends[:-1], len(response) - 1)])
            steps.append(ends)
        read = zip(steps, self.scorer.score_at(sequences, positions, self.pessimism), strict=True)
        earned = [[0.0] * len(ids) for ids in completion_ids]
        for index, (ends, scores) in zip(asked, read, strict=True):
            earned[index] = delta_rewards(scores, ends, len(completion_ids[index]), self.weight)
        for row, answer, label in zip(earned, answers, pseudo_label, strict=True):
            row[-1] += vote_reward(answer, label, same=self.task.same)
        return earned

    def _steps(self, response: Sequence[int], sampled: Sequence[int]) -> list[int]:
        """The last token of each step among those that were sampled. The response that is read is another one where a
        stop string ended it; its last step is paid at the sampled response's end.
        """
        tokenizer, last = self.scorer.encoder.tokenizer, len(sampled) - 1
        common = min(len(response), len(sampled)) - 1
        if list(response[:common]) != list(sampled[:common]):
            return [last]
        return [token for token in range(common) if "\n" in tokenizer.decode([sampled[token]])] + [last]
