"""Shows less of a document than was chosen, as a cheating holder would, with a proof that fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lowu.institutions.exchange.presentation import Presentation
from lowu.institutions.package.format import Package
from lowu.institutions.package.forms import covers
from lowu.institutions.package.leaves import Leaf
from lowu.institutions.package.multiproof import collect_siblings


def show_only(shown: Presentation, package: Package, keep: Callable[[Leaf], bool]) -> Presentation:
    """Return a presentation of those of its leaves that are to be kept; it is not signed again."""
    kept = tuple(filter(keep, shown.disclosures))
    places = [leaf.index for leaf in kept]
    return replace(
        shown,
        disclosures=kept,
        hashes=tuple(package.leaves[place] for place in places),
        siblings=collect_siblings(package.leaves, places),
    )


def show_without(shown: Presentation, package: Package, *paths: str) -> Presentation:
    """Return a presentation of all that is shown but what lies at or below some paths."""
    return show_only(shown, package, lambda leaf: not covers(paths, leaf.path))
