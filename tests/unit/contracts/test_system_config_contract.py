"""SystemConfig: FISCO BCOS's functions and keys, and its bounds beyond; in both EVM engines."""

from dataclasses import replace

import pytest

from lowu.contracts.group import ConsensusCode
from lowu.contracts.registry import (
    GOVERNANCE_ADDRESS,
    SYSTEM_CONFIG_ADDRESS,
    RegistryErrorCode,
    decode_registry_error,
)
from lowu.contracts.system_config import (
    BOUNDS,
    NO_SUCH_KEY,
    GroupSettings,
    SystemKey,
    decode_settings,
    system_function,
)
from lowu.node.chain.receipt import ReceiptStatus
from lowu.node.chain.roster import Roster, decode_roster, encode_roster
from lowu.node.execution.flat_state import LayeredState
from lowu.node.execution.genesis import build_genesis
from lowu.node.execution.group_state import read_roster
from tests.unit import node_kit as kit
from tests.unit.contracts.test_consensus_contract import GroupWorld
from tests.unit.contracts.test_governance_contract import propose_all, vote
from tests.unit.registry_world import GOVERNOR, Refused, account_of, refused

CODE = RegistryErrorCode
FIRST = kit.GENESIS.settings


class SystemWorld(GroupWorld):
    """The contracts of a genesis, and what they say of the settings."""

    def set(self, key, value, who=GOVERNOR):
        data = system_function("setValueByKey").encode_call(key, value)
        outcome = self._evm.call(who, SYSTEM_CONFIG_ADDRESS, 0, data, 10_000_000)
        if outcome.status is not ReceiptStatus.SUCCESS:
            raise Refused(decode_registry_error(outcome.output))
        (code,) = system_function("setValueByKey").decode_output(outcome.output)
        return ConsensusCode(code)

    def ask(self, name, *arguments):
        data = system_function(name).encode_call(*arguments)
        return self._evm.call(bytes(20), SYSTEM_CONFIG_ADDRESS, 0, data, 10_000_000).output

    def settings(self):
        return decode_settings(self.ask("getValues"))

    def get(self, key):
        return system_function("getValueByKey").decode_output(self.ask("getValueByKey", key))


@pytest.fixture
def world():
    return SystemWorld()


def test_selectors_are_those_of_fisco_bcos():
    found = {name: system_function(name).selector.hex() for name in ("setValueByKey",)}
    assert found == {"setValueByKey": "bd291aef"}
    assert system_function("getValueByKey").selector.hex() == "1258a93a"


def test_genesis_has_its_settings(world):
    assert world.settings() == FIRST
    for key in SystemKey:
        assert world.get(key) == (str(FIRST.get(key)), 0)
    assert world.get("no_such_key") == ("", NO_SUCH_KEY)
    refused_begin = system_function("begin").encode_call(1, 1, 1)
    outcome = world._evm.call(GOVERNOR, SYSTEM_CONFIG_ADDRESS, 0, refused_begin, 10_000_000)
    assert decode_registry_error(outcome.output) is CODE.TERMINAL_STATE


def test_a_value_holds_from_the_next_block_on(world):
    world.pass_blocks()
    assert world.set("TX_Count_Limit", "077") is ConsensusCode.DONE  # keys are of any case
    assert world.get("tx_count_limit") == ("77", world.height + 1)
    assert world.settings() == replace(FIRST, tx_count_limit=77)
    state = LayeredState(world._state, world._evm.writes())
    assert read_roster(state, kit.context(world.height)).settings == world.settings()


def test_only_governors_set_values(world):
    code = world.set("tx_count_limit", "5", who=account_of("issuer-sz"))
    assert code is ConsensusCode.NOT_AUTHORISED and world.settings() == FIRST


def test_the_bounds_are_those_of_the_table(world):
    for key, (least, most) in BOUNDS.items():
        for value in (least, most):
            assert world.set(key, str(value)) is ConsensusCode.DONE
            assert world.settings().get(key) == value
        for value in (least - 1, most + 1, 10**17):
            refused(CODE.MALFORMED, world.set, key, str(value))
        assert world.settings().get(key) == most, "a refusal changes nothing"


@pytest.mark.parametrize("text", ["", "-1", "+1", "0x10", " 1", "1e3", "1" * 19, "１"])
def test_what_is_no_number_is_refused(world, text):
    refused(CODE.MALFORMED, world.set, "tx_count_limit", text)


@pytest.mark.parametrize("key", ["", "tx_count_limi", "tx_count_limit ", "consensus_timeout"])
def test_other_keys_are_refused(world, key):
    refused(CODE.NOT_FOUND, world.set, key, "5")


def test_a_passed_proposal_sets_several(world):
    calls = [
        (SYSTEM_CONFIG_ADDRESS, system_function("setValueByKey").encode_call(str(key), str(value)))
        for key, value in (("tx_gas_limit", 4_000_000), ("consensus_leader_period", 3))
    ]
    number = propose_all(world, calls)
    world.pass_blocks()
    assert world.settings() == FIRST
    for who in ("issuer-sz", "witness-sz", "issuer-hk"):
        vote(world, who, number)
    assert world.settings() == replace(FIRST, leader_period=3, tx_gas_limit=4_000_000)
    assert world.set("tx_count_limit", "9", who=GOVERNANCE_ADDRESS) is ConsensusCode.DONE


def test_a_chain_of_format_9_has_no_settings_and_the_hash_it_had():
    """Vectors: what the last Lowu that wrote this format made of the same configuration."""
    genesis = replace(kit.GENESIS, format=9)
    block = build_genesis(genesis)
    digest = "f5183d14c06485c721c7f677861c84b73735708e0ffb2638beb1db8c6b0c131b"
    assert genesis.digest.hex() == digest
    found = "a47a7116f714d55109b8dab142f2c792e481393d8af8af6892050ea5be3e9b27"
    assert block.header.hash.hex() == found
    roster = "dcb777222edc4e7f0518496b1806e0c234df44f7841e1e81be1bf478d432e90c"
    assert block.roster.digest.hex() == roster and block.roster.settings is None
    assert decode_roster(encode_roster(block.roster)) == block.roster


def test_settings_are_of_the_roster_and_of_its_digest():
    roster = build_genesis(kit.GENESIS).roster
    assert decode_roster(encode_roster(roster)) == roster
    other = replace(roster, settings=GroupSettings(1, 7, 10**7))
    assert other.digest != roster.digest and other.validators(1).leader_period == 7
    assert Roster(roster.sealers, (), None).validators(4).leader_period == 4
