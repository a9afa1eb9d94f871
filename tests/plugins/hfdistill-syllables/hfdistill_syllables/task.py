"""A whole task: how many vowels does a word have?"""

from dataclasses import dataclass
from typing import ClassVar

from hfdistill.tasks import Answer, Question, Task, extract_number, same_number, split_of


WORDS = ("banana", "distil", "teacher", "student", "reward", "policy", "gradient", "sample", "answer", "vote")
SHOT = "Q: How many vowels are in 'hub'?\nThere is u.\nThe answer is 1.\n"


@dataclass
class Syllables(Task):
    """
    Args:
        words (`tuple[str, ...]`): what is asked about.
    """

    name: ClassVar[str] = "syllables"

    words: tuple[str, ...] = WORDS
    shots: int = 1
    max_new_tokens: int = 32
    stop: tuple[str, ...] = ("\nQ:",)

    def questions(self) -> list[Question]:
        asked = [(word, f"How many vowels are in '{word}'?") for word in self.words]
        return [Question(word, text, split_of(text, validation=0.1, test=0.3)) for word, text in asked]

    def golds(self) -> dict[str, str]:
        return {word: str(sum(word.count(vowel) for vowel in "aeiou")) for word in self.words}

    def prompt(self, question: Question, shots: int | None = None) -> str:
        shots = self.shots if shots is None else shots
        return SHOT * shots + f"Q: {question.question}\n"

    def extract(self, response: str, question: Question) -> Answer:
        return extract_number(response)

    def same(self, a: str, b: str) -> bool:
        return same_number(a, b)
