"""Messages as a prompt."""

from typing import Any

import jinja2

from .bodies import ChatRequest
from .errors import MalformedError, TemplateError, ToolError, ValidationError


def render(tokenizer, wanted: ChatRequest) -> str:
    """The prompt that the model's chat template makes of the messages.

    Raises:
        `ToolError`, `ValidationError`, `TemplateError`: what is wanted is not supported, or the template refuses.
    """
    if wanted.wants_tools:
        raise ToolError("tools are not supported")
    if wanted.wants_format:
        raise ValidationError("grammar is not supported")
    if tokenizer.chat_template is None:
        raise TemplateError("template not found")
    if not wanted.messages:
        raise ValidationError("`messages` is empty: give at least one")
    messages = [_message(index, message) for index, message in enumerate(wanted.messages)]
    try:
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except jinja2.TemplateError as error:
        raise TemplateError(str(error)) from error


def _message(index: int, message: Any) -> dict[str, Any]:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise MalformedError(
            422, f"Failed to deserialize the JSON body into the target type: messages[{index}]: missing field `role`"
        )
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(_part(index, part) for part in content)
    elif content is not None and not isinstance(content, str):
        raise MalformedError(
            422,
            "Failed to deserialize the JSON body into the target type: "
            f"messages[{index}].content: expected a string or a list of parts",
        )
    return {**message, "content": content or ""}


def _part(index: int, part: Any) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return part["text"]
    raise ValidationError(f"messages[{index}] has a part that is no text; this server reads text only")
