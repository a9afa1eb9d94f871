"""The toys are those of the reward model's and the warm-up's own tests."""

from ..reward.conftest import student_folder, tokenizer  # noqa: F401
from ..warmup.conftest import encoder, student  # noqa: F401
