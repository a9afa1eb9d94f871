"""How a question is put to a model: as one text, or as the turns of a conversation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from .tasks.base import Question, Task

Message = dict[str, str]


@dataclass(frozen=True)
class Chat:
    """What stands around a question in a conversation.

    Attributes:
        system_prompt (`str`, *optional*): the turn in front of all others.
        template_kwargs (`Mapping[str, Any]`): handed to the chat template, `tools` among them.
        prefill (`str`, *optional*): how every response begins; it is part of the prompt.
    """

    system_prompt: str | None = None
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    prefill: str | None = None

    def messages(self, task: "Task", question: "Question", shots: int) -> list[Message]:
        """The turns up to the response: worked examples are turns of their own, the question is the last one's bare
        prompt, and a prefill is the beginning of the assistant's turn.
        """
        turns = [] if self.system_prompt is None else [{"role": "system", "content": self.system_prompt}]
        examples = task.worked_examples(question, shots) if shots else []
        for asked, answered in examples:
            turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
        # A task that cannot tell its worked examples apart has them in the text.
        turns.append({"role": "user", "content": task.prompt(question, shots=0 if examples else shots)})
        if self.prefill is not None:
            turns.append({"role": "assistant", "content": self.prefill})
        return turns
