"""What was done to a model, in words for its card: the variants of the method tell themselves apart by it."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from .inherited import NO_IMITATION


IMITATION = {
    "labelled": "warmed up on the teacher's answers that agree with its majority vote",
    "all": "trained on all answers of the teacher, right or wrong, which no vote filtered",
    NO_IMITATION: "without any imitation before",
}
JUDGED, SCORED = "warmed up on the teacher's answers that a judge calls good", "the score of a reward model"
REWARDS = {
    "brief": "short answers",
    "clipped": "agreement with the vote, less for a low score of the reward model",
    "delta": "agreement with the vote, and each step by what it adds to the reward model's score",
    "distilled": "the score of a reward model that was distilled from the same teacher, corrected by the vote (Eq. 7)",
    "pessimistic": "the score of several reward models less their doubt, corrected by the vote",
    "stratified": "agreement with the vote, among equals the better by the reward model",
    "vote": "agreement with the vote alone, in which no reward model had a part",
}


class Variant:
    """How a run's main line and its variants differ, read from a manifest.

    Args:
        manifest (`dict`): from [`~hfdistill.artifacts.manifest.manifest`].
        open_ended (`bool`): whether a judge takes the place of the vote.

    Attributes:
        stage (`Mapping`): settings that decide the artifact.
        imitation (`str` or `None`): `"labelled"`, `"all"` or `"none"`; `None` where it is not known.
        relabelled (`Mapping` or `None`): how the labels were derived from others.
    """

    def __init__(self, manifest: Mapping[str, Any], open_ended: bool = False):
        inherited = manifest.get("inherited", {})
        self.stage = manifest["config"].get("stage", {})
        self.imitation = inherited.get("imitation")
        self.relabelled = manifest["metrics"].get("relabelled") or inherited.get("relabelled")
        self._open_ended = open_ended
        self._moves = self.stage.get("moving_labels", "none") != "none"

    @property
    def labeler(self) -> str:
        """What labelled the teacher's answers."""
        return _name(self.stage.get("labeler", "vote"))

    @property
    def begins(self) -> str:
        """What was done before reinforcement."""
        if self._open_ended and self.imitation == "labelled":
            return JUDGED
        return IMITATION.get(self.imitation, "starting from the model in the row `warmup` below")

    @property
    def learner(self) -> str:
        """What the student is called whose answers were sampled."""
        return {"labelled": "warmed-up student", "all": "student, after imitation of all answers"}.get(
            self.imitation, "base student" if self.imitation == NO_IMITATION else "model in the row `warmup` below"
        )

    @property
    def rewards(self) -> str:
        """What reinforcement was for."""
        if self._open_ended and self.paper_row:
            return SCORED
        return " plus ".join(map(_reward, self.stage.get("rewards", ["distilled"])))

    @property
    def paper_row(self) -> str | None:
        """Which row of the paper's table it is after reinforcement, if it is one."""
        plain = all(_is_equation_7(entry) for entry in self.stage.get("rewards", ["distilled"]))
        if not plain or self._moves or self.relabelled:
            return None
        return {"labelled": "Ours", NO_IMITATION: "Ours w/o D"}.get(self.imitation)

    @property
    def labels(self) -> str | None:
        """What became of the labels that it learned from, if they are not those of the vote."""
        if not self.relabelled:
            return None
        done = []
        if self.relabelled.get("gold"):
            done.append("gold answers stood in for those of training questions, so that this is a ceiling")
        if self.relabelled.get("noise"):
            share = f"{100 * self.relabelled['noise']:g} %"
            done.append(f"{share} of the labels were made wrong on purpose (seed {self.relabelled['seed']})")
        if self.relabelled.get("withhold"):
            share = f"{100 * self.relabelled['withhold']:g} %"
            done.append(f"the least sure were withheld, until {share} of the questions had none")
        return "; ".join(done)


def _name(entry: Any) -> str:
    return entry["name"] if isinstance(entry, Mapping) else str(entry)


def _reward(entry: Any) -> str:
    name = _name(entry)
    function = entry.get("function") if isinstance(entry, Mapping) else None
    if function:
        return f"a function of the user's of the reward model's score, `{PurePath(function).name}`"
    words = REWARDS.get(name) or f"a function of the user's, `{PurePath(name).name}`"
    variant = entry.get("variant") if isinstance(entry, Mapping) else None
    words += f", variant `{variant}`" if variant not in (None, "min") else ""
    weight = entry.get("weight", 1) if isinstance(entry, Mapping) else 1
    return words if weight == 1 else f"{weight:g} times {words}"


def _is_equation_7(entry: Any) -> bool:
    return _name(entry) == "distilled" and (
        not isinstance(entry, Mapping)
        or (entry.get("variant") in (None, "min") and not entry.get("function") and entry.get("weight", 1) == 1)
    )
