"""``python -m lowu``."""

import sys

from lowu.cli import main

sys.exit(main())
