"""What the commands of institutions and holders share: who acts, and what they must not forget.

Institutions keep what they must not forget below ``--dir``, in ``desks/NAME.sqlite3``; holders in
``wallets/NAME.sqlite3``. Documents travel as files; a node never sees one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import trio

from lowu.cli import emit_json

if TYPE_CHECKING:
    from contracts.registry import Jurisdiction, RevokeReason, Role
    from institutions.exchange.trust import Trust
    from institutions.ledger.transactor import Signer
    from institutions.roles.issuer import Issuer
    from institutions.service.records import IssuerDesk, VerifierDesk, Wallet
    from institutions.service.store import Store
    from node.client import RpcClient
    from node.topology.plan import Plan, PlannedInstitution
    from node.topology.spec import Institution

_HINTS = {
    "ROLE_REQUIRED": "It does not have the role for this: see its roles in the network file.",
    "NOT_ACCREDITED": "It is not accredited for this schema: see its schemas in the network file.",
    "NOT_FOUND": "This institution has registered no such anchor.",
    "ALREADY_REVOKED": "It is withdrawn already.",
    "TERMINAL_STATE": "It is out of force, or decided, for good already.",
    "NO_SUCH_PROPOSAL": "`lowu org proposals` lists them.",
    "ALREADY_VOTED": "An organisation votes once.",
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


attach_option = click.option(
    "--attach",
    multiple=True,
    metavar="PATH=FILE",
    help="Path in the document, and the file to attach there.",
)


def read_attachments(given: Sequence[str]) -> dict[str, bytes]:
    """Return files by their paths in a document; `UsageError` says what is wrong."""
    from institutions.files import read_given
    from institutions.package.format import PACKAGE_BYTES_MAX
    from institutions.package.forms import FormError

    found = {}
    for item in given:
        path, separator, name = item.partition("=")
        if not separator or not path.startswith("/"):
            raise click.UsageError(f"--attach {item!r}: a path and a file, such as /image=scan.png")
        try:
            found[path] = read_given(Path(name), PACKAGE_BYTES_MAX)
        except FormError as error:
            raise click.UsageError(f"--attach {item!r}: {error}") from error
    return found


# --- who acts -------------------------------------------------------------------------------------


def load(directory: Path) -> Plan:
    """Return the plan of the network in a folder."""
    from node.topology.tree import load_tree

    return load_tree(directory)


def find_institution(directory: Path, name: str) -> PlannedInstitution:
    """Return an institution of the network; `UsageError` names those there are."""
    everybody = list_institutions(directory)
    for item in everybody:
        if item.spec.id == name:
            return item
    known = ", ".join(item.spec.id for item in everybody)
    raise click.UsageError(f"no institution {name!r} in this network. There are: {known}")


def list_institutions(directory: Path) -> list[PlannedInstitution]:
    """Return those of the network's file, and those that were proposed since."""
    from node.topology.plan import PlannedInstitution, derive_key

    plan = load(directory)
    nodes = {item.spec.id: item.node for item in plan.institutions}
    found = list(plan.institutions)
    for spec in _read_newcomers(directory):
        seed = plan.spec.settings.seed
        account = derive_key(seed, f"account/{spec.id}")
        document = derive_key(seed, f"document/{spec.id}")
        node = nodes[spec.client_of]
        found.append(PlannedInstitution(spec, len(found) + 1, account, document, node))
    return found


def _newcomers_file(directory: Path) -> Path:
    return directory / "desks" / "newcomers.json"


def _read_newcomers(directory: Path) -> list[Institution]:
    from contracts.registry import Jurisdiction, Role
    from node.topology.spec import Institution

    path = _newcomers_file(directory)
    if not path.is_file():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [
            Institution(
                name, Jurisdiction[side], Role(roles), tuple(schemas), via, name, name_zh=""
            )
            for name, side, roles, schemas, via in rows
        ]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise click.ClickException(f"{path} is damaged ({type(error).__name__})") from error


def draft_newcomer(
    directory: Path, name: str, side: Jurisdiction, roles: Role, schemas: Sequence[str], via: str
) -> PlannedInstitution:
    """Note who is to become a member, so that its commands find its keys; return it.

    The same again returns the same: a proposal may be made once more.
    """
    from institutions.files import make_private_folder
    from node.topology.spec import NAME

    if not NAME.match(name):
        raise click.UsageError(f"{name!r}: lower-case letters, digits and '-'")
    host = find_institution(directory, via)
    row = [name, side.name, int(roles), list(schemas), host.spec.client_of]
    newcomers = _read_newcomers(directory)
    rows = [
        [item.id, item.side.name, int(item.roles), list(item.schemas), item.client_of]
        for item in newcomers
    ]
    if row not in rows:
        if any(item.spec.id == name for item in list_institutions(directory)):
            raise click.UsageError(f"{name} is known already, with other particulars")
        path = _newcomers_file(directory)
        make_private_folder(path.parent)
        write_file(path, json.dumps([*rows, row], indent=1).encode())
    return find_institution(directory, name)


@contextmanager
def open_store(directory: Path, kind: str, name: str) -> Iterator[Store]:
    """Open the store of an institution or a holder for a while."""
    from institutions.service.store import Store, StoreError

    if not name or "/" in name or name.startswith("."):
        raise click.UsageError(f"{name!r} is not a name")
    try:
        with Store(directory / kind / f"{name}.sqlite3") as store:
            yield store
    except StoreError as error:
        raise click.ClickException(str(error)) from error


@asynccontextmanager
async def connect(
    directory: Path, name: str
) -> AsyncIterator[tuple[PlannedInstitution, RpcClient]]:
    """Connect an institution to its node."""
    from node.client import RpcClient

    item = unlock(directory, find_institution(directory, name))
    async with RpcClient(item.node.url) as client:
        yield item, client


def keystore_file(directory: Path, name: str) -> Path:
    """Return where an institution keeps a key of its own, if it has one."""
    return directory / "desks" / f"{name}.key.json"


def unlock(directory: Path, item: PlannedInstitution) -> PlannedInstitution:
    """Return an institution with the account in its keystore, if it has one.

    The password is the environment's LOWU_PASSWORD, or asked for on a terminal.
    """
    path = keystore_file(directory, item.spec.id)
    if not path.exists():
        return item
    from institutions.ledger.keystore import KeystoreError, read_keystore

    try:
        return replace(item, account_key=read_keystore(path, ask_password(path)))
    except KeystoreError as error:
        raise click.ClickException(f"{error}; LOWU_PASSWORD, or the prompt, gives it") from error


def ask_password(path: Path, *, is_new: bool = False) -> str:
    """Return the password for a key file."""
    given = os.environ.get("LOWU_PASSWORD")
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise click.UsageError(f"{path} needs a password: set LOWU_PASSWORD")
    return str(
        click.prompt(f"Password of {path}", hide_input=True, confirmation_prompt=is_new, err=True)
    )


def build_signer(item: PlannedInstitution, client: RpcClient) -> Signer:
    """Return the signer of an institution's account."""
    from institutions.ledger.transactor import Signer

    return Signer(client, item.account_key)


def build_issuer(
    item: PlannedInstitution, client: RpcClient, signer: Signer | None = None
) -> Issuer:
    """Return an institution as an issuer; a signer that others use too takes turns with them."""
    from institutions.package.signatures import DocumentKey
    from institutions.roles.issuer import Issuer

    return Issuer(
        name=item.spec.id,
        org_id=item.org_id,
        jurisdiction=item.spec.side.name,
        signer=signer or build_signer(item, client),
        document_key=DocumentKey(item.document_key),
    )


def build_issuer_desk(
    item: PlannedInstitution,
    client: RpcClient,
    store: Store,
    key: UsedKey | None = None,
    signer: Signer | None = None,
) -> IssuerDesk:
    """Return an institution as an issuer that remembers; with a key, if it is to issue."""
    from institutions.package.signatures import DocumentKey
    from institutions.service.records import IssuerDesk

    issuer = build_issuer(item, client, signer)
    if key is not None:
        issuer = issuer.with_key(DocumentKey(key.private_key), key.number)
    return IssuerDesk(issuer, store)


@dataclass(frozen=True, slots=True)
class UsedKey:
    """The document key that an institution uses now."""

    number: int
    private_key: bytes
    usable: tuple[int, ...]
    """All keys that the ledger takes registrations with; more than one if a change was cut off."""


def derive_document_key(plan: Plan, name: str, number: int) -> bytes:
    """Return an institution's document key of a number, from 1."""
    from node.topology.plan import derive_key

    suffix = "" if number == 1 else f"/{number}"
    return derive_key(plan.spec.settings.seed, f"document/{name}{suffix}")


async def find_document_key(
    directory: Path, item: PlannedInstitution, client: RpcClient
) -> UsedKey:
    """Return the last key that the ledger knows of an institution: the one in use."""
    from institutions.ledger.registry import Registry

    registry, number, usable = Registry(client), 0, []
    while (key := await registry.get_key(item.org_id, number + 1)).is_known:
        number += 1
        if key.is_usable:
            usable.append(number)
    number = max(1, number)
    private_key = derive_document_key(load(directory), item.spec.id, number)
    return UsedKey(number, private_key, tuple(usable))


def build_verifier_desk(
    item: PlannedInstitution,
    client: RpcClient | None,
    store: Store,
    others: Sequence[RpcClient] = (),
    trust: Trust | None = None,
    signer: Signer | None = None,
) -> VerifierDesk:
    """Return an institution as a verifier that remembers; without a client, it asks no node."""
    from institutions.ledger.registry import Registry
    from institutions.package.signatures import DocumentKey
    from institutions.service.records import VerifierDesk

    return VerifierDesk(
        name=item.spec.id,
        org_id=item.org_id,
        jurisdiction=item.spec.side.name,
        registry=None if client is None else Registry(client),
        document_key=DocumentKey(item.document_key),
        signer=None if client is None else signer or build_signer(item, client),
        store=store,
        other_sides=[Registry(other) for other in others],
        trust=trust,
    )


def build_wallet(plan: Plan, name: str, store: Store) -> Wallet:
    """Return a holder with its wallet."""
    from institutions.package.signatures import DocumentKey
    from institutions.service.records import Wallet
    from node.topology.plan import derive_key

    key = DocumentKey(derive_key(plan.spec.settings.seed, f"holder/{name}"))
    return Wallet(name, key, store)


def now_s() -> int:
    """Return the time, seconds since 1970."""
    return int(time.time())


def read_form(path: Path, decode: Any) -> Any:
    """Return what a file holds; `UsageError` says what is wrong with it."""
    data = read_file(path)
    try:
        return decode(data)
    except ValueError as error:  # as every `FormError` is
        raise click.UsageError(f"{path}: {error}") from error


def read_file(path: Path) -> bytes:
    """Return what is in a file that somebody has named; `UsageError` says why not."""
    from institutions.files import read_given
    from institutions.package.format import PACKAGE_BYTES_MAX
    from institutions.package.forms import FormError

    try:
        return read_given(path, PACKAGE_BYTES_MAX)
    except FormError as error:
        raise click.UsageError(f"{path.parent / str(error)}") from error


def write_file(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, or say why not."""
    from institutions.files import write_private

    try:
        write_private(path, data)
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


def parse_reason(name: str) -> RevokeReason:
    """Return the reason of a name; `UsageError` names those there are."""
    from contracts.registry import RevokeReason

    if name not in RevokeReason.__members__:
        raise click.UsageError(f"--reason {name!r}: one of {', '.join(RevokeReason.__members__)}")
    return RevokeReason[name]


def run_steps(function: Any) -> Any:
    """Run an async function; what a contract refuses is a clear error."""
    from institutions.ledger.registry import RegistryRefused
    from institutions.service.inbox import MailboxError
    from institutions.service.store import StoreError
    from node.errors import root_causes

    try:
        return trio.run(function)
    except BaseException as error:
        causes = root_causes(error)
        if all(isinstance(cause, RegistryRefused) for cause in causes):
            text = f"the registry refuses: {causes[0]}"
            hint = _HINTS.get(str(causes[0]), "docs/REGISTRY.md tells what each number means")
            raise click.ClickException(f"{text}. {hint}") from error
        failed = [
            cause for cause in causes if isinstance(cause, (MailboxError, StoreError, OSError))
        ]
        if failed:
            raise click.ClickException(str(failed[0])) from error
        usage = [cause for cause in causes if isinstance(cause, click.ClickException)]
        if usage:
            raise usage[0] from error
        raise
