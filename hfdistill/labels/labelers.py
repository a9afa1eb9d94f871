"""Labelers by name: what decides which responses are right, without gold answers."""

from typing import Any

from ..fields import recorded
from ..kinds import LABELS
from ..plugins import build, installed, resolved
from .labeler import Labeler


GROUP = "hfdistill.labelers"

BUILT_IN = {
    "llm_judge": "hfdistill.labels.llm_judge:LLMJudge",
    "vote": "hfdistill.labels.vote:VoteLabeler",
}


def installed_labelers() -> dict[str, str]:
    """Names of all labelers with where each comes from, `module:Class`; nothing is imported."""
    return installed(GROUP, BUILT_IN)


def load_labeler(section: dict[str, Any]) -> Labeler:
    """Builds the labeler of a section such as `{"name": "vote", "threshold": 0.7}`."""
    return build("labeler", section, installed_labelers())


def identity(section: dict[str, Any]) -> dict[str, Any]:
    """Every option of a labeler's section, but those that say where and how it works."""
    labeler = load_labeler(section)
    return recorded(type(labeler), resolved(section, labeler), LABELS.name)
