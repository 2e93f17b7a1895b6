"""Postpone what py-evm imports for Prague, a fork that Lowu does not run.

`eth.vm.forks` imports the precompiles of all forks. For those on the curve BLS12-381, py_ecc
computes tables at import: 0.3 s, more than a quarter of all that a node imports. They are
imported here when one of them is called, so other users of py-evm in the process lose nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = "eth.precompiles.bls12_381"
FUNCTIONS = {
    "bls12_381_g1": ("bls12_g1_add", "bls12_g1_msm", "bls12_map_fp_to_g1"),
    "bls12_381_g2": ("bls12_g2_add", "bls12_g2_msm", "bls12_map_fp2_to_g2"),
    "bls12_381_pairing": ("bls12_pairing_check",),
}
"""By module of the package: the precompiles that py-evm imports from the package."""


def postpone_bls_precompiles() -> None:
    """Put a package in the place of py-evm's that imports its modules when they are used."""
    if PACKAGE in sys.modules:
        return
    spec = find_spec("eth")
    locations = spec.submodule_search_locations if spec is not None else None
    package = ModuleType(PACKAGE, "py-evm's package of this name, imported on use.")
    package.__path__ = [str(Path(path, "precompiles", "bls12_381")) for path in locations or ()]
    for module, names in FUNCTIONS.items():
        for name in names:
            setattr(package, name, _postpone(f"{PACKAGE}.{module}", name))
    sys.modules[PACKAGE] = package


def _postpone(module: str, name: str) -> Callable[[Any], Any]:
    def run(computation: Any) -> Any:
        return getattr(import_module(module), name)(computation)

    run.__name__ = run.__qualname__ = name
    return run
