"""The rows of the paper's table of accuracies: what each model has been through, in words."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PaperRow:
    """A row of the table.

    Attributes:
        name (`str`): as in the paper.
        role (`str`): how its model was made, as far as a page colours it: `"teacher"`, `"student"` (before any
            training), `"warmup"` or `"policy"`.
        title (`str`): what the model is, in two or three words.
        words (`str`): what it has been through.
    """

    name: str
    role: str
    title: str
    words: str


TEACHER = PaperRow("Teacher", "teacher", "Teacher", "the large model")
BASE = PaperRow("ICL", "student", "Student before", "the small model, which has seen nothing of the teacher yet")
ALL_DATA = PaperRow("SFT", "student", "Student after all answers", "trained on all answers of the teacher")
WITHOUT_REWARD = PaperRow(
    "Ours w/o R", "warmup", "Student after imitation", "trained on the teacher's majority answers"
)
WITHOUT_DATA = PaperRow(
    "Ours w/o D", "policy", "Student after reward alone", "practised with a reward model, without imitation before"
)
OURS = PaperRow(
    "Ours", "policy", "Student after reward", "trained on the majority answers, then practised with the reward model"
)

# Not the paper's, and the control of its last row: what the policy comes to without a reward model.
PPO_ON_THE_VOTE = "PPO on the vote"

# What a run is told by: its teacher, and its student on the way.
MAIN_ROWS = (TEACHER, BASE, WITHOUT_REWARD, OURS)
# In the paper's order.
PAPER_ROWS = {row.name: row for row in (TEACHER, BASE, ALL_DATA, WITHOUT_REWARD, WITHOUT_DATA, OURS)}


def in_order(names: list[str]) -> list[str]:
    """Names of rows in the paper's order, and those that the paper does not have after them, by name."""
    places = list(PAPER_ROWS)
    return sorted(names, key=lambda name: (places.index(name) if name in places else len(places), name))


def row_in_words(name: str) -> PaperRow:
    """The row of this name; one that the paper does not have goes by its name."""
    return PAPER_ROWS.get(name, PaperRow(name, BASE.role, name, "another row of the results"))
