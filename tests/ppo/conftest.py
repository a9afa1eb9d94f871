"""The tests share `ppo_toy.py`, which the processes that some of them start import, too."""

import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parent))
