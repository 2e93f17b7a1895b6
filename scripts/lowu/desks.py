"""What the commands of institutions and holders share: who acts, and what they must not forget.

Institutions keep what they must not forget below ``--dir``, in ``desks/NAME.sqlite3``; holders in
``wallets/NAME.sqlite3``. Documents travel as files; a node never sees one.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import trio

from lowu.cli import emit_json

if TYPE_CHECKING:
    from institutions.desks import IssuerDesk, VerifierDesk, Wallet
    from institutions.issuer import Issuer
    from institutions.registry import Signer
    from institutions.store import Store
    from institutions.trust import Trust
    from node.client import RpcClient
    from node.topology.plan import Plan, PlannedInstitution

_HINTS = {
    "ROLE_REQUIRED": "This institution has not the role for it: see its roles in the network file.",
    "NOT_ACCREDITED": "It is not accredited for this schema: see its schemas in the network file.",
    "NOT_FOUND": "This institution has registered no such anchor.",
    "ALREADY_REVOKED": "It is withdrawn already.",
    "TERMINAL_STATE": "It is out of force for good already.",
}
"""What to do about a refusal, by its name."""
FILE = click.Path(path_type=Path, dir_okay=False)
EXISTING = click.Path(path_type=Path, dir_okay=False, exists=True)

by_option = click.option("--by", "institution", required=True, help="The institution that acts.")
holder_option = click.option("--holder", required=True, help="The holder that acts.")


def output_option(default: str) -> Callable[[Any], Any]:
    """Add ``-o``."""
    return click.option(
        "-o", "--output", type=FILE, default=Path(default), show_default=True, help="File to write."
    )


# --- who acts -------------------------------------------------------------------------------------


def load(directory: Path) -> Plan:
    """Return the plan of the network in a folder."""
    from node.topology.tree import load_tree

    return load_tree(directory)


def find_institution(plan: Plan, name: str) -> PlannedInstitution:
    """Return an institution of the network; `UsageError` names those there are."""
    for item in plan.institutions:
        if item.spec.id == name:
            return item
    known = ", ".join(item.spec.id for item in plan.institutions)
    raise click.UsageError(f"no institution {name!r} in this network. There are: {known}")


@contextmanager
def open_store(directory: Path, kind: str, name: str) -> Iterator[Store]:
    """Open the store of an institution or a holder for a while."""
    from institutions.store import Store, StoreError

    if not name or "/" in name or name.startswith("."):
        raise click.UsageError(f"{name!r} is not a name")
    try:
        store = Store(directory / kind / f"{name}.sqlite3")
        try:
            yield store
        finally:
            store.close()
    except StoreError as error:
        raise click.ClickException(str(error)) from error


@asynccontextmanager
async def connect(
    directory: Path, name: str
) -> AsyncIterator[tuple[PlannedInstitution, RpcClient]]:
    """Connect an institution to its node."""
    from node.client import RpcClient

    item = find_institution(load(directory), name)
    async with RpcClient(item.node.url) as client:
        yield item, client


def build_signer(item: PlannedInstitution, client: RpcClient) -> Signer:
    """Return the signer of an institution's account."""
    from institutions.registry import Signer

    return Signer(client, item.account_key)


def build_issuer(item: PlannedInstitution, client: RpcClient) -> Issuer:
    """Return an institution as an issuer."""
    from institutions.issuer import Issuer
    from institutions.signing import DocumentKey

    return Issuer(
        name=item.spec.id,
        org_id=item.org_id,
        jurisdiction=item.spec.side.name,
        signer=build_signer(item, client),
        document_key=DocumentKey(item.document_key),
    )


def build_issuer_desk(item: PlannedInstitution, client: RpcClient, store: Store) -> IssuerDesk:
    """Return an institution as an issuer that remembers."""
    from institutions.desks import IssuerDesk

    return IssuerDesk(build_issuer(item, client), store)


def build_verifier_desk(
    item: PlannedInstitution,
    client: RpcClient | None,
    store: Store,
    others: Sequence[RpcClient] = (),
    trust: Trust | None = None,
) -> VerifierDesk:
    """Return an institution as a verifier that remembers; without a client, it asks no node."""
    from institutions.desks import VerifierDesk
    from institutions.registry import Registry
    from institutions.signing import DocumentKey

    return VerifierDesk(
        name=item.spec.id,
        org_id=item.org_id,
        jurisdiction=item.spec.side.name,
        registry=None if client is None else Registry(client),
        document_key=DocumentKey(item.document_key),
        signer=None if client is None else build_signer(item, client),
        store=store,
        other_sides=[Registry(other) for other in others],
        trust=trust,
    )


def build_wallet(plan: Plan, name: str, store: Store) -> Wallet:
    """Return a holder with its wallet."""
    from institutions.desks import Wallet
    from institutions.signing import DocumentKey
    from node.topology.plan import derive_key

    key = DocumentKey(derive_key(plan.spec.settings.seed, f"holder/{name}"))
    return Wallet(name, key, store)


def now_s() -> int:
    """Return the time, seconds since 1970."""
    return int(time.time())


def read_form(path: Path, decode: Any) -> Any:
    """Return what a file holds; `UsageError` says what is wrong with it."""
    from institutions.forms import FormError

    try:
        return decode(path.read_bytes())
    except (FormError, ValueError) as error:
        raise click.UsageError(f"{path}: {error}") from error


def write_file(path: Path, data: bytes) -> None:
    """Write a file, or say why not."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise click.ClickException(f"{path}: cannot be written ({error.strerror})") from error


def say(text: str, *, is_json: bool, **details: Any) -> None:
    """Print one result, for a person or a machine."""
    if is_json:
        emit_json(True, {}, **details)
    else:
        click.echo(text)


def parse_anchor(text: str) -> bytes:
    """Return the anchor in a text; `UsageError` if it is none."""
    try:
        anchor = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        anchor = b""
    if len(anchor) != 32:
        raise click.UsageError(f"{text!r} is not an anchor: 32 bytes in hex, as `lowu issue` says")
    return anchor


def run_steps(function: Any) -> Any:
    """Run an async function; what a contract refuses is a clear error."""
    from institutions.registry import RegistryRefused
    from node.errors import root_causes

    try:
        return trio.run(function)
    except BaseException as error:
        causes = root_causes(error)
        if all(isinstance(cause, RegistryRefused) for cause in causes):
            text = f"the registry refuses: {causes[0]}"
            hint = _HINTS.get(str(causes[0]), "docs/REGISTRY.md tells what each number means")
            raise click.ClickException(f"{text}. {hint}") from error
        usage = [cause for cause in causes if isinstance(cause, click.ClickException)]
        if usage:
            raise usage[0] from error
        raise
