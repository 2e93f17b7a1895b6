"""What the parent of all commands has imported before it forks the first: all of the project."""

import importlib
import pkgutil

import consensus
import contracts
import experiments
import institutions
import lowu
import node

for package in (consensus, contracts, experiments, institutions, lowu, node):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
