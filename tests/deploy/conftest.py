"""Let the tests of ``palestra.deploy`` import their task by name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
