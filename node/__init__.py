"""One consortium node: a trio process around the consensus replica.

`app` wires the parts; `driver` is the only caller of the replica; only `ledger` moves the
head of the chain; all code that touches py-evm is in `execution`.
"""
