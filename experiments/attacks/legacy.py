"""The same acts on the registry and on the legacy contract, and their outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from lowu.contracts.abi import load_artifact
from lowu.contracts.registry import (
    HASH_REGISTRY_ADDRESS,
    AnchorRecord,
    AnchorState,
    RevokeReason,
    encode_register_anchor,
    encode_revoke,
)
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.experiments.actors.actors import Actors
from lowu.institutions.ledger.facts import RegistryRefused
from lowu.institutions.ledger.legacy_evidence import LegacyEntry, LegacyEvidence, deploy_legacy
from lowu.institutions.ledger.registry import Registry
from lowu.institutions.ledger.transactor import Signer

YEAR_S = 365 * 86_400
ISSUER, ATTACKER, READER = "szcredit", "bea-cn", "nova"
_ISSUED = {ISSUER: "cn.ecr/1", ATTACKER: "grp.kyc/1"}
CONTRACTS = ("OrgRegistry", "HashRegistry", "ConsentLog", "VerificationLog", "Governance")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One act, and its outcome on both contracts."""

    act: str
    legacy: str
    registry: str
    is_as_expected: bool
    """Whether the legacy contract gave in, and the registry did not."""


class _Bench:
    """Both contracts on one network: the actors, and ways to read the outcomes."""

    def __init__(self, actors: Actors, random: Random, address: bytes) -> None:
        self.actors = actors
        self.random = random
        self.address = address
        self.issuer = actors.signers[ISSUER].address.lower()
        self.outsider = Signer(actors.clients[READER], random.randbytes(32))
        self.found: list[Comparison] = []

    def legacy(self, who: str | Signer = ATTACKER) -> LegacyEvidence:
        signer = self.actors.signers[who] if isinstance(who, str) else who
        return LegacyEvidence(self.actors.clients[READER], signer, self.address)

    async def register(self, who: str, anchor: bytes, day: int = 0) -> str:
        """Register as a member; return OK or the refusal."""
        schema = SCHEMAS[_ISSUED[who]].number
        call = encode_register_anchor(anchor, schema=schema, valid_until_day=day)
        return await self.send(self.actors.signers[who], call)

    async def send(self, signer: Signer, call: bytes) -> str:
        try:
            await signer.send(HASH_REGISTRY_ADDRESS, call)
        except RegistryRefused as refusal:
            return str(refusal)
        return "OK"

    async def record(self, who: str, anchor: bytes) -> AnchorRecord:
        registry = Registry(self.actors.clients[READER])
        return await registry.get_record(self.actors.issuers[who].member.org_id, anchor)

    async def state(self, who: str, anchor: bytes) -> str:
        return (await self.record(who, anchor)).state.name

    async def read(self, key: bytes) -> LegacyEntry:
        return await self.legacy().read(key)

    def note(
        self, act: str, legacy: object, registry: object, *, gave_in: object, held: object
    ) -> None:
        is_expected = (legacy, registry) == (gave_in, held)
        self.found.append(Comparison(act, str(legacy), str(registry), is_expected))


async def compare(actors: Actors, random: Random) -> list[Comparison]:
    """Play every act on both contracts; return the outcomes."""
    bench = _Bench(actors, random, await deploy_legacy(actors.signers[ATTACKER]))
    for act in (_squat, _write_as_nobody, _sign_for_another, _back_date):
        await act(bench)
    for act in (_register_nothing, _revoke_another_s, _register_twice, _write_text):
        await act(bench)
    return bench.found


async def _squat(bench: _Bench) -> None:
    key, now = bench.random.randbytes(32), bench.actors.now_s()
    for who in (ATTACKER, ISSUER):
        own = bench.actors.signers[who].address
        await bench.legacy(who).create(key, said_signer=own, said_time_s=now)
        await bench.register(who, key)
    evidence = await bench.read(key)
    owner = "the issuer's" if evidence.signer == bench.issuer else "the attacker's"
    state = await bench.state(ISSUER, key)
    bench.note(
        "a member registers the issuer's hash first: whose is it?", owner,
        "the issuer's" if state == AnchorState.ACTIVE.name else state,
        gave_in="the attacker's", held="the issuer's",
    )  # fmt: skip


async def _write_as_nobody(bench: _Bench) -> None:
    key, now = bench.random.randbytes(32), bench.actors.now_s()
    taken = await bench.legacy(bench.outsider).create(
        key, said_signer=bench.outsider.address, said_time_s=now
    )
    call = encode_register_anchor(key, schema=1)
    refusal = await bench.send(bench.outsider, call)
    bench.note(
        "an account of no institution registers", "taken" if taken else "passed over", refusal,
        gave_in="taken", held="UNKNOWN_ACCOUNT",
    )  # fmt: skip


async def _sign_for_another(bench: _Bench) -> None:
    key, now = bench.random.randbytes(32), bench.actors.now_s()
    await bench.legacy().create(key, said_signer=bench.issuer, said_time_s=now)
    await bench.register(ATTACKER, key)
    evidence = await bench.read(key)
    bench.note(
        "a member registers in the issuer's name: what is on record for the issuer?",
        "ACTIVE" if evidence.signer == bench.issuer else "NONE",
        await bench.state(ISSUER, key), gave_in="ACTIVE", held="NONE",
    )  # fmt: skip


async def _back_date(bench: _Bench) -> None:
    key, now = bench.random.randbytes(32), bench.actors.now_s()
    own = bench.actors.signers[ISSUER].address
    await bench.legacy(ISSUER).create(key, said_signer=own, said_time_s=now - YEAR_S)
    await bench.register(ISSUER, key)
    evidence = await bench.read(key)
    record = await bench.record(ISSUER, key)
    bench.note(
        "the issuer says that it was a year ago: how old is it on record, in days?",
        round((now - evidence.updated_s) / 86_400), round((now - record.registered_time) / 86_400),
        gave_in=365, held=0,
    )  # fmt: skip


async def _register_nothing(bench: _Bench) -> None:
    taken = await bench.legacy().create(
        bytes(32), said_signer=bench.issuer, said_time_s=bench.actors.now_s()
    )
    bench.note(
        "a hash of zeros", "taken" if taken else "passed over",
        await bench.register(ISSUER, bytes(32)), gave_in="taken", held="ZERO_ANCHOR",
    )  # fmt: skip


async def _revoke_another_s(bench: _Bench) -> None:
    key, now = bench.random.randbytes(32), bench.actors.now_s()
    await bench.legacy(ISSUER).create(key, said_signer=bench.issuer, said_time_s=now)
    await bench.register(ISSUER, key)
    await bench.legacy().revoke(key, said_signer=bench.issuer, said_time_s=now)
    await bench.send(bench.actors.signers[ATTACKER], encode_revoke(key, RevokeReason.OTHER))
    evidence = await bench.read(key)
    bench.note(
        "a member revokes the issuer's record: its state",
        "REVOKED" if evidence.is_revoked else "ACTIVE", await bench.state(ISSUER, key),
        gave_in="REVOKED", held="ACTIVE",
    )  # fmt: skip


async def _register_twice(bench: _Bench) -> None:
    key, now = bench.random.randbytes(32), bench.actors.now_s()
    own = bench.actors.signers[ISSUER].address
    day = now // 86_400 + 30
    for said_s, until in ((now, 0), (now + 60, day)):
        taken = await bench.legacy(ISSUER).create(key, said_signer=own, said_time_s=said_s)
        answer = await bench.register(ISSUER, key, until)
    bench.note(
        "the same hash again, with other details: what is the caller told?",
        "taken" if taken else "nothing", answer,
        gave_in="nothing", held="ALREADY_REGISTERED_CONFLICT",
    )  # fmt: skip


async def _write_text(bench: _Bench) -> None:
    key, now = bench.random.randbytes(32), bench.actors.now_s()
    await bench.legacy().create(key, said_signer=bench.issuer, said_time_s=now)
    taken = await bench.legacy().add_log(
        key, "holder's number: Q000000(0)", said_signer=bench.issuer, said_time_s=now
    )
    takers = [
        f"{name}.{function.name}"
        for name in CONTRACTS
        for function in load_artifact(name).functions.values()
        if "string" in "".join(function.input_types)
    ]
    bench.note(
        "free text, such as a number, goes on the ledger", "taken" if taken else "passed over",
        ", ".join(takers) or "no call takes text", gave_in="taken", held="no call takes text",
    )  # fmt: skip
