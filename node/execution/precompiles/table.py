"""The precompiles at 0x01 to 0x0a, in py-evm's form: take the gas, then work.

Importing this module loads all libraries it needs (GMP, arkworks: 26 ms of CPU, 2.5 MB), so that
nodes forked afterwards share them, and the first call of each costs no more than later ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from eth.exceptions import VMError

from lowu.node.errors import BadInput
from lowu.node.execution.precompiles import prices
from lowu.node.execution.precompiles.blake2f import blake2f
from lowu.node.execution.precompiles.bn254 import ecadd, ecmul
from lowu.node.execution.precompiles.hashes import ecrecover, identity, ripemd160, sha256
from lowu.node.execution.precompiles.modexp import modexp
from lowu.node.execution.precompiles.pairing import check_pairing
from lowu.node.execution.precompiles.point_evaluation import point_evaluation

Price = Callable[[bytes | memoryview], int]
Work = Callable[..., bytes]
"""From an input to an output. Functions in `_ASKING` take a `pauses.Tick` as well."""
Read = Callable[[bytes | memoryview], int]
"""Number of bytes of the input that the work reads, once it is paid for."""
Precompile = Callable[[Any], Any]
"""Takes a py-evm computation and returns it with its output; raises `VMError` if it fails."""


class PrecompileFailed(VMError):  # type: ignore[misc]
    """A precompile rejected its input: the call fails and its gas is burnt."""


_PRICED: dict[int, tuple[str, Price, Work] | tuple[str, Price, Work, Read]] = {
    1: ("ECRECOVER", prices.fixed(prices.ECRECOVER_GAS), ecrecover, prices.fixed(128)),
    2: ("SHA256", prices.price_sha256, sha256),
    3: ("RIPEMD160", prices.price_ripemd160, ripemd160),
    4: ("IDENTITY", prices.price_identity, identity),
    5: ("MODEXP", prices.price_modexp, modexp, prices.count_modexp_bytes),
    6: ("ECADD", prices.fixed(prices.ECADD_GAS), ecadd, prices.fixed(128)),
    7: ("ECMUL", prices.fixed(prices.ECMUL_GAS), ecmul, prices.fixed(96)),
    8: ("ECPAIRING", prices.price_pairing, check_pairing),
    9: ("BLAKE2F", prices.price_blake2f, blake2f),
    10: ("POINT_EVALUATION", prices.fixed(prices.POINT_EVALUATION_GAS), point_evaluation),
}
_OFFICIALLY = _PRICED | {9: ("BLAKE2F", prices.price_blake2f_officially, blake2f)}


_ASKING: frozenset[Work] = frozenset({check_pairing, blake2f})
"""Work that can take seconds, and asks meanwhile whether it may continue."""
LONG_GAS = 50_000
"""Work that costs more may take more than a few milliseconds: a call waits for a turn first."""


def _build(name: str, price: Price, work: Work, read: Read = len) -> Precompile:
    reason = f"{name} precompile"

    def precompile(computation: Any) -> Any:
        data, watch = computation.msg.data, computation.transaction_context.watch
        try:
            gas = price(data)
            computation.consume_gas(gas, reason)
            if watch is not None and gas > LONG_GAS:
                watch.expect_long()
            # A call pays for the bytes that are read; a megabyte of input may follow them.
            asked = () if watch is None or work not in _ASKING else (watch.tick,)
            computation.output = work(bytes(data[: read(data)]), *asked)
        except BadInput as error:
            raise PrecompileFailed(f"{reason}: {error}") from error
        return computation

    return precompile


def build_precompiles(*, by: Literal["lowu", "official"]) -> Mapping[bytes, Precompile]:
    """Return the precompile at each address, with our prices or with Ethereum's as of Cancun."""
    priced = _PRICED if by == "lowu" else _OFFICIALLY
    return MappingProxyType(
        {number.to_bytes(20, "big"): _build(*entry) for number, entry in priced.items()}
    )


PRECOMPILES = build_precompiles(by="lowu")
OFFICIAL_PRECOMPILES = build_precompiles(by="official")
"""With Ethereum's prices: for running Ethereum's own tests, not for a chain."""
