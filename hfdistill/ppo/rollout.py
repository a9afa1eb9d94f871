"""One rollout: sample responses, score them, and make of them what PPO trains on."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator, DistributedType
from transformers import PreTrainedModel, TrainerState
from transformers.utils import logging

from ..encoding import Encoder, cut
from ..errors import HFDistillError
from ..generation import Generated
from ..llama import Passage
from ..training.shares import gather_shares, my_share
from .actor_critic import ActorCritic, Scored, read_policy
from .batching import QuestionStream, episode_seeds, micro_batches, mini_batches
from .config import PPOConfig
from .episodes import Episodes
from .prompts import PromptDataset
from .rewards import Rewards
from .samplers import PolicySampler


logger = logging.get_logger(__name__)


@dataclass
class ShownEpisode:
    """One sampled episode, to be shown, with what reward functions gave to `log_extra`."""

    prompt: Any
    completion: Any
    score: float | None
    extra: dict[str, Any]


@dataclass
class Rollouts:
    """Makes the episodes of an update; every process samples and scores a share, and all get the whole.

    Args:
        model ([`ActorCritic`]): policy and value.
        sampler ([`~hfdistill.ppo.samplers.PolicySampler`]): draws the policy's responses.
        reference (`PreTrainedModel`, *optional*): what the KL is measured to; without it the policy with its adapters
            off, if it has any, and no KL otherwise.
        rewards ([`Rewards`]): what scores.
        prompts ([`PromptDataset`]): what to answer.
        encoder ([`~hfdistill.encoding.Encoder`]): of the policy.
        config ([`~hfdistill.ppo.PPOConfig`]): options.
        accelerator (`Accelerator`): the processes.
    """

    model: ActorCritic
    sampler: PolicySampler
    reference: PreTrainedModel | None
    rewards: Rewards
    prompts: PromptDataset
    encoder: Encoder
    config: PPOConfig
    accelerator: Accelerator
    seconds: dict[str, float] = field(default_factory=dict)
    sample: ShownEpisode | None = None
    first_pass: Scored | None = None

    def collect(self, update: int, kl_coef: float, state: TrainerState) -> tuple[Episodes, dict[str, float]]:
        """Sample and score the episodes of an update.

        Args:
            update (`int`): its number, which alone decides prompts and noise.
            kl_coef (`float`): weight of the KL in the reward.
            state (`TrainerState`): what reward functions see of the training.

        Returns:
            `tuple[Episodes, dict[str, float]]`: episodes, and figures of the rollout by TRL's names.
        """
        config, size = self.config, self.config.rollout_batch_size
        # 1. Which prompts, with which noise: the same whatever the number of processes.
        rows = self._share(QuestionStream(len(self.prompts), config.seed).batch(update, size))
        seeds = self._share(episode_seeds(config.seed, update, size))
        # 2. Sample.
        with self._timed("generation"):
            prompt_ids = [self.prompts.prompt_ids[row] for row in rows]
            generated = self.sampler.sample(prompt_ids, config.temperature, seeds)
        # 3. Score, and share the episodes among all processes.
        with self._timed("reward"):
            mine = self._score(rows, generated, state)
            everyone = gather_shares(mine, self.accelerator.num_processes)
            episodes, metrics = self._assemble(update, everyone)
        # 4. Log-probabilities and values before the update, by the very passes that training starts with: the ratio
        #    of the first step is 1, and not 1 up to the rounding of another kernel.
        with self._timed("scoring"), self._reference_at_hand():
            plan = self.plan(episodes, epoch=0)
            episodes.log_probs, values, reference, entropy = self._read(episodes, plan)
        # 5. KL, rewards, advantages, returns.
        metrics |= episodes.estimate(values, reference, kl_coef, config)
        metrics["policy/entropy_avg"] = ((entropy * episodes.mask).sum() / episodes.mask.sum()).item()
        return episodes, metrics

    def plan(self, episodes: Episodes, epoch: int) -> list[list[list[list[int]]]]:
        """Forward passes of each mini-batch of a PPO epoch, for each process."""
        config = self.config
        batches = mini_batches(len(episodes), config.num_mini_batches, config.seed, episodes.update, epoch)
        rows, tokens = config.per_device_train_batch_size, config.micro_batch_tokens
        return [
            micro_batches(batch, episodes.lengths, self.accelerator.num_processes, rows, tokens) for batch in batches
        ]

    def passage(self, episodes: Episodes, rows: list[int]) -> Passage:
        """Lay out episodes for a forward pass."""
        return Passage.of_responses(
            [episodes.sequences[i] for i in rows],
            [episodes.prompt_lengths[i] for i in rows],
            self.encoder.pad_token_id,
            self.accelerator.device,
        )

    def judge(
        self,
        dataset: PromptDataset,
        rows: list[int],
        generated: list[Generated],
        eval_func: Callable[..., list[bool]] | None,
        state: TrainerState,
    ) -> dict[str, list[float]]:
        """What greedy completions of these rows are worth: `accuracy` by `eval_func`, else `reward`."""
        completions = self._completions(dataset, rows, generated)
        if eval_func is not None:
            right = eval_func(prompts=dataset.prompts(rows), completions=completions, **dataset.columns(rows))
            if len(right) != len(rows):
                raise HFDistillError(f"eval_func returned {len(right)} values for {len(rows)} completions")
            return {"accuracy": [float(value) for value in right]}
        said = self._ask(dataset, rows, generated, completions, state)
        scores = [self.rewards.total(values) for values in said]
        return {"reward": [score for score in scores if score is not None]}

    def _ask(
        self,
        dataset: PromptDataset,
        rows: list[int],
        generated: list[Generated],
        completions: list[Any],
        state: TrainerState,
    ) -> list[dict[str, float | None]]:
        return self.rewards(
            dataset.prompts(rows),
            completions,
            [self._completion_ids(row) for row in generated],
            dataset.columns(rows),
            state,
        )

    def _completions(self, dataset: PromptDataset, rows: list[int], generated: list[Generated]) -> list[Any]:
        texts = [cut(self.encoder.decode(row.token_ids), self.config.stop_strings or ()) for row in generated]
        return dataset.completions(rows, texts)

    def _completion_ids(self, row: Generated) -> list[int]:
        """Ids of a response, with the end-of-sequence token where it was sampled: choosing it is an action, too."""
        return [*row.token_ids, self.encoder.eos_token_id] if row.finish_reason == "eos_token" else row.token_ids

    def _share(self, items: list[Any]) -> list[Any]:
        return my_share(items, self.accelerator.process_index, self.accelerator.num_processes)

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - started

    @contextmanager
    def _reference_at_hand(self) -> Iterator[None]:
        if not self.config.offload_ref_model:
            yield
            return
        self.reference.to(self.accelerator.device)
        yield
        self.reference.to("cpu")

    def _score(self, rows: list[int], generated: list[Generated], state: TrainerState) -> list[dict[str, Any]]:
        if not rows:
            return []
        completions = self._completions(self.prompts, rows, generated)
        said = self._ask(self.prompts, rows, generated, completions, state)
        mine = []
        for row, response, values in zip(rows, generated, said, strict=True):
            finished, score = response.finish_reason != "length", self.rewards.total(values)
            if score is not None and not finished:
                score -= self.config.missing_eos_penalty or 0.0
            mine.append(
                {
                    "prompt": self.prompts.prompt_ids[row],
                    "completion": self._completion_ids(response),
                    "finished": finished,
                    "score": score,
                    "log_probs": response.log_probs,
                    "said": values,
                }
            )
        extra = {column: values[0] for column, values in self.rewards.extra.items() if values}
        self.sample = ShownEpisode(self.prompts.prompts(rows[:1])[0], completions[0], mine[0]["score"], extra)
        return mine

    def _assemble(self, update: int, everyone: list[dict]) -> tuple[Episodes, dict[str, float]]:
        scored = [episode for episode in everyone if episode["score"] is not None]
        unscored = len(everyone) - len(scored)
        if unscored:
            logger.warning(f"update {update}: {unscored} of {len(everyone)} episodes got no reward and are left out")
        if len(scored) < self.config.num_mini_batches:
            raise HFDistillError(
                f"update {update}: the reward functions gave a number to {len(scored)} of {len(everyone)} episodes, "
                "fewer than one a mini-batch: each must return a finite number for most completions"
            )
        lengths = torch.tensor([float(len(episode["completion"])) for episode in everyone])
        metrics = {
            "val/num_eos_tokens": float(sum(episode["finished"] for episode in everyone)),
            "val/unscored_episodes": float(unscored),
            "completions/mean_length": lengths.mean().item(),
            "completions/max_length": lengths.max().item(),
            "completions/finished": sum(episode["finished"] for episode in everyone) / len(everyone),
        }
        for name in self.rewards.functions:
            values = [episode["said"][name] for episode in everyone if episode["said"][name] is not None]
            if len(self.rewards.functions) > 1 and values:
                metrics[f"rewards/{name}"] = sum(values) / len(values)
        episodes = Episodes(
            update,
            [episode["prompt"] + episode["completion"] for episode in scored],
            [len(episode["prompt"]) for episode in scored],
            torch.tensor([episode["score"] for episode in scored]),
        )
        if scored[0]["log_probs"] is not None:
            episodes.sampling_log_probs = torch.full(episodes.mask.shape, float("nan"))
            episodes.sampling_log_probs[episodes.mask] = torch.tensor(
                [log_prob for episode in scored for log_prob in episode["log_probs"]]
            )
        return episodes, metrics

    @torch.no_grad()
    def _read(self, episodes: Episodes, plan: list) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, Any]:
        """Log-probabilities, values, reference log-probabilities (or `None`) and entropy, on every process."""
        rank = self.accelerator.process_index
        shape = (len(episodes), max(episodes.response_lengths))
        with_reference = self.reference is not None or not isinstance(self.model.policy, PreTrainedModel)
        with_reference = with_reference and (self.config.kl_in == "reward" or self.reference is not None)
        read = torch.zeros(4, *shape)
        # Where an epoch is one pass, training starts with the very pass that is made here, and goes on from it.
        alone = self.accelerator.distributed_type == DistributedType.NO
        kept = alone and [len(batch[rank]) for batch in plan] == [1]
        kept = kept and episodes.update >= self.config.value_warmup_updates
        for batch in plan:
            for rows in batch[rank]:
                passage = self.passage(episodes, rows or [0])
                with torch.set_grad_enabled(kept):
                    scored = self.model(passage, with_entropy=True)
                self.first_pass = scored if kept else None
                tensors = [scored.log_probs, scored.values, scored.entropy]
                if with_reference:
                    tensors.append(self._reference_log_probs(passage))
                if rows:
                    for target, tensor in zip(read, tensors, strict=False):
                        target[rows, : tensor.shape[1]] = tensor.float().cpu()
        if self.accelerator.num_processes > 1:
            # Each element was read by one process and is 0 on the others.
            read = self.accelerator.reduce(read.masked_fill(~episodes.mask, 0).to(self.accelerator.device)).cpu()
        log_probs, values, entropy, reference = read
        return log_probs, values, reference if with_reference else None, entropy

    def _reference_log_probs(self, passage: Passage) -> torch.Tensor:
        if self.reference is None:
            with self.model.policy.disable_adapter():
                return self.model(passage, with_value=False).log_probs
        with self.accelerator.autocast():
            return read_policy(self.reference, passage, self.config.temperature)[0]
