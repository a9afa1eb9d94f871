"""Settings of the labelling stage."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import HFDistillError
from ..fields import NO_EFFECT, check_positive, decides, plain, section
from ..tasks import resolved
from ..teacher.shards import Shard


# Tasks by name or with options.
TASKS = decides(value=lambda asked: [resolved(entry) for entry in asked["benchmarks"]])


def _labeler(asked: Mapping[str, Any]) -> dict[str, Any]:
    from .labelers import identity

    return identity({"name": asked["labeler"], **(plain(asked["labeler_options"]) or {})})


OF_THE_VOTE = decides(when=lambda asked: asked["labeler"] == "vote")
OF_ANOTHER_LABELER = decides(when=lambda asked: asked["labeler"] != "vote", value=_labeler)


@section()
@dataclass
class LabelConfig:
    """Section `label`: what to ask the teacher, and how its answers become labels.

    Args:
        output_dir (`str`, *optional*): folder of the journal; `{run.output_dir}/label` by default.
        high_temperatures (`list[float]`, *optional*, defaults to 0, 0.1, 0.2, 0.3): temperatures whose answers vote.
        high_samples (`int`, *optional*, defaults to 5): responses a question at each of them. Responses at
            temperature 0 are identical: one is asked for, and it counts that many times.
        low_temperatures (`list[float]`, *optional*, defaults to 0.4 … 1.0): temperatures asked for variety.
        low_samples (`int`, *optional*, defaults to 5): responses a question at each of them.
        labeler (`str`, *optional*, defaults to `"vote"`): how responses become a pseudo-label.
        labeler_options (`dict`, *optional*): options of another labeler; the vote's is `threshold`.
        threshold (`float`, *optional*, defaults to 0.7): the share of the high-confidence answers that one answer must
            exceed.
        benchmarks (`list[str]`, *optional*): further tasks whose test questions are looked for among the training
            questions, each a name (`gsm_plus`) or a mapping with options, as in section `evaluate`.
        top_p (`float`, *optional*): nucleus of the sampling, in (0, 1); the whole distribution by default.
        top_k (`int`, *optional*): number of most probable tokens to sample from; all by default.
        max_new_tokens (`int`, *optional*): longest response in tokens; the task's figure by default.
        max_questions (`int`, *optional*): label only the first so many training questions, and the validation
            questions in proportion.
        first_look (`int`, *optional*, defaults to 20): questions whose first response is examined before the rest is
            bought; if none holds an answer, the stage stops.
        max_missing (`float`, *optional*, defaults to 0): share of the responses that may be missing when the dataset
            is published.
        retry_failed (`bool`, *optional*, defaults to `False`): ask again for rows that failed or were parked earlier.
        shard (`str`, *optional*): `3/8` asks for the third of eight parts of the questions and publishes nothing; a
            call without it takes what is there of all parts, asks for the rest, and publishes. Each part has an
            eighth of `teacher.max_requests` and `teacher.max_cost`.
        take_over (`bool`, *optional*, defaults to `False`): go on although another machine has a claim to the same
            responses, since it was lost; without it a claim lasts for three of the intervals of `sync_every`.
        sync_every (`float`, *optional*, defaults to 600): seconds between pushes of new responses to the branch
            `partial` of the dataset, from where another machine goes on. Only one asks at a time for the same
            questions; what it claims stands there, too. 0 turns both off.
    """

    output_dir: str | None = field(default=None, metadata=NO_EFFECT)
    high_temperatures: list[float] = field(default_factory=lambda: [0.0, 0.1, 0.2, 0.3])
    high_samples: int = 5
    low_temperatures: list[float] = field(default_factory=lambda: [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    low_samples: int = 5
    labeler: str = "vote"
    labeler_options: dict | str | None = field(default=None, metadata=OF_ANOTHER_LABELER)
    threshold: float = field(default=0.7, metadata=OF_THE_VOTE)
    benchmarks: list[str] = field(default_factory=list, metadata=TASKS)
    top_p: float | None = None
    top_k: int | None = None
    max_new_tokens: int | None = None
    max_questions: int | None = None
    first_look: int = field(default=20, metadata=NO_EFFECT)
    max_missing: float = 0.0
    retry_failed: bool = field(default=False, metadata=NO_EFFECT)
    shard: str | None = field(default=None, metadata=NO_EFFECT)
    take_over: bool = field(default=False, metadata=NO_EFFECT)
    sync_every: float = field(default=600.0, metadata=NO_EFFECT)

    def __post_init__(self):
        if not self.high_temperatures:
            raise HFDistillError("label.high_temperatures is empty: nothing would vote; give at least one temperature")
        if not 0 < self.threshold < 1:
            raise HFDistillError(f"label.threshold is {self.threshold}: it must lie between 0 and 1, as 0.7 does")
        if self.top_p is not None and not 0 < self.top_p < 1:
            raise HFDistillError(f"label.top_p is {self.top_p}: it must lie between 0 and 1; leave it out for 1")
        if not 0 <= self.max_missing < 1:
            raise HFDistillError(f"label.max_missing is {self.max_missing}: it is a share, at least 0 and below 1")
        if isinstance(self.labeler_options, str):
            self.labeler_options = json.loads(self.labeler_options)
        if self.shard is not None:
            Shard.read(self.shard)
        check_positive("label.", self, "first_look", "top_k", "max_new_tokens", "max_questions")

    def labeler_section(self) -> dict[str, Any]:
        """Name and options of the labeler."""
        options = {"threshold": self.threshold} if self.labeler == "vote" else self.labeler_options or {}
        return {"name": self.labeler, **options}
