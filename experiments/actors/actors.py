"""The actors of scenarios: institutions of a plan, each with its own node, and holders.

Once a node has reported a commit to one actor, all actors can read it: see `causal_client`.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from lowu.contracts.abi import load_artifact
from lowu.contracts.named import Named
from lowu.contracts.registry import (
    HASH_REGISTRY_ADDRESS,
    Jurisdiction,
    RegistryErrorCode,
    RevokeReason,
    Role,
)
from lowu.experiments.actors.causal_client import CausalClient, Horizon
from lowu.experiments.actors.holders import Holders
from lowu.institutions.documents.document import Document
from lowu.institutions.exchange.consent import (
    ConsentReceipt,
    LedgerConsent,
    Purpose,
    end_consent,
    log_consent,
)
from lowu.institutions.exchange.request import Request
from lowu.institutions.exchange.trust import read_trust
from lowu.institutions.ledger.facts import RegistryRefused
from lowu.institutions.ledger.governance import (
    Call,
    GovernanceProposal,
    Voter,
    admission_calls,
    derive_org_id,
    read_proposal,
    schema_calls,
)
from lowu.institutions.ledger.refusals import find_hint
from lowu.institutions.ledger.registry import Registry
from lowu.institutions.ledger.transactor import Signer
from lowu.institutions.package.format import Package, decode_package, encode_package
from lowu.institutions.package.signatures import DocumentKey
from lowu.institutions.roles.holder import Holder
from lowu.institutions.roles.issuer import Audience, Issued, Issuer
from lowu.institutions.roles.member import Member
from lowu.institutions.roles.verifier import Verifier
from lowu.institutions.service.desk import Desk
from lowu.institutions.service.document_file import write_document
from lowu.institutions.service.orders import Answer, name_attachments
from lowu.institutions.service.runner import NoAnswerYetError
from lowu.institutions.service.store import Store
from lowu.institutions.verification.verdicts import Report
from lowu.node.client import RpcClient
from lowu.node.topology.plan import Plan, PlannedNode, derive_key

ANCHOR_BYTES = 32
EVERYTHING = ("",)
"""The root path, which covers all fields."""


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """An event of HashRegistry."""

    height: int
    anchor: bytes


@dataclass(slots=True, repr=False)
class Actors:
    """Issuers, verifiers and holders, by name."""

    now_s: Callable[[], int]
    plan: Plan
    holders: Holders
    """Any name is a holder."""
    randomness: Callable[[int], bytes] = secrets.token_bytes
    """Returns as many random bytes as asked for, for salts, nonces and keys."""
    issuers: Named[Issuer] = field(default_factory=lambda: Named("institution"))
    verifiers: Named[Verifier] = field(default_factory=lambda: Named("institution"))
    signers: Named[Signer] = field(default_factory=lambda: Named("institution"))
    clients: Named[RpcClient] = field(default_factory=lambda: Named("institution"))
    """By institution: the connection to its node."""
    desks: Named[Desk] = field(default_factory=lambda: Named("institution"))
    """By institution: its desk, as in `lowu serve` and the commands."""
    org_ids: Named[int] = field(default_factory=lambda: Named("institution"))
    horizon: Horizon = field(default_factory=Horizon)
    """The block that a node must have before it is read."""
    registrations: int = 0
    """Successful registrations; a batch counts once."""
    documents: list[Document] = field(default_factory=list)
    anchors: list[bytes] = field(default_factory=list)
    stores: ExitStack = field(default_factory=ExitStack)
    """The desks' stores, to be closed at the end."""

    def __repr__(self) -> str:
        """Return whose they are: in full it fills pages of a failed test."""
        return f"<Actors of {self.plan!r}>"

    def enter(self, member: Member, account_key: bytes) -> None:
        """Add a member, which acts through its node in `clients`."""
        client = self.clients[member.name]
        self.signers[member.name] = signer = Signer(client, account_key)
        self.issuers[member.name] = Issuer(member, signer, self.randomness)
        self.verifiers[member.name] = Verifier(
            member,
            registry=Registry(client),
            signer=signer,
            clock_s=self.now_s,
            randomness=self.randomness,
        )
        self.org_ids[member.name] = member.org_id
        self._open_desk(member)

    def _open_desk(self, member: Member) -> None:
        signers, store = [self.signers[member.name]], self.stores.enter_context(Store(None))
        self.desks[member.name] = Desk(
            member, signers, store, self.org_ids, self.now_s, randomness=self.randomness
        )

    def use_key(self, name: str, document_key: DocumentKey, key_id: int) -> None:
        """Make an institution issue with another document key from now on."""
        issuer = self.issuers[name] = self.issuers[name].with_key(document_key, key_id)
        self._open_desk(issuer.member)

    async def order(
        self, institution: str, action: str, files: Mapping[str, bytes] | None = None, **fields: Any
    ) -> Answer:
        """Have an institution's desk carry out an order; see docs/DESKS.md for its fields.

        Raises:
            RegistryRefused: the ledger refused.
            ValueError: the desk refused.
            ClientError: the institution's node gave no answer.
        """
        desk = self.desks[institution]
        order = desk.name_order(action, fields, files)
        try:
            answer = await desk.do(order, tries=1)
        except NoAnswerYetError as error:
            raise (error.__cause__ or error) from error
        desk.note_delivered(order)
        if "error" in answer.details:
            code = answer.details.get("code")
            if code is None:
                raise ValueError(answer.details["error"])
            with _telling(institution, action):
                raise RegistryRefused(RegistryErrorCode.__members__.get(code), code)
        return answer

    async def govern(self, calls: Iterable[Call]) -> None:
        """Send calls as the governor named in genesis."""
        key = derive_key(self.plan.spec.settings.seed, "governor")
        signer = Signer(self.clients[self.plan.institutions[0].spec.id], key)
        for address, data in calls:
            await signer.send(address, data)

    async def propose(self, proposer: str, calls: Sequence[Call]) -> int:
        """Have an organisation propose calls; return the proposal's number."""
        return await Voter(self.signers[proposer]).propose(calls)

    async def vote(self, proposal: int, *voters: str, is_yes: bool = True) -> GovernanceProposal:
        """Have organisations vote one after another; return the proposal as it then is."""
        for voter in voters:
            await Voter(self.signers[voter]).vote(proposal, is_yes=is_yes)
        found = await read_proposal(Registry(self.clients[voters[-1]]), proposal)
        if found is None:
            raise KeyError(f"no proposal {proposal}")
        return found

    def draft(
        self, name: str, side: Jurisdiction, roles: Role, schemas: Iterable[str], via: str
    ) -> list[Call]:
        """Add an institution that uses the node of another, `via`; return the calls to admit it."""
        seed = self.plan.spec.settings.seed
        account_key, document_key = (
            derive_key(seed, f"{kind}/{name}") for kind in ("account", "document")
        )
        self.clients[name] = self.clients[via]
        ledger = self.plan.genesis.web3_chain_id
        member = Member(
            name,
            derive_org_id(name),
            side.name,
            DocumentKey(document_key),
            ledger,
            schemas=self.plan.schemas,
        )
        self.enter(member, account_key)
        return admission_calls(
            member.org_id,
            name,
            side,
            roles,
            account=bytes.fromhex(self.signers[name].address[2:]),
            document_key=member.document_key.public_key,
            schemas=[self.plan.schemas[item] for item in schemas],
        )

    def use_node(self, name: str, client: RpcClient) -> None:
        """Make an institution that was drafted act through another node."""
        self.clients[name] = client
        account_key = derive_key(self.plan.spec.settings.seed, f"account/{name}")
        self.enter(self.issuers[name].member, account_key)

    async def admit(
        self, name: str, side: Jurisdiction, roles: Role, schemas: Iterable[str], via: str
    ) -> int:
        """Have the governor admit an institution; return its organisation id."""
        await self.govern(self.draft(name, side, roles, schemas, via))
        return self.issuers[name].member.org_id

    async def register_schema(
        self, schema: str, *, min_witness: int = 0, is_cross_witnessed: bool = False
    ) -> None:
        """Have the governor register a schema with its policy."""
        rules = self.plan.schemas[schema]
        await self.govern(
            schema_calls(rules, min_witness=min_witness, is_cross_witnessed=is_cross_witnessed)
        )

    async def witness(self, witness: str, issuer: str, anchor: bytes) -> None:
        """Have an institution attest another's anchor as a witness."""
        await self.order(witness, "witness", issuer=issuer, anchor=anchor.hex())

    async def revoke(
        self,
        issuer: str,
        anchor: bytes | Issued,
        reason: RevokeReason = RevokeReason.CORRECTED,
        *,
        only: bool = False,
    ) -> None:
        """Have an issuer revoke the document of an anchor, or `only` that anchor."""
        value = _read_anchor(anchor)
        await self.order(issuer, "revoke", anchor=value.hex(), reason=reason.name, only=only)

    async def supersede(self, issuer: str, anchor: bytes | Issued, newer: bytes | Issued) -> int:
        """Have an issuer replace a document with a newer one; return the height."""
        old, new = _read_anchor(anchor), _read_anchor(newer)
        answer = await self.order(issuer, "supersede", anchor=old.hex(), newer=new.hex())
        return int(answer.details["height"])

    async def issue(self, issuer: str, document: Document, holder: str, audience: str) -> Issued:
        """Have an issuer issue a document and hand the package to a holder."""
        self.audience(audience)  # which raises `UnknownName`
        bare, attached = document.detach()
        named, files = name_attachments(attached)
        answer = await self.order(
            issuer,
            "issue",
            {"document.json": write_document(bare), **files},
            attach=named,
            holder_key=self.holders[holder].key.public_key.hex(),
            **{"for": audience},
        )
        package = decode_package(answer.files["package.json"])
        issued = Issued(package, package.anchors[-1].anchor)
        await self._hand_out(issued, document, holder, issuer)
        return issued

    async def issue_unchecked(
        self,
        issuer: str,
        document: Document,
        holder: str,
        audience: str,
        valid_until_s: int | None = None,
    ) -> Issued:
        """Have an issuer issue a document that its desk would refuse, and hand it out."""
        package = self.issuers[issuer].build_package(
            document,
            audience=self.audience(audience),
            holder_key=self.holders[holder].key.public_key,
            issued_at_s=self.now_s(),
            valid_until_s=valid_until_s,
        )
        return await self.register(issuer, package, document, holder)

    async def register(
        self, issuer: str, package: Package, document: Document, holder: str
    ) -> Issued:
        """Have an issuer register a package and hand it to a holder."""
        issued = await self.issuers[issuer].register(package)
        await self._hand_out(issued, document, holder, issuer)
        return issued

    async def _hand_out(self, issued: Issued, document: Document, holder: str, issuer: str) -> None:
        self.documents.append(document)
        self.anchors.append(issued.anchor)
        self.registrations += 1
        await self.give(holder, issued.package, issuer)

    async def give(self, holder: str, package: Package, issuer: str) -> None:
        """Hand a package to a holder, who checks who signed it."""
        person = self.holders[holder]
        orgs = [item.org for item in package.anchors]
        await self.inform(person, issuer, package.header.key_id, orgs)
        person.receive(encode_package(package))

    async def inform(
        self, holder: Holder, institution: str, key_id: int, orgs: Sequence[int] = ()
    ) -> None:
        """Let a holder know of an institution's key, and of others, from its node."""
        org_id, trust = self.org_ids[institution], holder.trust
        if (
            trust is None
            or trust.find_key(org_id, key_id) is None
            or any(trust.find_org(org) is None for org in orgs)
        ):
            keys = [(number, 1) for number in self.org_ids.values()]
            registry = Registry(self.clients[institution])
            holder.trust = await read_trust(registry, self.org_ids.values(), keys)

    def audience(self, receiver: str) -> Audience:
        """Return the receiver for whom an issuer makes an anchor."""
        return Audience(receiver, self.org_ids[receiver])

    async def find_events(
        self, institution: str, name: str, anchor: bytes | None, from_height: int
    ) -> list[SeenEvent]:
        """Return HashRegistry's events with a name since a height, from an institution's node.

        Each has the anchor, or the root of a batch, as its second indexed field.
        """
        topic = load_artifact("HashRegistry").events[name].topic
        wanted = [[topic], [], [] if anchor is None else [anchor]]
        self.horizon.note(from_height)
        registry = Registry(self.clients[institution])
        logs = await registry.find_logs(HASH_REGISTRY_ADDRESS, wanted, from_height)
        return [SeenEvent(item.height, item.topic(2)) for item in logs]

    def ask(
        self,
        receiver: str,
        document: Document,
        purpose: str = Purpose.LOAN,
        fields: Iterable[str] | None = None,
    ) -> Request:
        """Have a receiver ask for fields of a document; for all of it, without them.

        Raises:
            FormError: the purpose or a field is not known, for the document's schema.
            ValueError: that institution cannot receive documents.
        """
        roles = {item.spec.id: item.spec.roles for item in self.plan.institutions}
        if not roles.get(receiver, Role.VERIFIER) & Role.VERIFIER:
            able = ", ".join(name for name, has in roles.items() if has & Role.VERIFIER)
            raise ValueError(
                f"{receiver} cannot receive documents: it lacks the role VERIFIER. "
                f"These have it: {able}"
            )
        fields = EVERYTHING if fields is None else fields
        return self.verifiers[receiver].request(
            schema=document.schema, purpose=purpose, now_s=self.now_s(), fields=fields
        )

    async def agree(
        self,
        holder: str,
        document: str | Issued,
        request: Request,
        fields: Iterable[str] | None = None,
        purpose: str | None = None,
    ) -> ConsentReceipt:
        """Have a holder consent to a request, and the receiver log the consent.

        The document is named by its id, or is what `issue` returned.

        Raises:
            FormError: the request is over, or not from whom it says.
            RegistryRefused: the ledger refused the consent.
            UnknownName: the holder has no such document.
        """
        doc_id = document.package.header.doc_id if isinstance(document, Issued) else document
        person = self.holders[holder]
        await self.inform(person, request.receiver, request.key_id)
        agreement = person.find_questions(doc_id, request)
        receipt = person.consent(
            doc_id, request, agreement=agreement, fields=fields, purpose=purpose
        )
        await self.log(request.receiver, person.authorise(receipt, self.plan.genesis.web3_chain_id))
        return receipt

    async def log(self, institution: str, consent: LedgerConsent) -> None:
        """Have an institution log a consent that its holder signed."""
        with _telling(institution, "log a consent"):
            await log_consent(self.signers[institution], consent)

    async def withdraw(self, holder: str, institution: str, receipt: ConsentReceipt) -> None:
        """Have a holder withdraw a consent; any institution can log that."""
        person = self.holders[holder]
        item = person.authorise(receipt, self.plan.genesis.web3_chain_id, is_withdrawal=True)
        with _telling(institution, "end a consent"):
            await end_consent(self.signers[institution], item)

    async def hand_over(
        self,
        holder: str,
        issued: Issued,
        document: Document,
        receiver: str,
        fields: Iterable[str] | None = None,
        purpose: str = Purpose.LOAN,
        shown: Iterable[str] | None = None,
    ) -> Report:
        """Play a whole exchange: request, consent, presentation; return the receiver's report."""
        doc_id = issued.package.header.doc_id
        request = self.ask(receiver, document, purpose, fields)
        receipt = await self.agree(holder, doc_id, request)
        sealed = self.holders[holder].present(doc_id, request, receipt, shown)
        return await self.verifiers[receiver].receive(sealed, document.subject)


@contextmanager
def _telling(institution: str, act: str) -> Iterator[None]:
    """Say whose act the registry refused, and what that means."""
    try:
        yield
    except RegistryRefused as error:
        error.add_note(f"{institution}: {act}. {find_hint(str(error))}")
        raise


def _read_anchor(given: object) -> bytes:
    """Return an anchor that is given as such, or with its document."""
    anchor = given.anchor if isinstance(given, Issued) else given
    if not isinstance(anchor, bytes) or len(anchor) != ANCHOR_BYTES:
        raise TypeError(f"an anchor is {ANCHOR_BYTES} bytes, as `issued.anchor`, not {anchor!r}")
    return anchor


@asynccontextmanager
async def open_actors(
    plan: Plan,
    now_s: Callable[[], int],
    connect: Callable[[PlannedNode], RpcClient] | None = None,
    randomness: Callable[[int], bytes] = secrets.token_bytes,
) -> AsyncIterator[Actors]:
    """Connect a plan's institutions to their nodes; yield all actors.

    Args:
        plan: the network.
        now_s: the time, in seconds since 1970.
        connect: opens the client of a node, if not by its URL.
        randomness: returns random bytes, for all that the actors draw.
    """

    def enter(name: str) -> Holder:
        key = DocumentKey(derive_key(plan.spec.settings.seed, f"holder/{name}"))
        return Holder(
            name,
            key,
            clock_s=lambda: actors.now_s(),  # noqa: PLW0108  (which clock it is may change)
            schemas=plan.schemas,
            randomness=randomness,
        )

    actors = Actors(now_s, plan, Holders(enter), randomness)
    async with AsyncExitStack() as stack:
        stack.enter_context(actors.stores)
        for item in plan.institutions:
            ledger = plan.genesis.web3_chain_id
            if connect is None:
                client = RpcClient(item.node.url, chain_id=ledger)
            else:
                client = connect(item.node)
            client = CausalClient(client, actors.horizon)
            actors.clients[item.spec.id] = await stack.enter_async_context(client)
            key = DocumentKey(item.document_key)
            member = Member(
                item.spec.id, item.org_id, item.spec.side.name, key, ledger, schemas=plan.schemas
            )
            actors.enter(member, item.account_key)
        yield actors
