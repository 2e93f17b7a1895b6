"""What runs: one consortium node, a trio process around the consensus replica.

`app` wires the parts; `driver` is the only caller of the replica; `ledger` alone moves the
head of the chain; everything that touches py-evm is in `execution`.
"""
