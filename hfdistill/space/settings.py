"""What the Space shows: a run, its artifacts at pinned commits, and perhaps a live teacher."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import HFDistillError, unknown
from ..kinds import CHAIN, KINDS


# Every artifact of a run that the Space reads.
SHOWN = {name: kind for name, kind in KINDS.items() if kind.stage in CHAIN}
# Secrets of the Space.
ENDPOINT_VARIABLE, TOKEN_VARIABLE, VOTES_TOKEN = "TEACHER_ENDPOINT", "TEACHER_TOKEN", "VOTES_TOKEN"
ENVIRONMENT = {
    "RUN": "run",
    ENDPOINT_VARIABLE: "teacher_endpoint",
    "STUDENT": "student",
    "VOTES_REPO": "votes_repo",
    **{f"{kind.upper()}_REPO": kind for kind in SHOWN},
}
# What the file of a Space, which everybody can read, never holds.
SECRET = ("teacher_endpoint", "teacher_token_env")


@dataclass(frozen=True)
class Settings:
    """Where the Space finds what it shows.

    Args:
        run (`str`): `namespace/name` of the run, or the common beginning of its folders' paths.
        artifacts (`dict[str, str]`, *optional*): an artifact that is not at `{run}-{kind}`, or whose commit is pinned:
            `{"policy": "namespace/name-policy@commit"}`.
        student (`str`, *optional*): the base student; the one that the run's artifacts name by default.
        teacher_endpoint (`str`, *optional*): URL of a TGI or OpenAI-style server where the teacher answers live.
            Without it, the answers that the teacher gave while the run was made are shown. It is a secret: no page and
            no file of the Space holds it.
        teacher_token_env (`str`, *optional*): environment variable with the endpoint's token.
        stored_only (`bool`, *optional*, defaults to `False`): show stored answers alone, and load no model: for a
            machine that is too small for them.
        votes_repo (`str`, *optional*): dataset to which blind votes are added, where the environment has a
            `VOTES_TOKEN` that may write there.
    """

    run: str
    artifacts: dict[str, str] = field(default_factory=dict)
    student: str | None = None
    teacher_endpoint: str | None = None
    teacher_token_env: str | None = None
    stored_only: bool = False
    votes_repo: str | None = None

    def __post_init__(self):
        for kind in self.artifacts:
            if kind not in SHOWN:
                raise unknown("artifact in the Space's settings:", kind, SHOWN)
        if self.teacher_endpoint is not None:
            from ..teacher.transport import base_url  # with an HTTP client, which no other page needs

            try:
                base_url(self.teacher_endpoint)
            except HFDistillError as error:
                here = f"For a Space that is {ENDPOINT_VARIABLE} or --teacher_endpoint, and its token {TOKEN_VARIABLE}"
                raise HFDistillError(f"{error}. {here}") from error

    def ref(self, kind: str) -> str:
        """Where the artifact of this kind is."""
        return self.artifacts.get(kind, f"{self.run}-{kind}")

    @property
    def title(self) -> str:
        """The run's name, without namespace or folder."""
        return self.run.rstrip("/").rpartition("/")[2]

    def to_json(self) -> str:
        """The content of `space.json`, without what is secret."""
        values = {name: value for name, value in asdict(self).items() if value and name not in SECRET}
        return json.dumps(values, indent=2) + "\n"


def load_settings(path: str | Path, environment: Mapping[str, str]) -> Settings:
    """Read `space.json`, if it exists, and the environment variables, which win over it.

    Args:
        path (`str` or `Path`): the JSON file.
        environment (`Mapping[str, str]`): `RUN`, `TEACHER_ENDPOINT`, `TEACHER_TOKEN` (only its presence is noted),
            `STUDENT`, and `POLICY_REPO`, `WARMUP_REPO`, … for single artifacts.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the file is broken or no run is named.
    """
    values = _read(Path(path))
    given = {name: environment[key].strip() for key, name in ENVIRONMENT.items() if environment.get(key, "").strip()}
    if given.get("run") not in (None, values.get("run")):
        # Pins belong to the run that they were taken from.
        values.pop("artifacts", None)
        values.pop("student", None)
    artifacts = dict(values.pop("artifacts", {}))
    artifacts.update({name: value for name, value in given.items() if name in SHOWN})
    values.update({name: value for name, value in given.items() if name not in SHOWN})
    if environment.get("STORED_ONLY", "").strip():
        values["stored_only"] = environment["STORED_ONLY"].strip().lower() in ("1", "true", "yes")
    if environment.get(TOKEN_VARIABLE):
        values["teacher_token_env"] = TOKEN_VARIABLE
    if not values.get("run"):
        raise HFDistillError(
            "no run is named: set the variable RUN to the run's namespace/name in the Space's settings, "
            "or write it to space.json"
        )
    return Settings(**values, artifacts=artifacts)


def _read(path: Path) -> dict:
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise HFDistillError(f"{path.name} is not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise HFDistillError(f"{path.name} must hold an object, not {values!r}")
    for key in values:
        if key in SECRET:
            raise HFDistillError(
                f"{path.name} holds {key}, and everybody can read that file: take it out, and set the endpoint as the "
                f"secret {ENDPOINT_VARIABLE} and its token as {TOKEN_VARIABLE} in the Space's settings"
            )
        if key not in Settings.__dataclass_fields__:
            raise unknown(f"key in {path.name}:", key, Settings.__dataclass_fields__)
    return values
