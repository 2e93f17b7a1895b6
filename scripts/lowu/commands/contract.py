"""``lowu contract``: deploy contracts, call and change them, as an institution."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lowu.arguments import read_form, write_file
from lowu.cli import emit_json
from lowu.office import Office, run_steps
from lowu.options import EXISTING, by_option, directory_option, json_option, name_folder
from lowu.output import print_table, say

if TYPE_CHECKING:
    from lowu.contracts.interface import Entry, Interface
    from lowu.institutions.ledger.responses import TransactionReceipt
    from lowu.institutions.ledger.transactor import Signer

GAS_MARGIN = 1.25
"""By how much the gas that is offered exceeds the estimate."""
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,63}")
NEGATIVE = {"ignore_unknown_options": True}
"""Lets -5 be an argument."""

artifact_option = click.option(
    "--artifact", type=EXISTING, default=None,
    help="The contract's artifact or ABI, if CONTRACT is an address.",
)  # fmt: skip


@click.group()
def contract() -> None:
    """Deploy contracts, call and change them.

    Arguments are typed as they are: 1000 or 0x3e8, true, 0x… for bytes, an address or the name of
    an institution, text, and JSON for lists and tuples. CONTRACT is an address, a name given at
    `deploy`, or one of the registry's contracts, such as HashRegistry.
    """


@contract.command(context_settings=NEGATIVE)
@click.argument("artifact")
@click.argument("arguments", nargs=-1)
@by_option
@click.option("--name", default=None, help="Name for later commands.  [default: the artifact's]")
@directory_option
@json_option
def deploy(
    artifact: str,
    arguments: tuple[str, ...],
    institution: str,
    name: str | None,
    directory: Path,
    is_json: bool,
) -> None:
    """Create the contract of ARTIFACT, a file of solc, Hardhat or Foundry, with ARGUMENTS.

    Token, SmallBank and Loops come with Lowu.
    """
    office = Office(directory)
    found = _read_artifact(artifact)
    label = name or found.name
    _check_label(label)
    if not found.bytecode:
        raise click.UsageError(f"{artifact}: it has no bytecode, so nothing can be deployed")
    data = found.bytecode + _encode(found.constructor, arguments, office)

    async def run(signer: Signer) -> tuple[str, TransactionReceipt]:
        gas = await _estimate(signer, found, None, data)
        receipt = await signer.send(b"", data, gas=gas)
        return "0x" + receipt.contract.hex(), receipt

    address, receipt = _run(office, institution, run)
    _Book(directory).keep(label, address, found)
    say(
        f"{label} is at {address}, created in block {receipt.height}\n"
        f"next: lowu contract show {label}{name_folder(directory)}",
        is_json=is_json,
        name=label,
        address=address,
        height=receipt.height,
        tx=receipt.tx_hash,
    )


@contract.command(context_settings=NEGATIVE)
@click.argument("contract_name", metavar="CONTRACT")
@click.argument("function")
@click.argument("arguments", nargs=-1)
@by_option
@artifact_option
@directory_option
@json_option
def call(
    contract_name: str,
    function: str,
    arguments: tuple[str, ...],
    institution: str,
    artifact: Path | None,
    directory: Path,
    is_json: bool,
) -> None:
    """Call FUNCTION of CONTRACT, and show what it returns; nothing is changed."""
    office = Office(directory)
    address, found = _find(office, contract_name, artifact)
    entry, data = _prepare(found, function, arguments, office)

    async def run(signer: Signer) -> dict[str, Any]:
        message = {"from": signer.address, "to": address, "data": "0x" + data.hex()}
        output = await _ask(signer, found, "eth_call", message, "latest")
        return _decode(entry, bytes.fromhex(str(output)[2:]), address)

    result = _run(office, institution, run)
    if is_json:
        emit_json(True, {}, contract=address, function=entry.signature, result=result)
    else:
        shown = [f"{name}: {_text(value)}" for name, value in result.items()]
        if list(result) == ["0"]:
            shown = [_text(result["0"])]
        say("\n".join(shown), is_json=False)


@contract.command(context_settings=NEGATIVE)
@click.argument("contract_name", metavar="CONTRACT")
@click.argument("function")
@click.argument("arguments", nargs=-1)
@by_option
@artifact_option
@directory_option
@json_option
def send(
    contract_name: str,
    function: str,
    arguments: tuple[str, ...],
    institution: str,
    artifact: Path | None,
    directory: Path,
    is_json: bool,
) -> None:
    """Send a transaction to FUNCTION of CONTRACT; return once it is committed."""
    office = Office(directory)
    address, found = _find(office, contract_name, artifact)
    entry, data = _prepare(found, function, arguments, office)

    async def run(signer: Signer) -> TransactionReceipt:
        gas = await _estimate(signer, found, address, data)
        return await signer.send(bytes.fromhex(address[2:]), data, gas=gas)

    receipt = _run(office, institution, run)
    events = [found.decode_event(log.topics, log.data) for log in receipt.logs]
    lines = [f"{entry.signature} in block {receipt.height}, {receipt.tx_hash}"]
    lines += [f"  {item['event']} {_text(item['values'])}" for item in events if item]
    say(
        "\n".join(lines),
        is_json=is_json,
        contract=address,
        function=entry.signature,
        height=receipt.height,
        tx=receipt.tx_hash,
        events=[item for item in events if item],
    )


@contract.command("list")
@directory_option
@json_option
def list_contracts(directory: Path, is_json: bool) -> None:
    """List the contracts that commands know by name."""
    known = _Book(directory).read()
    rows = [(name, item["address"], len(item["abi"])) for name, item in known.items()]
    if is_json:
        emit_json(True, {"contracts": len(rows)}, contracts={name: row for name, row, _ in rows})
    else:
        print_table("Contracts", ("name", "address", "entries of the ABI"), rows)


@contract.command()
@click.argument("contract_name", metavar="CONTRACT")
@artifact_option
@directory_option
@json_option
def show(contract_name: str, artifact: Path | None, directory: Path, is_json: bool) -> None:
    """Show the functions and events of CONTRACT."""
    address, found = _find(Office(directory), contract_name, artifact)
    if is_json:
        emit_json(True, {}, name=found.name, address=address, abi=list(found.abi))
        return
    rows = [
        (item.usage, "call" if item.is_view else "send", _returns(item)) for item in found.functions
    ]
    rows += [(item.usage, "event", "") for item in found.events]
    print_table(f"{found.name} at {address}", ("function", "by", "returns"), rows)


def _returns(entry: Entry) -> str:
    return ", ".join(f"{item['type']} {item.get('name', '')}".strip() for item in entry.outputs)


# --- helpers --------------------------------------------------------------------------------------


class _Book:
    """The contracts that were deployed from a folder, by name."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "desks" / "contracts.json"

    def read(self) -> dict[str, dict[str, Any]]:
        """Return name, address and ABI of each; nothing takes the name of the registry's."""
        from lowu.contracts.abi import load_artifact
        from lowu.contracts.registry import ADDRESSES

        known: dict[str, dict[str, Any]] = {
            name: {"address": "0x" + address.hex(), "abi": list(load_artifact(name).abi)}
            for name, address in ADDRESSES.items()
        }
        try:
            kept = json.loads(self._path.read_text("utf-8")) if self._path.is_file() else {}
            for name, item in kept.items():
                if not isinstance(item["address"], str) or not isinstance(item["abi"], list):
                    raise TypeError(f"{name}: not an address and an ABI")
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise click.ClickException(
                f"{self._path} is damaged ({error}); move it away, and name contracts by address"
            ) from error
        return {**known, **{name: item for name, item in kept.items() if name not in known}}

    def keep(self, name: str, address: str, found: Interface) -> None:
        """Remember a contract; a later one takes the name."""
        from lowu.contracts.registry import ADDRESSES
        from lowu.institutions.files import hold_lock, make_private_folder

        make_private_folder(self._path.parent)
        with hold_lock(self._path.with_suffix(".lock"), lambda: None):
            kept = {key: item for key, item in self.read().items() if key not in ADDRESSES}
            kept[name] = {"address": address, "abi": list(found.abi)}
            write_file(self._path, json.dumps(kept, indent=1).encode())


def _check_label(label: str) -> None:
    """Refuse a name that commands could not use, or that is another's."""
    from lowu.contracts.registry import ADDRESSES

    if label in ADDRESSES:
        raise click.UsageError(f"{label} is a contract of the registry; give this one a --name")
    if not _LABEL.fullmatch(label):
        raise click.UsageError(
            f"{label[:60]!r} is no name for a contract; give it a --name of up to 64 letters, "
            "digits, '.', '_' and '-' that begins with a letter"
        )


def _read_artifact(name: str) -> Interface:
    """Return the contract of a file, or one that comes with Lowu."""
    from importlib import resources

    from lowu.contracts.interface import ContractMistake, read_artifact
    from lowu.node.limits.json_limits import load_json

    path = Path(name)
    bundled = resources.files("lowu.contracts").joinpath("artifacts", f"{name}.json")
    try:
        if not path.is_file() and "/" not in name and bundled.is_file():
            return read_artifact(json.loads(bundled.read_bytes()), name)
        return read_artifact(read_form(path, load_json, "JSON"), path.stem)
    except ContractMistake as error:
        raise click.UsageError(f"{name}: {error}") from error


def _find(office: Office, name: str, artifact: Path | None) -> tuple[str, Interface]:
    """Return a contract's address and what it offers."""
    from difflib import get_close_matches

    from lowu.contracts.interface import ContractMistake, read_artifact

    known = _Book(office.directory).read()
    by_address = {item["address"]: item for item in known.values()}
    item = known.get(name) or by_address.get(name.lower())
    is_address = name.lower().startswith("0x") and len(name) == 42
    if item is None and not is_address:
        close = get_close_matches(name, known, 1)
        mend = f"did you mean {close[0]}?" if close else f"there are: {', '.join(known)}"
        raise click.UsageError(f"no contract {name!r} is known here; {mend}")
    address = name.lower() if item is None else str(item["address"])
    if artifact is not None:
        return address, _read_artifact(str(artifact))
    if item is None:
        raise click.UsageError(f"{name} is not known here: give its --artifact")
    try:
        return address, read_artifact(item["abi"], name)
    except ContractMistake as error:
        raise click.ClickException(f"{name}: {error}") from error


def _encode(entry: Entry, arguments: tuple[str, ...], office: Office) -> bytes:
    from lowu.contracts.interface import ContractMistake

    known = {item.spec.id: office.address_of(item) for item in office.list_institutions()}
    try:
        return entry.encode_arguments(arguments, lambda text: known.get(text, text))
    except ContractMistake as error:
        raise click.UsageError(str(error)) from error


def _prepare(
    found: Interface, function: str, arguments: tuple[str, ...], office: Office
) -> tuple[Entry, bytes]:
    from lowu.contracts.interface import ContractMistake

    try:
        entry = found.find_function(function, len(arguments))
    except ContractMistake as error:
        raise click.UsageError(str(error)) from error
    return entry, entry.topic[:4] + _encode(entry, arguments, office)


def _run(office: Office, institution: str, act: Callable[[Signer], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with office.connect(institution) as signer:
            return await act(signer)

    return run_steps(run)


async def _estimate(signer: Signer, found: Interface, to: str | None, data: bytes) -> int:
    """Return the gas to offer; a transaction that would be reverted is refused with the reason."""
    message = {"from": signer.address, "data": "0x" + data.hex()}
    gas = await _ask(signer, found, "eth_estimateGas", message | ({"to": to} if to else {}))
    return int(int(str(gas), 16) * GAS_MARGIN)


async def _ask(signer: Signer, found: Interface, method: str, *params: Any) -> Any:
    from lowu.institutions.ledger.registry import REVERTED
    from lowu.node.client import RemoteError

    try:
        return await signer.registry.client.call(method, *params)
    except RemoteError as error:
        if error.code != REVERTED:
            raise
        reason = found.explain_revert(bytes.fromhex((error.data or "0x")[2:]))
        raise click.ClickException(f"{found.name} refuses: {reason}") from error


def _decode(entry: Entry, output: bytes, address: str) -> dict[str, Any]:
    from eth_abi.exceptions import DecodingError

    if not output and entry.outputs:
        raise click.ClickException(f"nothing answers at {address}: is a contract there?")
    try:
        return entry.decode_outputs(output)
    except (DecodingError, ValueError, OverflowError) as error:
        raise click.ClickException(
            f"the answer does not fit {entry.signature} ({error})"
        ) from error


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
