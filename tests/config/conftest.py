"""Let the tests of ``palestra.config`` import their example task by name, as a user's module would be."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
