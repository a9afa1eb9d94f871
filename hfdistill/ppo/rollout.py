"""One rollout: sample responses, score them, and make of them what PPO trains on."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator, DistributedType
from transformers import PreTrainedModel, TrainerState
from transformers.utils import logging

from ..encoding import Encoder, cut
from ..errors import HFDistillError
from ..generation import Generated
from ..llama import Passage
from ..training.adapters import as_reference
from ..training.shares import gather_shares, my_share
from .actor_critic import ActorCritic, Scored, read_policy
from .advantages import make_episodes
from .ballots import VOTE_TEMPERATURE, Ballot, BallotReader
from .batching import LABELS, MiniBatch, episode_seeds, in_order, plan_epoch, sampling_seeds, share_prompts
from .config import PPOConfig
from .episodes import BeforeUpdate, Episodes, Sampled
from .moving_labels import MovingLabels, check_movable
from .prompts import PromptDataset, PromptStream
from .samplers import PolicySampler
from .scoring import Rewards, Said
from .shown import ShownEpisode


logger = logging.get_logger(__name__)


class Episode(NamedTuple):
    """One response, what each reward function said about it, and its `score`, their weighted sum less penalties, as
    processes hand it to each other; its `number` is its place in the update. Its ids end in an end token where that
    was sampled; `token_scores` are what dense rewards gave to them, `log_probs` the sampler's.
    """

    number: int
    prompt_ids: list[int]
    completion_ids: list[int]
    finished: bool
    said: dict[str, float | None]
    score: float | None
    token_scores: list[float] | None
    log_probs: list[float] | None


class Rollout(NamedTuple):
    """What the rollout of an update hands to training: figures by TRL's names, the same on every process, seconds by
    phase, this process's episodes to be shown, and a `first_pass` with its gradient where training begins with
    the very pass that was made here, and goes on from it.
    """

    episodes: Episodes
    figures: dict[str, float]
    seconds: dict[str, float]
    shown: list[ShownEpisode]
    first_pass: Scored | None


@dataclass
class Rollouts:
    """Makes the episodes of an update; every process samples and scores a share, and all get the whole.

    The KL is measured to `reference`; without it to the policy as its adapter's training began, if it has one (see
    [`~hfdistill.training.adapters.as_reference`]), and not at all otherwise.
    """

    model: ActorCritic
    sampler: PolicySampler
    reference: PreTrainedModel | None
    rewards: Rewards
    prompts: PromptDataset | PromptStream
    encoder: Encoder
    config: PPOConfig
    accelerator: Accelerator
    moving_labels: MovingLabels | None

    def __post_init__(self):
        if self.moving_labels is not None:
            check_movable(self.prompts)

    def collect(self, update: int, kl_coef: float, state: TrainerState) -> Rollout:
        """Sample and score the episodes of an update, whose number alone decides prompts and noise.

        Reward functions see `state` of the training.
        """
        config, size, seconds, moved = self.config, self.config.rollout_batch_size, {}, {}
        # 0. Labels, where they move.
        if self.moving_labels is not None and self.moving_labels.due(update):
            with timed(seconds, "labels"):
                moved = self._move_labels(update)
        # 1. Which prompts, with which noise: the same whatever the number of processes.
        prompts, drawn = self.prompts.of_update(update, config.prompts_per_update, config.seed)
        drawn = [row for row in drawn for _ in range(config.num_generations)]
        numbers = share_prompts(drawn, self.accelerator.process_index, self.accelerator.num_processes)
        rows = [drawn[number] for number in numbers]
        noise = episode_seeds(config.seed, update, size)
        seeds = [noise[number] for number in numbers]
        # 2. Sample.
        with timed(seconds, "generation"):
            prompt_ids = [prompts.prompt_ids[row] for row in rows]
            generated = self.sampler.sample(prompt_ids, config.temperature, seeds)
        # 3. Score, and share the episodes among all processes.
        with timed(seconds, "reward"):
            mine, shown = self._score(prompts, numbers, rows, generated, state)
            everyone = in_order(mine)
            sampled, figures = self._assemble(update, everyone)
        # 4. Log-probabilities and values before the update, by the very passes that training starts with: the ratio
        #    of the first step is 1, and not 1 up to the rounding of another kernel.
        with timed(seconds, "scoring"), self._reference_at_hand():
            before, first_pass = self._read(sampled, self.plan(sampled, epoch=0))
        # 5. KL, rewards, advantages, returns.
        episodes, estimated = make_episodes(sampled, before, kl_coef, config)
        return Rollout(episodes, moved | figures | estimated, seconds, shown, first_pass)

    def plan(self, sampled: Sampled, epoch: int) -> list[MiniBatch]:
        """The mini-batches of a PPO epoch."""
        processes = self.accelerator.num_processes
        return plan_epoch(self.config, sampled.lengths, processes, sampled.update, epoch)

    def passage(self, sampled: Sampled, rows: list[int]) -> Passage:
        """Lay out episodes for a forward pass."""
        return Passage.of_responses(
            [sampled.sequences[i] for i in rows],
            [sampled.prompt_lengths[i] for i in rows],
            self.encoder.pad_token_id,
            self.accelerator.device,
        )

    def canvass(
        self, dataset: PromptDataset, rows: Sequence[int], reader: BallotReader, samples: int, noise: Sequence[int]
    ) -> list[list[Ballot]]:
        """Answer each of these rows so many times, at the temperature of votes: their ballots, in the order of the
        rows, on every process. `noise` keys the sampling beside the seed.
        """
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        seeds = sampling_seeds((self.config.seed, *noise), len(rows) * samples)
        places = my_share(range(len(rows)), rank, processes)
        asked = [rows[place] for place in places for _ in range(samples)]
        mine = [seed for place in places for seed in seeds[place * samples : (place + 1) * samples]]
        generated = self.sampler.sample([dataset.prompt_ids[row] for row in asked], VOTE_TEMPERATURE, mine)
        ballots = []
        if asked:
            ballots = reader(
                prompts=dataset.prompts(asked),
                completions=self.completions(dataset, asked, generated),
                completion_ids=[row.drawn_ids for row in generated],
                **dataset.columns(asked),
            )
        return gather_shares([ballots[i : i + samples] for i in range(0, len(ballots), samples)], processes)

    def ask(
        self, dataset: PromptDataset, rows: list[int], generated: list[Generated], state: TrainerState
    ) -> tuple[list[Any], list[Said]]:
        """Completions of these rows, and what each reward function says about them."""
        completions = self.completions(dataset, rows, generated)
        ids = [row.drawn_ids for row in generated]
        return completions, self.rewards(dataset.prompts(rows), completions, ids, dataset.columns(rows), state)

    def completions(self, dataset: PromptDataset, rows: list[int], generated: list[Generated]) -> list[Any]:
        """What was generated as the dataset has it, text or messages, without stop strings."""
        texts = [cut(self.encoder.decode(row.token_ids), self.config.stop_strings or ()) for row in generated]
        return dataset.completions(rows, texts)

    def _move_labels(self, update: int) -> dict[str, float]:
        moving, prompts = self.moving_labels, self.prompts
        ballots = self.canvass(prompts, moving.asked(prompts), moving.reader, moving.samples, (LABELS, update))
        return moving.move(prompts, ballots, update) if ballots else {}

    @contextmanager
    def _reference_at_hand(self) -> Iterator[None]:
        if not self.config.offload_ref_model:
            yield
            return
        self.reference.to(self.accelerator.device)
        try:
            yield
        finally:
            self.reference.to("cpu")

    def _score(
        self,
        prompts: PromptDataset,
        numbers: list[int],
        rows: list[int],
        generated: list[Generated],
        state: TrainerState,
    ) -> tuple[list[Episode], list[ShownEpisode]]:
        """Episodes with their scores, and the same to be shown."""
        if not rows:
            return [], []
        completions, said = self.ask(prompts, rows, generated, state)
        columns = {name: values for name, values in self.rewards.extra.items() if len(values) == len(rows)}
        mine, shown = [], []
        for i, (response, (values, tokens)) in enumerate(zip(generated, said, strict=True)):
            finished, score = response.finish_reason != "length", self.rewards.total(values)
            if score is not None and not finished:
                score -= self.config.missing_eos_penalty or 0.0
            ids = prompts.prompt_ids[rows[i]], response.drawn_ids
            mine.append(Episode(numbers[i], *ids, finished, values, score, tokens, response.log_probs))
            extra = {name: column[i] for name, column in columns.items()}
            prompt = prompts.prompts([rows[i]])[0]
            shown.append(ShownEpisode(numbers[i], prompt, completions[i], values, score, extra))
        return mine, shown

    def _assemble(self, update: int, everyone: list[Episode]) -> tuple[Sampled, dict[str, float]]:
        """The episodes that have a score, and figures of all."""
        scored = [episode for episode in everyone if episode.score is not None]
        unscored = len(everyone) - len(scored)
        if unscored:
            logger.warning(f"update {update}: {unscored} of {len(everyone)} episodes got no reward and are left out")
        if len(scored) < self.config.num_mini_batches:
            raise HFDistillError(
                f"update {update}: the reward functions gave a number to {len(scored)} of {len(everyone)} episodes, "
                "fewer than one a mini-batch: each must return a finite number for most completions"
            )
        lengths = torch.tensor([float(len(episode.completion_ids)) for episode in everyone])
        figures = {
            "val/num_eos_tokens": float(sum(episode.finished for episode in everyone)),
            "val/unscored_episodes": float(unscored),
            "completions/mean_length": lengths.mean().item(),
            "completions/max_length": lengths.max().item(),
            "completions/finished": sum(episode.finished for episode in everyone) / len(everyone),
        }
        for name in self.rewards.functions:
            values = [episode.said[name] for episode in everyone if episode.said[name] is not None]
            if len(self.rewards.functions) > 1 and values:
                figures[f"rewards/{name}"] = sum(values) / len(values)
        sampled = Sampled(
            update,
            [episode.prompt_ids + episode.completion_ids for episode in scored],
            [len(episode.prompt_ids) for episode in scored],
            torch.tensor([episode.score for episode in scored]),
            None,
            None,
        )
        if scored[0].token_scores is not None:
            sampled.token_scores = sampled.by_token([episode.token_scores for episode in scored], 0.0)
        if scored[0].log_probs is not None:
            sampled.sampling_log_probs = sampled.by_token([episode.log_probs for episode in scored], float("nan"))
        return sampled, figures

    @torch.no_grad()
    def _read(self, sampled: Sampled, plan: list[MiniBatch]) -> tuple[BeforeUpdate, Scored | None]:
        """What the models say before the update, on every process; and the pass that training goes on from, if any."""
        rank = self.accelerator.process_index
        adapted = not isinstance(self.model.policy, PreTrainedModel)
        with_reference = self.reference is not None or (adapted and self.config.kl_in == "reward")
        passes = [rows for batch in plan for rows in batch.passes[rank]]
        # Where an epoch is one pass, training starts with the very pass that is made here, and goes on from it.
        alone = self.accelerator.distributed_type == DistributedType.NO
        keep = alone and len(passes) == 1 and sampled.update >= self.config.value_warmup_updates
        read = torch.zeros(4, len(sampled), max(sampled.response_lengths))
        for rows in passes:
            passage = self.passage(sampled, rows or [0])
            with torch.set_grad_enabled(keep):
                scored = self.model(passage, with_entropy=True)
            tensors = [scored.log_probs, scored.values, scored.entropy]
            if with_reference:
                tensors.append(self._reference_log_probs(passage))
            if rows:
                for target, tensor in zip(read, tensors, strict=False):
                    target[rows, : tensor.shape[1]] = tensor.float().cpu()
        if self.accelerator.num_processes > 1:
            # Each element was read by one process and is 0 on the others.
            read = self.accelerator.reduce(read.masked_fill(~sampled.mask, 0).to(self.accelerator.device)).cpu()
        log_probs, values, entropy, reference = read
        before = BeforeUpdate(log_probs, values, entropy, reference if with_reference else None)
        return before, scored if keep else None

    def _reference_log_probs(self, passage: Passage) -> torch.Tensor:
        if self.reference is None:
            with as_reference(self.model.policy):
                return self.model(passage, with_value=False).log_probs
        with self.accelerator.autocast():
            return read_policy(self.reference, passage, self.config.temperature)[0]


@contextmanager
def timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    """Write the seconds that the block takes."""
    started = time.perf_counter()
    yield
    seconds[phase] = time.perf_counter() - started
