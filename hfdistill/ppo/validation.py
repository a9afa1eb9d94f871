"""What validation says of a policy: greedy answers, and sampled ones where a yardstick asks for them."""

from collections.abc import Callable
from dataclasses import dataclass

from transformers import TrainerState

from ..errors import HFDistillError
from ..generation import Generated
from ..training.shares import gather_shares, my_share
from .batching import VALIDATION
from .prompts import PromptDataset
from .rollout import Rollouts
from .yardsticks import Yardsticks


@dataclass(frozen=True)
class PolicyValidation:
    """Answers the prompts of a dataset, a share on every process.

    Args:
        rollouts ([`~hfdistill.ppo.rollout.Rollouts`]): sample, and ask the rewards.
        eval_func (`Callable`, *optional*): tells which completions are right, see [`~hfdistill.ppo.PPOTrainer`].
        yardsticks ([`~hfdistill.ppo.yardsticks.Yardsticks`], *optional*): further figures, of sampled answers.
    """

    rollouts: Rollouts
    eval_func: Callable[..., list[bool | None]] | None
    yardsticks: Yardsticks | None

    def figures(self, dataset: PromptDataset, state: TrainerState) -> dict[str, float]:
        """Means over the prompts, those left out about which a figure says nothing: of greedy completions
        `mean_length` (tokens), `finished` (share), `accuracy` by `eval_func`, else `reward`; and the yardsticks.
        """
        accelerator = self.rollouts.accelerator
        everyone, processes = range(len(dataset)), accelerator.num_processes
        rows = my_share(everyone, accelerator.process_index, processes)
        generated = self.rollouts.sampler.sample([dataset.prompt_ids[row] for row in rows], temperature=0.0)
        mine = {
            "mean_length": [float(len(row.token_ids)) for row in generated],
            "finished": [float(row.finish_reason != "length") for row in generated],
            **self._judge(dataset, rows, generated, state),
        }
        gathered = {name: gather_shares(values, processes) for name, values in mine.items()}
        if self.yardsticks is not None:
            # The same noise at each validation, so that policies differ by what they are.
            reader, samples = self.yardsticks.reader, self.yardsticks.samples
            ballots = self.rollouts.canvass(dataset, everyone, reader, samples, (VALIDATION,))
            said = [self.yardsticks.figures(those) for those in ballots]
            gathered |= {name: [one[name] for one in said] for name in self.yardsticks.names}
        numbers = {name: [value for value in values if value is not None] for name, values in gathered.items()}
        return {name: sum(values) / len(values) for name, values in numbers.items() if values}

    def _judge(
        self, dataset: PromptDataset, rows: list[int], generated: list[Generated], state: TrainerState
    ) -> dict[str, list[float | None]]:
        """What greedy completions of these rows are worth."""
        if self.eval_func is None:
            _, said = self.rollouts.ask(dataset, rows, generated, state)
            return {"reward": [self.rollouts.rewards.total(one.values) for one in said]}
        completions = self.rollouts.completions(dataset, rows, generated)
        right = self.eval_func(prompts=dataset.prompts(rows), completions=completions, **dataset.columns(rows))
        if len(right) != len(rows):
            raise HFDistillError(f"eval_func returned {len(right)} values for {len(rows)} completions")
        return {"accuracy": [None if value is None else float(value) for value in right]}
