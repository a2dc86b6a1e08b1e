"""``python -m flow_core``: the command line. Lives here: nothing but the call; the commands are in ``cli/``."""

import sys

from flow_core.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
