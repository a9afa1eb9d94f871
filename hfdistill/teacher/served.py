"""Endpoints that serve a run while some of its jobs last: a file with the URL of each, which goes when it ends."""

import dataclasses
from pathlib import Path

from ..config import Config
from ..sections import RunConfig


def endpoints_folder(run: RunConfig) -> Path:
    """Where a job that serves the teacher leaves its URL."""
    return Path(run.output_dir) / "endpoints"


def use_served(config: Config) -> Config:
    """The configuration with the URLs of the run's own endpoints, where it names none itself."""
    files = sorted(endpoints_folder(config.run).glob("*"))
    if config.teacher is None or config.teacher.endpoints or not files:
        return config
    urls = [file.read_text(encoding="utf-8").strip() for file in files]
    return dataclasses.replace(config, teacher=dataclasses.replace(config.teacher, endpoints=urls))
