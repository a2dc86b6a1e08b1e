"""``python -m flow_core``: the command line."""

import sys

from flow_core.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
