"""How it is started: the `lowu` command.

Sub-commands are imported only when used, so that ``lowu --help`` stays instant; nothing is
imported here, so that ``python -m lowu`` can first take the current folder off the path.
"""


def __getattr__(name: str) -> str:
    """Return `__version__`, the version of Lowu as nodes tell it."""
    if name == "__version__":
        from node.version import VERSION

        return VERSION
    raise AttributeError(name)
