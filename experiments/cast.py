"""Who plays the scenarios: institutions and holders of a plan, each talking to its own node."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from institutions.consent import ConsentReceipt, LedgerConsent, Purpose, end_consent, log_consent
from institutions.documents import Document
from institutions.holder import Holder
from institutions.issuer import Issued, Issuer
from institutions.package import encode_package
from institutions.registry import Registry, Signer
from institutions.requests import Request
from institutions.signing import DocumentKey
from institutions.verdicts import Report
from institutions.verifier import Verifier
from node.client import RpcClient
from node.topology.plan import Plan, derive_key

HOLDERS = ("acme-sz", "owner", "corp-sz", "corp-hk", "mallory")
EVERYTHING = ("",)
"""The path above all fields."""


@dataclass(slots=True)
class Cast:
    """Issuers, verifiers and holders by name."""

    issuers: dict[str, Issuer]
    verifiers: dict[str, Verifier]
    signers: dict[str, Signer]
    holders: dict[str, Holder]
    now_s: Callable[[], int]
    chain_id: int
    documents: list[Document] = field(default_factory=list)
    anchors: list[bytes] = field(default_factory=list)

    async def issue(self, issuer: str, document: Document, holder: str, audience: str) -> Issued:
        """Have an issuer build, register and hand over a document."""
        self.documents.append(document)
        issued = await self.issuers[issuer].issue(
            document,
            audience=audience,
            holder_key=self.holders[holder].key.public_key,
            issued_at_s=self.now_s(),
        )
        self.anchors.append(issued.anchor)
        self.holders[holder].receive(encode_package(issued.package))
        return issued

    def ask(
        self,
        receiver: str,
        document: Document,
        purpose: str = Purpose.LOAN,
        fields: Iterable[str] = EVERYTHING,
    ) -> Request:
        """Have a receiver ask for fields of a document."""
        return self.verifiers[receiver].request(
            schema=document.schema, purpose=purpose, now_s=self.now_s(), fields=tuple(fields)
        )

    async def agree(
        self,
        holder: str,
        doc_id: str,
        request: Request,
        fields: Iterable[str] | None = None,
        purpose: str | None = None,
    ) -> ConsentReceipt:
        """Have a holder agree, and the receiver log that."""
        person = self.holders[holder]
        receipt = person.consent(
            doc_id, request, now_s=self.now_s(), fields=fields, purpose=purpose
        )
        await self.log(request.receiver, person.authorise(receipt, self.chain_id))
        return receipt

    async def log(self, institution: str, consent: LedgerConsent) -> None:
        """Have an institution log what a holder has signed."""
        await log_consent(self.signers[institution], consent)

    async def withdraw(self, holder: str, institution: str, receipt: ConsentReceipt) -> None:
        """Have a holder take a consent back, by way of an institution."""
        person = self.holders[holder]
        item = person.authorise(receipt, self.chain_id, is_withdrawal=True)
        await end_consent(self.signers[institution], item)

    async def hand_over(
        self,
        holder: str,
        issued: Issued,
        document: Document,
        receiver: str,
        fields: Iterable[str] = EVERYTHING,
        purpose: str = Purpose.LOAN,
        shown: Iterable[str] | None = None,
    ) -> Report:
        """Play it all: a request, a consent to it, a presentation, and the receiver's report."""
        doc_id = issued.package.header.doc_id
        request = self.ask(receiver, document, purpose, fields)
        receipt = await self.agree(holder, doc_id, request)
        sealed = self.holders[holder].present(doc_id, request, receipt, shown)
        return await self.verifiers[receiver].receive(sealed, document.subject)


@asynccontextmanager
async def open_cast(plan: Plan, now_s: Callable[[], int]) -> AsyncIterator[Cast]:
    """Connect a plan's institutions to their nodes."""
    seed = plan.spec.settings.seed
    holders = {
        name: Holder(name, DocumentKey(derive_key(seed, f"holder/{name}"))) for name in HOLDERS
    }
    cast = Cast({}, {}, {}, holders, now_s, plan.genesis.web3_chain_id)
    async with AsyncExitStack() as stack:
        for item in plan.institutions:
            client = await stack.enter_async_context(RpcClient(item.node.url))
            name, side = item.spec.id, item.spec.side.name
            cast.signers[name] = signer = Signer(client, item.account_key)
            key = DocumentKey(item.document_key)
            if item.spec.schemas:
                cast.issuers[name] = Issuer(
                    name=name,
                    org_id=item.org_id,
                    jurisdiction=side,
                    signer=signer,
                    document_key=key,
                )
            cast.verifiers[name] = Verifier(
                name=name,
                org_id=item.org_id,
                jurisdiction=side,
                registry=Registry(client),
                document_key=key,
                signer=signer,
            )
        yield cast
