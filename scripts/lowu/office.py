"""The institutions and holders of one network, for whom commands act.

Below ``--dir``, an institution's store is ``desks/NAME.sqlite3`` and a holder's is
``wallets/NAME.sqlite3``. Documents travel as files; a node never sees one.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import trio

from lowu.arguments import read_form, tell_unknown_schema

if TYPE_CHECKING:
    from lowu.contracts.registry import Jurisdiction, Role
    from lowu.contracts.schemas.document_schema import Schema
    from lowu.institutions.exchange.trust import Trust
    from lowu.institutions.ledger.transactor import Signer
    from lowu.institutions.package.signatures import DocumentKey
    from lowu.institutions.roles.member import Member
    from lowu.institutions.service.orders import Answer, Order
    from lowu.institutions.service.recording import Wallet
    from lowu.institutions.service.runner import Service
    from lowu.institutions.service.store import Store
    from lowu.node.client import RpcClient
    from lowu.node.topology.plan import Plan, PlannedInstitution
    from lowu.node.topology.spec import Institution
    from lowu.proposed import ProposalFiles


class Office:
    """One network as commands use it: its plan, members, keys, stores and desks."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @cached_property
    def plan(self) -> Plan:
        """The network's plan."""
        from lowu.node.topology.tree import load_tree

        return load_tree(self.directory)

    @property
    def _proposed(self) -> ProposalFiles:
        from lowu.proposed import ProposalFiles

        members = {item.id for item in self.plan.spec.institutions}
        return ProposalFiles(self.directory / "desks", members)

    # --- members ------------------------------------------------------------------------------

    def find(self, name: str) -> PlannedInstitution:
        """Return an institution of the network; raise `UsageError` if there is none."""
        everybody = self.list_institutions()
        for item in everybody:
            if item.spec.id == name:
                return item
        known = ", ".join(item.spec.id for item in everybody)
        raise click.UsageError(f"no institution {name!r} in this network. There are: {known}")

    def list_institutions(self) -> list[PlannedInstitution]:
        """Return the institutions of the network file and those proposed as members since."""
        newcomers = map(self._plan_newcomer, self._proposed.read_newcomers())
        return [*self.plan.institutions, *newcomers]

    @property
    def org_ids(self) -> Mapping[str, int]:
        """The institutions' organisation ids, by name."""
        return {item.spec.id: item.org_id for item in self.list_institutions()}

    @property
    def schemas(self) -> Mapping[str, Schema]:
        """All document schemas known here: Lowu's, the network file's, and those proposed since."""
        return {**self.plan.schemas, **{item.id: item for item in self._proposed.read_schemas()}}

    def find_schema(self, name: str) -> Schema:
        """Return a schema by id; raise `UsageError` if there is none."""
        found = self.schemas.get(name)
        if found is None:
            raise click.UsageError(tell_unknown_schema(name, self.schemas))
        return found

    def check_schemas(self, fresh: Sequence[Schema]) -> None:
        """Raise `UsageError` if schemas have the id or the number of others."""
        from lowu.proposed import check_free

        check_free(fresh, self.schemas)

    def keep_schemas(self, fresh: Sequence[Schema]) -> None:
        """Record schemas that are proposed; see `ProposalFiles.keep_schemas`."""
        self._proposed.keep_schemas(fresh, self.schemas)

    @property
    def report_names(self) -> Mapping[int, str]:
        """What reports call the institutions, by organisation id."""
        told = {}
        for item in self.list_institutions():
            spec = item.spec
            longer = ", ".join(dict.fromkeys(filter(None, (spec.name, spec.name_zh))))
            told[item.org_id] = spec.id if longer in ("", spec.id) else f"{spec.id} ({longer})"
        return told

    def draft_newcomer(
        self, name: str, side: Jurisdiction, roles: Role, schemas: Sequence[str], via: str
    ) -> PlannedInstitution:
        """Return an institution that is to be proposed as a member, with its keys.

        `keep_newcomer` records it, so that its commands find these.
        """
        from lowu.node.topology.spec import NAME, Institution

        if not NAME.match(name):
            raise click.UsageError(f"{name!r}: use lower-case letters, digits and '-' only")
        if name in {item.spec.id for item in self.plan.institutions}:
            raise click.UsageError(f"{name} is in the network file already")
        node = self.find(via).spec.client_of
        return self._plan_newcomer(
            Institution(name, side, roles, tuple(schemas), node, name, name_zh="")
        )

    def keep_newcomer(self, drafted: PlannedInstitution) -> None:
        """Record an institution that was proposed as a member."""
        self._proposed.keep_newcomer(drafted.spec)

    def _plan_newcomer(self, spec: Institution) -> PlannedInstitution:
        from lowu.institutions.ledger.governance import derive_org_id
        from lowu.node.topology.plan import PlannedInstitution, derive_key

        nodes = {item.spec.id: item.node for item in self.plan.institutions}
        seed = self.plan.spec.settings.seed
        return PlannedInstitution(
            spec,
            derive_org_id(spec.id),
            derive_key(seed, f"account/{spec.id}"),
            derive_key(seed, f"document/{spec.id}"),
            nodes[spec.client_of],
        )

    def address_of(self, item: PlannedInstitution) -> str:
        """Return the address of the account that an institution uses: its key file's, if any."""
        path = self.keystore_file(item.spec.id)
        if not path.exists():
            return item.address
        try:
            return "0x" + str(json.loads(path.read_text(encoding="utf-8"))["address"]).lower()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise click.ClickException(f"{path} is damaged ({type(error).__name__})") from error

    # --- keys ---------------------------------------------------------------------------------

    def keystore_file(self, name: str) -> Path:
        """Return the path of an institution's own key file, which need not exist."""
        return self.directory / "desks" / f"{name}.key.json"

    def unlock(self, name: str) -> PlannedInstitution:
        """Return an institution, with the account from its keystore if it has one.

        The password comes from LOWU_PASSWORD or from a prompt on a terminal.
        """
        item, path = self.find(name), self.keystore_file(name)
        if not path.exists():
            return item
        from lowu.institutions.ledger.keystore import KeystoreError, read_keystore

        try:
            return replace(item, account_key=read_keystore(path, ask_password(path)))
        except KeystoreError as error:
            text = f"{error}; give the password in LOWU_PASSWORD or at the prompt"
            raise click.ClickException(text) from error

    def document_key(self, name: str, number: int) -> DocumentKey:
        """Return an institution's document key by its number, counted from 1."""
        from lowu.institutions.package.signatures import DocumentKey
        from lowu.node.topology.plan import derive_key

        suffix = "" if number == 1 else f"/{number}"
        return DocumentKey(derive_key(self.plan.spec.settings.seed, f"document/{name}{suffix}"))

    def member(self, item: PlannedInstitution, key_id: int = 1) -> Member:
        """Return an institution that signs with its document key `key_id`."""
        from lowu.institutions.roles.member import Member

        key = self.document_key(item.spec.id, key_id)
        ledger = self.plan.genesis.web3_chain_id
        return Member(
            item.spec.id,
            item.org_id,
            item.spec.side.name,
            key,
            ledger,
            key_id,
            self.schemas,
        )

    # --- connections and stores ---------------------------------------------------------------

    @asynccontextmanager
    async def connect(self, name: str) -> AsyncIterator[Signer]:
        """Connect an institution's account to its node."""
        from lowu.institutions.ledger.transactor import Signer

        item = self.unlock(name)
        async with self.open_client(item.node.url) as client:
            yield Signer(client, item.account_key)

    def open_client(self, url: str) -> RpcClient:
        """Return a client of one of the network's nodes, and of no other's on the same port."""
        from lowu.node.client import RpcClient

        return RpcClient(url, chain_id=self.plan.genesis.web3_chain_id)

    def place(self, kind: str, name: str) -> Path:
        """Return the folder of an institution's (``desks``) or a holder's (``wallets``) orders."""
        if not name or "/" in name or not name.isprintable() or name.startswith("."):
            raise click.UsageError(f"{name!r} is not a valid name")
        return self.directory / kind / name

    @contextmanager
    def open_store(self, kind: str, name: str) -> Iterator[Store]:
        """Open the store of an institution (``desks``) or a holder (``wallets``); then close it."""
        from lowu.institutions.service.store import Store, StoreError

        try:
            with Store(Path(f"{self.place(kind, name)}.sqlite3")) as store:
                yield store
        except StoreError as error:
            raise click.ClickException(str(error)) from error

    async def read_trust(self, trusted: Path | None = None) -> Trust:
        """Return what is known of the chain, by a trust file or the first node that answers."""
        from lowu.institutions.exchange.trust import AGE_MAX_S, decode_trust, read_trust
        from lowu.institutions.ledger.registry import Registry
        from lowu.node.client import ClientError, RemoteError

        if trusted is not None:
            trust: Trust = read_form(trusted, decode_trust, "a trust file")
            if trust.is_stale(int(time.time())):
                raise click.ClickException(
                    f"{trusted}: it is of more than {AGE_MAX_S // 86_400} days ago; "
                    "write it again with `lowu trust`"
                )
            return trust
        keys = [(org_id, 1) for org_id in self.org_ids.values()]
        for node in self.plan.members:
            async with self.open_client(node.url) as client:
                with suppress(ClientError, RemoteError):
                    return await read_trust(Registry(client), self.org_ids.values(), keys)
        raise click.ClickException(
            "no node answers, so nobody can tell whose signatures these are; start the network, or "
            "give --trust with a file that `lowu trust` wrote"
        )

    @contextmanager
    def open_wallet(self, name: str, trust: Trust | None = None) -> Iterator[Wallet]:
        """Open a holder's wallet, then close it; without `trust` it accepts and shows nothing."""
        with self.open_store("wallets", name) as store:
            wallet = self._build_wallet(name, store)
            wallet.holder.trust = trust
            yield wallet

    def _build_wallet(self, name: str, store: Store) -> Wallet:
        from lowu.institutions.package.signatures import DocumentKey
        from lowu.institutions.service.recording import Wallet
        from lowu.node.topology.plan import derive_key

        key = DocumentKey(derive_key(self.plan.spec.settings.seed, f"holder/{name}"))
        return Wallet(name, key, store, schemas=self.schemas)

    # --- services -----------------------------------------------------------------------------

    @asynccontextmanager
    async def open_desk(
        self,
        name: str,
        *,
        is_signing: bool = False,
        is_offline: bool = False,
        is_serving: bool = False,
        confirm: Sequence[str] = (),
        trust: Trust | None = None,
    ) -> AsyncIterator[Service]:
        """Open an institution's desk.

        Args:
            name: the institution.
            is_signing: whether it will sign documents or requests; if so, the number of its key in
                use is read from the ledger, and pending registrations are sent.
            is_offline: whether it asks no node, and checks proofs against `trust` only.
            is_serving: whether it carries orders out for long, beside commands.
            confirm: institutions whose nodes a verification also asks.
            trust: the trust file, if there is one.
        """
        from lowu.institutions.ledger.registry import Registry
        from lowu.institutions.ledger.transactor import Signer
        from lowu.institutions.roles.administrator import find_usable_keys
        from lowu.institutions.service.desk import Desk
        from lowu.node.client import ClientError

        item = self.find(name) if is_offline else self.unlock(name)
        async with AsyncExitStack() as stack:
            if not is_serving:
                stack.enter_context(self._alone(name))

            async def open_client(url: str) -> RpcClient:
                return await stack.enter_async_context(self.open_client(url))

            urls = [] if is_offline else self._urls(item)
            signers = [Signer(await open_client(url), item.account_key) for url in urls]
            others = [Registry(await open_client(self.find(other).node.url)) for other in confirm]
            store = stack.enter_context(self.open_store("desks", name))
            known = store.open("key_in_use", str.encode, bytes.decode)
            key_id = int(known.get(b"", "1"))
            for signer in signers if is_signing else ():
                with suppress(ClientError):  # if none answers, the key is the one used last
                    key_id = (await find_usable_keys(signer.registry, item.org_id)).last
                    known[b""] = str(key_id)
                    break
            desk = Desk(
                self.member(item, key_id),
                signers,
                store,
                self.org_ids,
                now_s,
                other_sides=others,
                trust=trust,
                names=self.report_names,
            )
            if is_signing:
                with suppress(ClientError):  # what could not be registered stays pending
                    await desk.register_left()
            yield desk

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Let one command at a time act for an institution: equal ones are then one after another.

        At once they would carry out one order twice, and both be told what became of it.
        """
        from lowu.institutions.files import hold_lock, make_private_folder

        def say_so() -> None:
            click.echo(f"  waiting for another command of {name}", err=True)

        folder = self.directory / "desks"
        make_private_folder(folder)
        with hold_lock(folder / f"{name}.lock", say_so):
            yield

    def _urls(self, item: PlannedInstitution) -> list[str]:
        """Return the institution's own node first, then the others of its side."""
        others = [node.url for node in self.plan.members if node.side is item.spec.side]
        return list(dict.fromkeys([item.node.url, *others]))

    @contextmanager
    def open_wallet_service(self, name: str, trusted: Path | None = None) -> Iterator[Service]:
        """Open a holder's wallet as a service, which reads its trust anew for each order."""
        from lowu.institutions.service.actions import wallet_actions
        from lowu.institutions.service.runner import Service

        with self.open_store("wallets", name) as store:
            wallet = self._build_wallet(name, store)
            chain_id = self.plan.genesis.web3_chain_id
            yield Service(store, wallet_actions(wallet, chain_id, lambda: self.read_trust(trusted)))


TRIES = 6
"""Attempts of a command's order, at the desk's nodes in turn; pauses add up to about 3 s."""


class OrderRefused(click.ClickException):
    """A desk or the ledger refused an order."""


WAIT_S = 60
"""For this long a command waits for its order to be committed."""
NOTICE_S = 5
"""After this long it says that it waits."""


def _say_that_it_waits() -> None:
    click.echo("  waiting for a block; `lowu status` says whether there is a quorum", err=True)


def suggest_parties(directory: Path, schema: str) -> str:
    """Return ``--by``, ``--for`` and ``--holder`` for a document of a schema, of a network here."""
    from lowu.contracts.registry import Role
    from lowu.node.topology.tree import is_tree

    issuer, receiver = "ISSUER", "RECEIVER"
    if is_tree(directory):
        office = Office(directory)
        members = [item.spec for item in office.list_institutions()]
        issuers = [item for item in members if schema in item.schemas]
        if issuers:
            own = issuers[0]
            routes = {end for start, end in office.plan.spec.routes if start is own.side}
            fit = [item for item in members if Role.VERIFIER in item.roles and item is not own]
            across = [item.id for item in fit if item.side in routes]
            near = [item.id for item in fit if item.side is own.side]
            issuer, receiver = own.id, next(iter([*across, *near]), receiver)
    return f"--by {issuer} --for {receiver} --holder acme"


def known_schemas(directory: Path) -> Mapping[str, Schema]:
    """Return the schemas of the network in a folder; without one, those that come with Lowu."""
    from lowu.contracts.schemas.bundled import SCHEMAS
    from lowu.node.topology.tree import is_tree

    return Office(directory).schemas if is_tree(directory) else SCHEMAS


async def carry_out(service: Service, order: Order, tries: int = TRIES) -> Answer:
    """Carry out a command's order; raise `ClickException` with an explanation if it is refused.

    An order that no node answered stays open: the same command continues it.
    """
    from lowu.institutions.service.runner import NameTakenError, NoAnswerYetError

    answer: Answer | None = None
    notice = threading.Timer(NOTICE_S, _say_that_it_waits)
    notice.start()
    try:
        with trio.move_on_after(WAIT_S):
            answer = await service.do(order, tries)
    except NoAnswerYetError as error:
        raise (error.__cause__ or error) from error
    except NameTakenError as error:
        raise click.ClickException(str(error)) from error
    finally:
        notice.cancel()
    if answer is None:
        raise click.ClickException(
            f"nothing was committed within {WAIT_S} s; `lowu status` says whether there is a "
            "quorum. Run the same command again: it continues this order"
        )
    if "error" in answer.details:
        service.note_delivered(order)
        text, code = answer.details["error"], answer.details.get("code")
        if code is not None:
            from lowu.institutions.ledger.refusals import find_hint

            text += f". {find_hint(code)}"
        raise OrderRefused(text)
    return answer


def ask_password(path: Path, *, is_new: bool = False) -> str:
    """Return the password for a key file."""
    given = os.environ.get("LOWU_PASSWORD")
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise click.UsageError(f"{path} needs a password: set LOWU_PASSWORD")
    return str(
        click.prompt(f"Password for {path}", hide_input=True, confirmation_prompt=is_new, err=True)
    )


def now_s() -> int:
    """Return the time in seconds since 1970."""
    return int(time.time())


def run_steps(function: Any) -> Any:
    """Run an async function; turn expected failures into clear errors."""
    from lowu.institutions.ledger.facts import RegistryRefused
    from lowu.institutions.ledger.refusals import find_hint
    from lowu.institutions.service.inbox import MailboxError
    from lowu.institutions.service.store import StoreError
    from lowu.node.errors import root_causes

    try:
        return trio.run(function)
    except BaseException as error:
        causes = root_causes(error)
        if all(isinstance(cause, RegistryRefused) for cause in causes):
            hint = find_hint(str(causes[0]))
            raise click.ClickException(f"the registry refused: {causes[0]}. {hint}") from error
        failed = [
            cause for cause in causes if isinstance(cause, (MailboxError, StoreError, OSError))
        ]
        if failed:
            raise click.ClickException(str(failed[0])) from error
        usage = [cause for cause in causes if isinstance(cause, click.ClickException)]
        if usage:
            raise usage[0] from error
        raise
