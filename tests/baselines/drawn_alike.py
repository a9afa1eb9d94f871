"""recipes/train_baseline.py with responses that one process and two draw alike: test_processes.py runs it."""

import runpy
from pathlib import Path

import torch

from hfdistill.baselines.trainers import GRPOBaseline


RECIPE = Path(__file__).parents[2] / "recipes" / "train_baseline.py"


class DrawnAlike(GRPOBaseline):
    """Draws each response by a seed of its own, where TRL has one for each process."""

    def _generate_single_turn(self, prompt_ids, *args, **kwargs):
        first, drawn = self.accelerator.process_index * len(prompt_ids), []
        for place, ids in enumerate(prompt_ids, first):
            torch.manual_seed(1000 * self.state.global_step + place)
            drawn += super()._generate_single_turn([ids], *args, **kwargs)[0]
        return drawn, None


if __name__ == "__main__":
    from hfdistill.baselines import groups

    groups.GRPOBaseline = DrawnAlike
    runpy.run_path(str(RECIPE), run_name="__main__")
