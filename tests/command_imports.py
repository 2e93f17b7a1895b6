"""Imports all of the project into the parent process, before it forks the first command."""

import importlib
import pkgutil

import lowu

for module in pkgutil.walk_packages(lowu.__path__, "lowu."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
