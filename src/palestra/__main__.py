"""``python -m palestra``: the same as the command ``palestra``."""

import sys

from palestra.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
