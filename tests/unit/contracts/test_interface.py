"""Contracts by their ABI, held against web3.py: what people type, and what they read."""

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from web3 import Web3

from lowu.contracts.interface import ContractMistake, read_artifact
from lowu.contracts.registry import RegistryErrorCode

PART = {"name": "p", "type": "tuple", "components": [
    {"name": "who", "type": "address"}, {"name": "n", "type": "int8"},
]}  # fmt: skip
ABI = [
    {"type": "constructor", "inputs": [{"name": "supply", "type": "uint256"}]},
    {"type": "function", "name": "all", "stateMutability": "view", "inputs": [
        {"name": "a", "type": "uint8"}, {"name": "b", "type": "int64"},
        {"name": "c", "type": "bool"}, {"name": "d", "type": "address"},
        {"name": "e", "type": "bytes4"}, {"name": "f", "type": "bytes"},
        {"name": "g", "type": "string"}, {"name": "h", "type": "uint256[]"},
        {"name": "i", "type": "string[2]"}, PART, {**PART, "name": "ps", "type": "tuple[]"},
    ], "outputs": [{"name": "", "type": "uint256"}, {"name": "x", "type": "bytes2"}, PART]},
    {"type": "function", "name": "set", "inputs": [{"name": "n", "type": "uint8"}], "outputs": []},
    {"type": "function", "name": "set", "inputs": [{"name": "n", "type": "string"}], "outputs": []},
    {"type": "function", "name": "set", "inputs": [], "outputs": []},
    {"type": "event", "name": "Moved", "inputs": [
        {"name": "to", "type": "address", "indexed": True},
        {"name": "why", "type": "string", "indexed": True},
        {"name": "n", "type": "uint256", "indexed": False},
    ]},
    {"type": "error", "name": "TooMuch", "inputs": [{"name": "most", "type": "uint8"}]},
]  # fmt: skip
ME, BANK = "0x" + "11" * 20, "0x" + "22" * 20
GOOD = (
    "255", "-5", "true", "bank", "0x01020304", "0x", "a, \"b\"", "[1, \"0x10\", 1_000]",
    '["x", "y"]', f'["{ME}", -128]', f'[{{"who": "bank", "n": 1}}, ["{ME}", "2"]]',
)  # fmt: skip


def nest(field, depth):
    """Return a field within tuples."""
    for _ in range(depth):
        field = {"type": "tuple", "components": [field]}
    return field


def resolve(text):
    return BANK if text == "bank" else text


def interface(**raw):
    return read_artifact({"abi": ABI, **raw}, "Thing")


def test_what_is_typed_is_encoded_as_web3_does():
    entry = interface().find_function("all", 11)
    values = (
        255, -5, True, BANK, b"\1\2\3\4", b"", "a, \"b\"", [1, 16, 1000], ["x", "y"], (ME, -128),
        [(BANK, 1), (ME, 2)],
    )  # fmt: skip
    contract = Web3().eth.contract(abi=ABI)
    checked = [Web3.to_checksum_address(v) if v in (ME, BANK) else v for v in values[:9]]
    pairs = [(Web3.to_checksum_address(who), n) for who, n in (values[9], *values[10])]
    wanted = contract.encode_abi("all", args=[*checked, pairs[0], pairs[1:]])
    good = [item.replace("1_000", '"1_000"') for item in GOOD]
    assert "0x" + (entry.topic[:4] + entry.encode_arguments(good, resolve)).hex() == wanted


@pytest.mark.parametrize(
    ("place", "text", "problem"),
    [
        (0, "256", "a: 256 is outside the range of uint8"),
        (0, "-1", "outside the range"),
        (0, "1.5", "'1.5' is no whole number"),
        (0, "", "'' is no whole number"),
        (1, "9223372036854775808", "outside the range of int64"),
        (2, "1", "'1' is neither true nor false"),
        (3, "bnak", "'bnak' is no address and no institution"),
        (3, "0x11", "no address"),
        (4, "0x010203", "bytes4 is 4 bytes in hex"),
        (4, "01020304", "bytes4 is 4 bytes in hex"),
        (5, "0x1", "bytes is bytes in hex"),
        (7, "1", "uint256[] is a JSON list"),
        (7, "[1.5]", "'1.5' is no whole number"),
        (7, "[", "is not a JSON list"),
        (8, '["x"]', "string[2] is a JSON list of 2"),
        (9, '["x"]', "a tuple of 2 members"),
        (9, '{"who": "bank"}', "an object with who, n"),
        (10, "[[1, 2, 3]]", "a tuple of 2 members"),
    ],
)
def test_arguments_that_do_not_fit(place, text, problem):
    entry = interface().find_function("all", 11)
    given = [item.replace("1_000", "1000") for item in GOOD]
    given[place] = text
    with pytest.raises(ContractMistake) as refused:
        entry.encode_arguments(given, resolve)
    assert problem in str(refused.value)
    with pytest.raises(ContractMistake, match="takes 11 arguments, and 1 are given"):
        entry.encode_arguments(["1"], resolve)


def test_functions_of_one_name():
    found = interface()
    assert found.find_function("set", 0).signature == "set()"
    assert found.find_function("set(string)", 1).types == ("string",)
    with pytest.raises(ContractMistake, match=r"several set: name one of set\(uint8\), set\(str"):
        found.find_function("set", 1)
    with pytest.raises(ContractMistake, match="no function 'sett'; did you mean set"):
        found.find_function("sett", 1)


def test_results_are_shown_by_name():
    entry = interface().find_function("all", 11)
    data = encode(["uint256", "bytes2", "(address,int8)"], [2**60, b"\1\2", (ME, -1)])
    assert entry.decode_outputs(data) == {
        "0": str(2**60), "x": "0x0102", "p": {"who": ME, "n": -1},
    }  # fmt: skip


def test_events():
    topics = [keccak(text="Moved(address,string,uint256)"), bytes(12) + b"\x11" * 20, b"h" * 32]
    found = interface().decode_event(topics, encode(["uint256"], [7]))
    assert found == {"event": "Moved", "values": {"to": ME, "why": "0x" + b"h".hex() * 32, "n": 7}}
    assert interface().decode_event([b"x" * 32], b"") is None
    assert interface().decode_event(topics, b"short") is None
    assert interface().decode_event([], b"") is None


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "reverted without a reason"),
        (keccak(text="Error(string)")[:4] + encode(["string"], ["no money"]), "no money"),
        (keccak(text="Panic(uint256)")[:4] + encode(["uint256"], [0x12]), "division by zero"),
        (keccak(text="TooMuch(uint8)")[:4] + encode(["uint8"], [9]), "TooMuch(most=9)"),
        (keccak(text="Error(string)")[:4] + b"short", "reverted with 0x08c379a0"),
        (b"\1\2\3\4", "reverted with 0x01020304"),
    ],
)
def test_reverts_are_explained(data, text):
    assert text in interface().explain_revert(data)


def test_the_registry_s_errors_have_names():
    data = keccak(text="RegistryError(uint16)")[:4] + encode(["uint16"], [1004])
    assert RegistryErrorCode.NOT_ACCREDITED.name in interface().explain_revert(data)


@pytest.mark.parametrize(
    "raw",
    [
        {"bytecode": "0x6001"},  # Hardhat, Truffle
        {"bytecode": {"object": "0x6001"}},  # Foundry
        {"evm": {"bytecode": {"object": "6001"}}},  # solc
    ],
)
def test_artifacts_of_all_compilers(raw):
    assert interface(**raw).bytecode == b"\x60\x01"
    assert interface(contractName="Named").name == "Named"
    assert read_artifact(ABI, "bare").bytecode == b""


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (1, "not an artifact"),
        ({}, "not an artifact"),
        ({"abi": [1]}, "not an artifact"),
        ({"abi": [{"type": "function", "inputs": [{}]}]}, "its ABI is damaged"),
        ({"abi": [{"type": "function", "inputs": 5}]}, "its ABI is damaged"),
        *(
            ([{"type": "function", "name": "f", "inputs": [], "outputs": [item]}], "damaged: f has")
            for item in (
                {"type": "uint"},
                {"type": "uint7"},
                {"type": "uint264"},
                {"type": "bytes33"},
                {"type": "bytes99999999999"},
                {"type": "uint8[0]"},
                {"type": "uint8[99999]"},
                {"type": "uint8[999][999]"},
                {"type": "uint8" + "[]" * 9},
                {"type": "(uint8"},
                {"type": ""},
                {"type": 5},
                {},
                5,
                {"type": "tuple"},
                {"type": "tuple", "components": [{"type": "x"}]},
                {"type": "uint8", "name": []},
                {"type": "bool", "name": 5},
                nest({"type": "bool"}, 9),
            )
        ),
        ([{"type": "function", "name": []}], "a name is no text"),
        ({"abi": [], "bytecode": "0x60__$ab$__"}, "libraries that are not linked"),
        ({"abi": [], "bytecode": "0xzz"}, "not hex"),
    ],
)
def test_what_is_no_artifact(raw, problem):
    with pytest.raises(ContractMistake, match=problem):
        read_artifact(raw, "x")


def test_an_integer_of_thousands_of_digits_is_outside_every_range():
    abi = [{"type": "function", "name": "f", "inputs": [{"type": "uint256"}]}]
    for text in ("9" * 6_000, "0x" + "f" * 6_000):
        with pytest.raises(ContractMistake, match="outside the range of uint256"):
            read_artifact(abi, "x").find_function("f", 1).encode_arguments([text], resolve)


def test_an_integer_with_underscores_may_have_as_many_digits_as_another():
    abi = [{"type": "function", "name": "f", "inputs": [{"type": "uint256"}]}]
    entry = read_artifact(abi, "x").find_function("f", 1)
    assert entry.encode_arguments([f"{2**256 - 1:_}"], resolve) == b"\xff" * 32


def test_a_revert_s_text_moves_no_cursor():
    data = keccak(text="Error(string)")[:4] + encode(["string"], ["\x1b]0;PWN\a\nok \u202e"])
    assert read_artifact([], "x").explain_revert(data) == r"\x1b]0;PWN\x07\nok \u202e"


def test_deep_arguments_do_not_exhaust_the_stack():
    entry = read_artifact([{"type": "function", "name": "f", "inputs": [
        {"name": "x", "type": "uint8[][]"},
    ]}], "x").find_function("f", 1)  # fmt: skip
    with pytest.raises(ContractMistake, match="more than 500 lists"):
        entry.encode_arguments(["[" * 100_000], resolve)
