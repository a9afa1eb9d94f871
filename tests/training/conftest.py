"""The reward model's toy is that of its own tests."""

from ..reward.conftest import student_folder, tokenizer  # noqa: F401
