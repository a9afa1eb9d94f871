from dataclasses import dataclass

from hfdistill.tasks.base import Answer, Question, Task


@dataclass
class Words(Task):
    """A task for tests: the answer is the word after "answer"."""

    max_new_tokens: int = 8

    def questions(self) -> list[Question]:
        return [Question(f"q{i}", f"w{i % 7} w{i % 5}", "train") for i in range(23)]

    def prompt(self, question: Question, shots: int | None = None) -> str:
        return question.question

    def extract(self, response: str, question: Question) -> Answer:
        after = response.partition("answer ")[2]
        return Answer(after.split()[0]) if after else Answer(None, "no_marker")
