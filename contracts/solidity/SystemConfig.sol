// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.11;

import "./RegistryBase.sol";

interface IAccounts {
    function getAccount(address account) external view returns (uint16 org, uint8 roles);
}

/// @title What the group has set for all nodes: the size of blocks, the leaders' turns, gas.
/// @notice The functions and keys of FISCO BCOS's SystemConfig precompile, at its address. A change
/// holds from the next block on. Only governors make one: a vote (the Governance contract), or the
/// account that genesis names, until it renounces. Beyond FISCO BCOS, values have upper bounds, and
/// a transaction's gas is not limited to less than the votes take that would raise it again.
contract SystemConfig is RegistryBase {
    int256 public constant NOT_AUTHORISED = -50000;

    uint256 public constant TX_COUNT_MAX = 10_000;
    uint256 public constant LEADER_PERIOD_MAX = 1_000_000;
    uint256 public constant TX_GAS_MIN = 3_000_000;
    uint256 public constant TX_GAS_MAX = 100_000_000;

    bytes32 private constant TX_COUNT_LIMIT = keccak256("tx_count_limit");
    bytes32 private constant LEADER_PERIOD = keccak256("consensus_leader_period");
    bytes32 private constant TX_GAS_LIMIT = keccak256("tx_gas_limit");

    uint256 private constant DIGITS_MAX = 18;

    struct Setting {
        uint128 value;
        uint64 enabledHeight; // the first block to which it applies
    }

    IAccounts public immutable orgs;
    address public immutable governance;

    mapping(bytes32 => Setting) private settings; // by the key's hash

    event ValueSet(string key, uint256 value);

    constructor(IAccounts registry, address votes) {
        orgs = registry;
        governance = votes;
    }

    /// @notice Genesis: the first values. The checks are those of the node's configuration.
    function begin(
        uint128 txCountLimit,
        uint128 leaderPeriod,
        uint128 txGasLimit
    ) external {
        ensure(block.number == 0 && settings[TX_COUNT_LIMIT].value == 0, TERMINAL_STATE);
        settings[TX_COUNT_LIMIT].value = txCountLimit;
        settings[LEADER_PERIOD].value = leaderPeriod;
        settings[TX_GAS_LIMIT].value = txGasLimit;
    }

    /// @notice Set a key, of any case, to a decimal number.
    function setValueByKey(string calldata key, string calldata value) external returns (int256) {
        if (!isGovernor()) return NOT_AUTHORISED;
        bytes32 known = findKey(key);
        uint256 number = readNumber(value);
        if (known == TX_COUNT_LIMIT) ensure(number >= 1 && number <= TX_COUNT_MAX, MALFORMED);
        else if (known == LEADER_PERIOD) {
            ensure(number >= 1 && number <= LEADER_PERIOD_MAX, MALFORMED);
        } else ensure(number >= TX_GAS_MIN && number <= TX_GAS_MAX, MALFORMED);
        settings[known] = Setting(uint128(number), uint64(block.number) + 1);
        emit ValueSet(key, number);
        return 0;
    }

    /// @notice A key's value, and the first block to which it applies; -1 if there is no such key.
    function getValueByKey(string calldata key)
        external
        view
        returns (string memory value, int256 enabledHeight)
    {
        Setting storage setting = settings[hashOf(key)];
        if (setting.value == 0) return ("", -1);
        return (writeNumber(setting.value), int256(uint256(setting.enabledHeight)));
    }

    /// @notice All values, as nodes read them.
    function getValues()
        external
        view
        returns (
            uint128 txCountLimit,
            uint128 leaderPeriod,
            uint128 txGasLimit
        )
    {
        return (
            settings[TX_COUNT_LIMIT].value,
            settings[LEADER_PERIOD].value,
            settings[TX_GAS_LIMIT].value
        );
    }

    function isGovernor() private view returns (bool) {
        if (msg.sender == governance) return true;
        (uint16 org, uint8 roles) = orgs.getAccount(msg.sender);
        return org == 0 && roles & ROLE_GOVERNOR != 0;
    }

    function findKey(string calldata key) private pure returns (bytes32 known) {
        known = hashOf(key);
        bool isKnown = known == TX_COUNT_LIMIT || known == LEADER_PERIOD || known == TX_GAS_LIMIT;
        ensure(isKnown, NOT_FOUND);
    }

    /// The hash of a key in lower case.
    function hashOf(string calldata key) private pure returns (bytes32) {
        bytes memory text = bytes(key);
        for (uint256 place = 0; place < text.length; place++) {
            bytes1 character = text[place];
            if (character >= "A" && character <= "Z") text[place] = character | 0x20;
        }
        return keccak256(text);
    }

    function readNumber(string calldata value) private pure returns (uint256 number) {
        bytes calldata digits = bytes(value);
        ensure(digits.length != 0 && digits.length <= DIGITS_MAX, MALFORMED);
        for (uint256 place = 0; place < digits.length; place++) {
            bytes1 digit = digits[place];
            ensure(digit >= "0" && digit <= "9", MALFORMED);
            number = number * 10 + (uint8(digit) - 48);
        }
    }

    function writeNumber(uint256 number) private pure returns (string memory) {
        uint256 length;
        for (uint256 rest = number; rest != 0; rest /= 10) length++;
        bytes memory digits = new bytes(length);
        for (uint256 place = length; place != 0; place--) {
            digits[place - 1] = bytes1(uint8(48 + (number % 10)));
            number /= 10;
        }
        return string(digits);
    }
}
