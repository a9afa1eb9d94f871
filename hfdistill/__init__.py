"""hfdistill: distil a large language model's answers and rewards into a small one, on the Hugging Face Hub."""

__version__ = "0.1.0"
