"""Settings of the stage `lengths`."""

from dataclasses import dataclass, field

from ..fields import PARENT, section


@section()
@dataclass
class LengthsConfig:
    """Section `lengths`: how long the teacher's responses are.

    Args:
        labels (`str`, *optional*): the teacher's labelled responses; `{run}-labels` by default.
        shortest (`int`, *optional*, defaults to 0): responses of fewer characters are left out.
    """

    labels: str | None = field(default=None, metadata=PARENT)
    shortest: int = 0
