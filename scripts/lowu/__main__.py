"""``python -m lowu``, which imports no module from the current folder."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # `-m` puts the current folder there: a json.py in it would be imported

from lowu.cli import main

sys.exit(main())
