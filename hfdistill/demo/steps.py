"""The demo as steps: its addresses, its settings, and the command of every process."""

import sys
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ..config import read_sections
from ..evaluation.paper_rows import PPO_ON_THE_VOTE
from ..kinds import STAGES
from ..runs.ablation_grid import SECONDS, AblationGrid, SeedSettings
from ..runs.ablation_tables import LABELS, LENIENT
from ..runs.ablations import AblationTable
from ..runs.stages import ON_CPU, recipes_folder
from ..runs.steps import Step
from ..sections import RunConfig


NAMESPACE = "local"
FIRST_SEED = 2  # the settings were chosen on the seeds 0, 1, 100 and 101
CONFIG = "configs/word_problems/demo.yaml"

# What keeps the artifacts of the paper's other rows apart.
ALL_DATA = "-sft"  # the paper's SFT: every response of the teacher, none filtered
WITHOUT_DATA = "-wo-d"  # the paper's "Ours w/o D": PPO from the base student
# Seconds to train a model from scratch.
MODELS = {"large": 60.0, "small": 40.0}


@dataclass(frozen=True)
class Demo:
    """One run of the demo."""

    folder: Path  # everything the demo writes: the Hub's data, journals, checkpoints, logs and the report
    seed: int  # of tasks, models, sampling and training
    scale: float  # share of the questions, the corpora and the episodes; below 1 only for a quick look
    hub_port: int  # on 127.0.0.1, as the next
    teacher_port: int

    @property
    def run(self) -> str:
        """Name of the run, which is every artifact's prefix."""
        return f"word-problems-{self.seed}"

    @property
    def output_dir(self) -> Path:
        """Journals, checkpoints and logs of this seed."""
        return self.folder / f"seed-{self.seed}"

    @property
    def hub_url(self) -> str:
        """The Hub's address."""
        return f"http://127.0.0.1:{self.hub_port}"

    @property
    def teacher_url(self) -> str:
        """The teacher's address."""
        return f"http://127.0.0.1:{self.teacher_port}"

    def artifact(self, kind: str) -> str:
        """A repository of this run on the demo's Hub."""
        return f"{NAMESPACE}/{self.run}-{kind}"

    def environment(self) -> dict[str, str]:
        """Variables that tie a process to the demo's Hub and to one core, and keep it from every other host."""
        return {
            "HF_ENDPOINT": self.hub_url,
            "HF_HOME": str(self.folder.absolute() / "hf-home"),
            "HF_TOKEN": "hf_demo",
            "HF_HUB_OFFLINE": "0",  # this Hub is there without any network
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "TOKENIZERS_PARALLELISM": "false",
            "TRANSFORMERS_VERBOSITY": "error",
            "OMP_NUM_THREADS": "1",
        }

    def make_models(self) -> list[Step]:
        """Train the teacher and the base student from scratch."""
        steps = []
        for size, expected in MODELS.items():
            options = ["--run", self.run, "--seed", str(self.seed), "--scale", str(self.scale)]
            command = [sys.executable, "-m", "hfdistill.demo.pretrain", size, *options]
            steps.append(Step(f"{size} model", command, expected=expected * self._least_scale))
        return steps

    def distil(self) -> list[Step]:
        """The five recipes, and the paper's two ablations that need training of their own."""
        table = replace(self.settings.table("main", [PPO_ON_THE_VOTE, LENIENT]), name="")
        return [made.step for made in AblationGrid(table, self.settings).steps]

    def grid(self, table: AblationTable) -> AblationGrid:
        """The steps of a table of the study."""
        return AblationGrid(table, self.settings)

    @cached_property
    def settings(self) -> SeedSettings:
        """How the steps are started."""
        run = RunConfig(self.run, namespace=NAMESPACE, seed=self.seed, output_dir=str(self.output_dir))
        shared = (
            *("--run.name", self.run, "--run.seed", str(self.seed), "--run.output_dir", str(self.output_dir)),
            *("--task.seed", str(self.seed)),
            *("--teacher.model", self.artifact("large"), "--teacher.endpoints", self.teacher_url),
            *("--student.model", self.artifact("small")),
        )
        return SeedSettings(
            str(recipes_folder() / CONFIG),
            run,
            shared,
            {stage: self._scaled(stage) for stage in STAGES},
            ON_CPU,
            failing=LABELS,  # the teacher leaves more than a third of the questions without one
            expected={stage: seconds * self._least_scale for stage, seconds in SECONDS.items()},
        )

    @property
    def _least_scale(self) -> float:
        return max(self.scale, 0.2)

    def _scaled(self, stage: str) -> list[str]:
        if self.scale == 1:
            return []
        sections = read_sections(recipes_folder() / CONFIG)
        flags = []
        for split in ("train", "validation", "test"):
            flags += [f"--task.{split}", str(max(int(sections["task"][split] * self.scale), 20))]
        if episodes := sections.get(stage, {}).get("total_episodes"):
            flags += ["--total_episodes", str(max(int(episodes * self.scale), 256))]
        return flags
