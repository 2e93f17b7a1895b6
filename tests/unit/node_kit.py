"""A chain in memory: genesis, keys, signed transactions."""

from eth_account import Account

from lowu.consensus.codec import compute_digest
from lowu.consensus.messages import CommitCertificate, Proposal
from lowu.consensus.types import Domain
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.node.chain.merkle import compute_root
from lowu.node.chain.transaction import decode_transaction
from lowu.node.crypto import compute_public_key
from lowu.node.execution.evm import BlockContext
from lowu.node.execution.executor import execute_block
from lowu.node.execution.genesis import build_genesis
from lowu.node.genesis_config import GenesisConfig, OrgEntry, SchemaEntry
from lowu.node.ledger.ledger import Ledger
from lowu.node.ledger.storage import MemoryStorage
from lowu.node.ledger.vote_trace import MemoryTrace

CHAIN_ID = 20200
DOMAIN = Domain("chain0", "group0")
ACCOUNT = Account.from_key(b"\x01" * 32)
OTHER = Account.from_key(b"\x02" * 32)
ORG = OrgEntry(1, "szcredit", 1, 3, ACCOUNT.address.lower(), "11" * 64, (1,))
GENESIS = GenesisConfig(
    chain_id="chain0",
    group_id="group0",
    web3_chain_id=CHAIN_ID,
    timestamp_ms=1_000,
    tx_gas_limit=10**8,
    block_tx_count_limit=100,
    leader_period=1,
    sealers=tuple((compute_public_key(bytes([i]) * 32).hex(), 1) for i in range(1, 5)),
    observers=(),
    governor="0x" + "99" * 20,
    orgs=(ORG,),
    schemas=(SchemaEntry.of(SCHEMAS["cn.ecr/1"]),),
    routes=((1, 2), (2, 1), (1, 3), (3, 1)),
)


def signed(account=ACCOUNT, **fields):
    """Return a decoded, signed transaction."""
    base = {"to": OTHER.address, "value": 0, "gas": 10**6, "gasPrice": 0, "nonce": 0}
    base |= {"chainId": CHAIN_ID} | fields
    base = {key: value for key, value in base.items() if value is not None}
    return decode_transaction(bytes(account.sign_transaction(base).raw_transaction))


def context(number=1, time_s=2):
    return BlockContext(number, time_s, GENESIS.tx_gas_limit, CHAIN_ID, lambda height: None)


class Chain:
    """A ledger in memory to which tests add blocks of transactions."""

    def __init__(self, storage=None, trace=None, genesis=GENESIS):
        self.storage = storage or MemoryStorage()
        self.trace = trace or MemoryTrace()
        self.ledger = Ledger(self.storage, build_genesis(genesis), self.trace)

    def execute(self, *transactions, root=None, time_s=2):
        parent = self.ledger.parent()
        number = parent.header.number + 1
        proposal = Proposal(
            number,
            parent.header.proposal_digest,
            root or compute_root([item.hash for item in transactions]),
            1_000 * time_s + number,
            0,
        )
        digest = compute_digest(DOMAIN, proposal)
        validators = GENESIS.validators
        return execute_block(
            parent, proposal, digest, transactions, validators, context(number, time_s)
        )

    def commit(self, *transactions):
        executed = self.execute(*transactions)
        header = executed.header
        certificate = CommitCertificate(header.number, header.proposal_digest, header.hash, ())
        self.ledger.commit(executed, certificate)
        return executed
