"""``lowu config list | set``: what the group has set for all nodes of a running network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lowu.cli import emit_json
from lowu.contracts.system_config import SystemKey
from lowu.office import Office, run_steps
from lowu.options import directory_option, json_option
from lowu.output import print_table, say

MEANINGS = {
    SystemKey.TX_COUNT_LIMIT: "transactions in one block",
    SystemKey.LEADER_PERIOD: "blocks that one leader proposes before the next one does",
    SystemKey.TX_GAS_LIMIT: "gas that one transaction may use",
}


@click.group()
def config() -> None:
    """Show and change what the group has set for all nodes, while they run.

    The keys are FISCO BCOS's. The consortium decides: institutions with the role GOVERNOR vote
    until the change has passed. It holds from the next block on.
    """


@config.command("list")
@directory_option
@json_option
def list_settings(directory: Path, is_json: bool) -> None:
    """List the settings, and since which block each holds."""
    from lowu.commands.node.deciding import read_settings

    found: Any = run_steps(lambda: read_settings(Office(directory)))
    if is_json:
        entries = [
            {"key": str(key), "value": value, "since_block": since}
            for key, (value, since) in found.items()
        ]
        emit_json(True, {"settings": len(entries)}, settings=entries)
        return
    rows = [(str(key), value, since, MEANINGS[key]) for key, (value, since) in found.items()]
    columns = ("key", "value", "since block", "meaning")
    print_table(f"Settings of the group in {directory}", columns, rows)


@config.command("set", context_settings={"ignore_unknown_options": True})  # -5 is a number
@click.argument(
    "key", metavar="KEY", type=click.Choice([str(key) for key in SystemKey], case_sensitive=False)
)
@click.argument("value", metavar="VALUE", type=int)
@directory_option
@json_option
def set_value(key: str, value: int, directory: Path, is_json: bool) -> None:
    """Have the group set KEY to VALUE; `lowu config list` has the keys."""
    from lowu.commands.node.deciding import decide, read_settings, wait_for_setting
    from lowu.contracts.registry import SYSTEM_CONFIG_ADDRESS
    from lowu.contracts.system_config import BOUNDS, system_function

    chosen = SystemKey(key)
    least, most = BOUNDS[chosen]
    if not least <= value <= most:
        raise click.UsageError(f"{chosen} is from {least:,} to {most:,}, not {value:,}")
    office = Office(directory)
    if not office.plan.genesis.has_system_config:
        raise click.ClickException(
            "this chain began with an earlier Lowu, without the contract for settings; they are "
            "those of its config.genesis for ever. A new network has it"
        )

    async def run() -> Any:
        known, _ = (await read_settings(office))[chosen]
        if known == value:
            raise click.ClickException(f"{chosen} is {value} already; nothing was proposed")
        data = system_function("setValueByKey").encode_call(str(chosen), str(value))
        decision = await decide(office, [(SYSTEM_CONFIG_ADDRESS, data)])
        await wait_for_setting(office, chosen, value, decision.height)
        return decision

    decision: Any = run_steps(run)
    say(
        f"{chosen} is {value} from block {decision.height + 1} on: {decision.tell()}",
        is_json=is_json,
        height=decision.height,
        key=str(chosen),
        value=value,
        proposal=decision.proposal,
        voters=list(decision.voters),
    )
