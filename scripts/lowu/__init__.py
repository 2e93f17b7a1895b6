"""How it is started: the `lowu` command.

Sub-commands are imported only when used, so that ``lowu --help`` stays instant.
"""

from node.version import VERSION

__version__ = VERSION
