// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.11;

import "./RegistryBase.sol";

interface IOrgs {
    struct Org {
        bytes32 metaHash;
        uint8 jurisdiction;
        uint8 roles;
        uint8 status;
        uint64 admittedHeight;
        uint64 statusHeight;
        uint32 quotaPerBlock;
        uint32 quotaOutstanding;
        uint40 suspendedUntil;
    }

    function getAccount(address account) external view returns (uint16 org, uint8 roles);

    function getOrg(uint16 org) external view returns (Org memory);
}

/// @title The nodes of the group: who validates, with which weight, and who observes.
/// @notice The functions and return codes of FISCO BCOS's Consensus precompile, at its address. A
/// change holds from the next block on. Only governors make one: a vote (the Governance contract),
/// or the account that genesis names, until it renounces. Beyond FISCO BCOS, a set of validators is
/// refused in which the nodes of one jurisdiction are a quorum alone.
contract Consensus is RegistryBase {
    int256 public constant NOT_AUTHORISED = -50000;
    int256 public constant BAD_NODE_ID = -51100;
    int256 public constant LAST_VALIDATOR = -51101;
    int256 public constant ZERO_WEIGHT = -51102;
    int256 public constant NO_SUCH_NODE = -51103;
    int256 public constant NOT_OBSERVER = -51104;

    uint16 internal constant QUORUM_NOT_BOUNDARY_SAFE = 5003;
    uint16 internal constant LAST_SEALER = 5004;

    uint8 public constant SEALER = 1;
    uint8 public constant OBSERVER = 2;

    uint256 public constant NODES_MAX = 256;
    uint256 public constant WEIGHT_MAX = 10_000;
    uint256 private constant ID_CHARACTERS = 128;

    struct Node {
        bytes32 high; // the node id, a public key of 64 bytes
        bytes32 low;
        uint8 kind;
        uint8 jurisdiction; // of the institution that runs it; 0 if unknown
        uint16 weight; // 0 while it observes
        uint64 enabledHeight; // the first block to which this applies
    }

    IOrgs public immutable orgs;
    address public immutable governance;
    bool public isOneSideQuorumAllowed;

    Node[] private nodes;
    mapping(bytes32 => uint256) private places; // one more than the place in `nodes`

    event NodeChanged(bytes32 high, bytes32 low, uint8 kind, uint16 weight);
    event NodeRemoved(bytes32 high, bytes32 low);
    event OneSideQuorumSet(bool isAllowed);

    constructor(IOrgs registry, address votes) {
        orgs = registry;
        governance = votes;
    }

    /// @notice Genesis: the first nodes, all at once, as no check holds for part of them.
    function begin(Node[] calldata first, bool isAllowed) external {
        ensure(block.number == 0 && nodes.length == 0, TERMINAL_STATE);
        for (uint256 place = 0; place < first.length; place++) insert(first[place]);
        isOneSideQuorumAllowed = isAllowed;
    }

    /// @notice Make an observer a validator, or change a validator's weight.
    function addSealer(string calldata nodeID, uint256 weight) external returns (int256) {
        if (!isGovernor()) return NOT_AUTHORISED;
        (bool isRead, bytes32 high, bytes32 low) = readId(nodeID);
        if (!isRead) return refuse(BAD_NODE_ID, MALFORMED);
        if (weight == 0) return refuse(ZERO_WEIGHT, MALFORMED);
        uint256 place = places[keccak256(abi.encode(high, low))];
        if (place == 0) return refuse(NOT_OBSERVER, NOT_FOUND);
        change(nodes[place - 1], SEALER, weight);
        return 0;
    }

    /// @notice Let a node take part without a vote: a new one, or a validator.
    function addObserver(string calldata nodeID) external returns (int256) {
        return observe(nodeID, 0);
    }

    /// @notice The same, for a node that an institution runs: only so its side is known.
    function addObserverOf(uint16 org, string calldata nodeID) external returns (int256) {
        uint8 jurisdiction = orgs.getOrg(org).jurisdiction;
        ensure(jurisdiction != 0, NOT_FOUND);
        return observe(nodeID, jurisdiction);
    }

    function remove(string calldata nodeID) external returns (int256) {
        if (!isGovernor()) return NOT_AUTHORISED;
        (bool isRead, bytes32 high, bytes32 low) = readId(nodeID);
        if (!isRead) return refuse(BAD_NODE_ID, MALFORMED);
        uint256 place = places[keccak256(abi.encode(high, low))];
        if (place == 0) return refuse(NO_SUCH_NODE, NOT_FOUND);
        if (isLast(nodes[place - 1])) return refuse(LAST_VALIDATOR, LAST_SEALER);
        bool isSealer = nodes[place - 1].kind == SEALER;
        Node memory last = nodes[nodes.length - 1];
        nodes[place - 1] = last;
        places[keccak256(abi.encode(last.high, last.low))] = place;
        delete places[keccak256(abi.encode(high, low))];
        nodes.pop();
        if (isSealer) requireSafe();
        emit NodeRemoved(high, low);
        return 0;
    }

    function setWeight(string calldata nodeID, uint256 weight) external returns (int256) {
        if (!isGovernor()) return NOT_AUTHORISED;
        (bool isRead, bytes32 high, bytes32 low) = readId(nodeID);
        if (!isRead) return refuse(BAD_NODE_ID, MALFORMED);
        if (weight == 0) return refuse(ZERO_WEIGHT, MALFORMED);
        uint256 place = places[keccak256(abi.encode(high, low))];
        if (place == 0) return refuse(NO_SUCH_NODE, NOT_FOUND);
        ensure(nodes[place - 1].kind == SEALER, NOT_ACTIVE);
        change(nodes[place - 1], SEALER, weight);
        return 0;
    }

    /// @notice Allow, or no longer, that the nodes of one jurisdiction are a quorum alone.
    function setOneSideQuorum(bool isAllowed) external returns (int256) {
        if (!isGovernor()) return NOT_AUTHORISED;
        isOneSideQuorumAllowed = isAllowed;
        requireSafe();
        emit OneSideQuorumSet(isAllowed);
        return 0;
    }

    function getNodes() external view returns (Node[] memory) {
        return nodes;
    }

    function isGovernor() private view returns (bool) {
        if (msg.sender == governance) return true;
        (uint16 org, uint8 roles) = orgs.getAccount(msg.sender);
        return org == 0 && roles & ROLE_GOVERNOR != 0;
    }

    /// FISCO BCOS returns a code where a passed proposal has to fail: it makes all calls or none.
    function refuse(int256 code, uint16 number) private view returns (int256) {
        ensure(msg.sender != governance, number);
        return code;
    }

    function observe(string calldata nodeID, uint8 jurisdiction) private returns (int256) {
        if (!isGovernor()) return NOT_AUTHORISED;
        (bool isRead, bytes32 high, bytes32 low) = readId(nodeID);
        if (!isRead) return refuse(BAD_NODE_ID, MALFORMED);
        uint256 place = places[keccak256(abi.encode(high, low))];
        if (place == 0) {
            insert(Node(high, low, OBSERVER, jurisdiction, 0, uint64(block.number) + 1));
            emit NodeChanged(high, low, OBSERVER, 0);
            return 0;
        }
        Node storage node = nodes[place - 1];
        if (isLast(node)) return refuse(LAST_VALIDATOR, LAST_SEALER);
        if (jurisdiction != 0) node.jurisdiction = jurisdiction;
        change(node, OBSERVER, 0);
        return 0;
    }

    function insert(Node memory node) private {
        ensure(nodes.length < NODES_MAX, QUOTA_EXCEEDED);
        nodes.push(node);
        bytes32 key = keccak256(abi.encode(node.high, node.low));
        ensure(places[key] == 0, ALREADY_REGISTERED_CONFLICT);
        places[key] = nodes.length;
    }

    function change(
        Node storage node,
        uint8 kind,
        uint256 weight
    ) private {
        ensure(weight <= WEIGHT_MAX, MALFORMED);
        bool isOfVotes = kind == SEALER || node.kind == SEALER;
        (node.kind, node.weight) = (kind, uint16(weight));
        node.enabledHeight = uint64(block.number) + 1;
        if (isOfVotes) requireSafe();
        emit NodeChanged(node.high, node.low, kind, uint16(weight));
    }

    /// Whether a node is the only validator.
    function isLast(Node storage node) private view returns (bool) {
        if (node.kind != SEALER) return false;
        uint256 sealers;
        for (uint256 place = 0; place < nodes.length; place++) {
            if (nodes[place].kind == SEALER) sealers++;
        }
        return sealers == 1;
    }

    /// Refuse validators of which those of one jurisdiction are a quorum. A node whose side is not
    /// known may be of any; where no side is known, there is no boundary.
    function requireSafe() private view {
        if (isOneSideQuorumAllowed) return;
        uint256[5] memory weights;
        uint256 total;
        for (uint256 place = 0; place < nodes.length; place++) {
            Node storage node = nodes[place];
            if (node.kind != SEALER) continue;
            weights[node.jurisdiction] += node.weight;
            total += node.weight;
        }
        if (weights[0] == total) return;
        uint256 quorum = total - (total - 1) / 3;
        for (uint8 jurisdiction = 1; jurisdiction <= JURISDICTION_MAX; jurisdiction++) {
            bool isQuorum = weights[jurisdiction] + weights[0] >= quorum;
            ensure(!isQuorum, QUORUM_NOT_BOUNDARY_SAFE);
        }
    }

    /// The two halves of a node id in 128 hex digits, of either case.
    function readId(string calldata text)
        private
        pure
        returns (
            bool isRead,
            bytes32 high,
            bytes32 low
        )
    {
        bytes calldata digits = bytes(text);
        if (digits.length != ID_CHARACTERS) return (false, 0, 0);
        uint256[2] memory halves;
        for (uint256 place = 0; place < ID_CHARACTERS; place++) {
            uint8 digit = uint8(digits[place]);
            if (digit >= 0x30 && digit <= 0x39) digit -= 0x30;
            else if (digit >= 0x61 && digit <= 0x66) digit -= 0x57;
            else if (digit >= 0x41 && digit <= 0x46) digit -= 0x37;
            else return (false, 0, 0);
            halves[place / 64] = (halves[place / 64] << 4) | digit;
        }
        return (true, bytes32(halves[0]), bytes32(halves[1]));
    }
}
