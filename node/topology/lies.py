"""What nodes do that lie: those of a network that allows it (`node/simulation/byzantine.py`)."""

from __future__ import annotations

LIES = {
    "equivocate": "as leader, it proposes one block to some and another one to the others",
    "withhold": "as leader, it proposes nothing",
    "delay": "as leader, it proposes late",
    "wrong-result": "it reports another result of each block than its own",
    "censor": "as leader, it leaves out the transactions of every other account",
}
