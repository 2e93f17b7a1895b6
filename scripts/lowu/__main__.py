"""``python -m lowu``, which finds no module in the current folder."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # `-m` puts the current folder there: a json.py in it would be run

from lowu.cli import main

sys.exit(main())
