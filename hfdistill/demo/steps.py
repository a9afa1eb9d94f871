"""The demo as steps: its addresses, its settings, and the command of every process."""

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..config import read_sections
from ..evaluation import paper_rows
from ..runs.stages import ON_CPU, recipe_step, recipes_folder
from ..runs.steps import Step


NAMESPACE = "local"
FIRST_SEED = 2  # the settings were chosen on the seeds 0, 1, 100 and 101
CONFIG = "configs/word_problems/demo.yaml"

# Ablations keep their artifacts apart by a suffix.
ALL_DATA = "-sft"  # the paper's SFT: every response of the teacher, none filtered
WITHOUT_DATA = "-wo-d"  # the paper's "Ours w/o D": PPO from the base student


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
        for size, expected in (("large", 60.0), ("small", 22.0)):
            options = ["--run", self.run, "--seed", str(self.seed), "--scale", str(self.scale)]
            command = [sys.executable, "-m", "hfdistill.demo.pretrain", size, *options]
            steps.append(Step(f"{size} model", command, expected=expected))
        return steps

    def distil(self) -> list[Step]:
        """The five recipes, and the paper's two ablations that need training of their own."""
        base = self.artifact("small")
        from_base = ["--warmup", base]
        rows = {
            paper_rows.BASE: base,
            paper_rows.ALL_DATA: self.artifact("warmup" + ALL_DATA),
            paper_rows.WITHOUT_REWARD: self.artifact("warmup"),
            paper_rows.WITHOUT_DATA: self.artifact("policy" + WITHOUT_DATA),
            paper_rows.OURS: self.artifact("policy"),
        }
        models = [f"{row.name}={repo}" for row, repo in rows.items()]
        return [
            self._step("label", "label", (), 70),
            self._step("warm-up", "warmup", ("label",), 45),
            self._step("SFT on all data", "warmup", ("label",), 55, ALL_DATA, ["--data", "all"]),
            self._step("reward", "reward", ("warm-up",), 60),
            self._step("reward w-o D", "reward", ("label",), 60, WITHOUT_DATA, from_base),
            self._step("PPO", "ppo", ("reward",), 75),
            self._step(
                "PPO w-o D",
                "ppo",
                ("reward w-o D",),
                75,
                WITHOUT_DATA,
                [
                    *from_base,
                    *("--reward", self.artifact("reward" + WITHOUT_DATA)),
                    *("--triples", self.artifact("triples" + WITHOUT_DATA)),
                ],
            ),
            self._step("evaluate", "evaluate", ("PPO", "PPO w-o D", "SFT on all data"), 25, "", ["--models", *models]),
        ]

    def _step(
        self,
        name: str,
        stage: str,
        after: tuple[str, ...],
        expected: float,
        suffix: str = "",
        options: Sequence[str] = (),
    ) -> Step:
        arguments = [
            *("--config", str(recipes_folder() / CONFIG)),
            *("--run.name", self.run, "--run.seed", str(self.seed), "--run.output_dir", str(self.output_dir)),
            *("--task.seed", str(self.seed)),
            *("--teacher.model", self.artifact("large"), "--teacher.endpoints", self.teacher_url),
            *("--student.model", self.artifact("small")),
            *(["--run.suffix", suffix] if suffix else []),
            *self._scaled(stage),
            *options,
        ]
        config = hashlib.sha256((recipes_folder() / CONFIG).read_bytes()).hexdigest()
        return recipe_step(stage, arguments, ON_CPU, name, after, expected * max(self.scale, 0.2), config)

    def _scaled(self, stage: str) -> list[str]:
        if self.scale == 1:
            return []
        sections = read_sections(recipes_folder() / CONFIG)
        flags = []
        for split in ("train", "validation", "test"):
            flags += [f"--task.{split}", str(max(int(sections["task"][split] * self.scale), 20))]
        if stage == "ppo":
            flags += ["--total_episodes", str(max(int(sections["ppo"]["total_episodes"] * self.scale), 256))]
        return flags
