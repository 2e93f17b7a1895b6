"""What the parent of all commands has imported before it forks the first: all of the project."""

import importlib
import pkgutil

import lowu

for module in pkgutil.walk_packages(lowu.__path__, "lowu."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
