// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.11;

import "./IMembers.sol";
import "./RegistryBase.sol";

interface IOrgRegistry is IMembers {
    function requireRole(address account, uint8 role) external view returns (uint16 org);

    function authorise(
        address account,
        uint32 schema,
        uint16 keyId
    )
        external
        view
        returns (
            uint16 org,
            uint16 refusal,
            uint8 minWitness,
            uint32 quotaPerBlock,
            uint32 quotaOutstanding
        );

    function witnessPolicy(uint32 schema)
        external
        view
        returns (uint8 minWitness, bool isCrossWitnessed);

    function jurisdictionOf(uint16 org) external view returns (uint8);
}

/// @title Anchors of documents. The document itself never comes here.
/// @notice An anchor is a blinded 32-byte digest, or the root of a tree of them. Records are keyed
/// by (issuer, anchor): a squatter who copies somebody's anchor only fills a record of his own.
/// Block time only.
contract HashRegistry is RegistryBase {
    uint8 public constant STATE_NONE = 0;
    uint8 public constant STATE_ACTIVE = 1;
    uint8 public constant STATE_PENDING_WITNESS = 2;
    uint8 public constant STATE_SUSPENDED = 3;
    uint8 public constant STATE_REVOKED = 4;
    uint8 public constant STATE_SUPERSEDED = 5;
    uint8 public constant STATE_ERASED = 6;

    uint8 public constant KIND_SINGLE = 0;
    uint8 public constant KIND_BATCH = 1;

    uint8 public constant SUITE_MAX = 3;
    uint8 public constant REASON_MAX = 15;
    uint8 public constant REASON_ERASED = 6;
    uint32 public constant BATCH_MAX = 65_536;

    // Two words and supersededBy; `fill` knows where each member is.
    struct Record {
        uint16 keyId;
        uint32 schema;
        uint8 suite;
        uint8 flags;
        uint8 state;
        uint8 reason;
        uint32 validUntilDay; // days since 1970-01-01, 0 for no end
        uint64 registeredHeight;
        uint64 registeredTime; // seconds, of the block
        uint8 kind;
        uint8 witnessCount;
        uint64 stateHeight; // since when it has its state
        uint32 count; // leaves of a batch, else 0
        uint8 minWitness; // by the schema's policy when it was registered
        bool isCounted; // against its issuer's quota of what is in force
        bytes32 supersededBy;
    }

    struct LeafErasure {
        bytes32 receiptHash; // 0 if it is not erased
        uint64 height;
    }

    struct LeafRevocation {
        uint8 reason; // 0 if it is not revoked
        uint64 height;
    }

    IOrgRegistry public immutable orgRegistry;
    mapping(uint16 => mapping(bytes32 => Record)) private records;
    /// Changes of state after the registration, as they were made: since which height << 8 | state.
    mapping(uint16 => mapping(bytes32 => uint256[])) private changes;
    mapping(uint16 => mapping(bytes32 => mapping(uint16 => bool))) private witnessed;
    mapping(uint16 => mapping(bytes32 => bool)) private isCrossWitnessed;
    mapping(uint16 => mapping(bytes32 => mapping(uint32 => LeafRevocation))) private leaves;
    mapping(uint16 => mapping(bytes32 => bytes32)) private erasureReceipts;
    mapping(uint16 => mapping(bytes32 => mapping(uint32 => LeafErasure))) private leafErasures;
    /// What an organisation with a quota has used: height of its last registration << 64 |
    /// registrations in that block << 32 | counted registrations that are not at their end.
    mapping(uint16 => uint256) private usage;

    event AnchorRegistered(
        uint16 indexed issuer,
        bytes32 indexed anchor,
        uint32 indexed schema,
        uint64 height
    );
    event BatchRegistered(
        uint16 indexed issuer,
        bytes32 indexed root,
        uint32 indexed schema,
        uint32 count
    );
    event Witnessed(uint16 indexed issuer, bytes32 indexed anchor, uint16 indexed witness);
    event AnchorActivated(uint16 indexed issuer, bytes32 indexed anchor);
    event AnchorRevoked(
        uint16 indexed issuer,
        bytes32 indexed anchor,
        uint8 reason,
        uint64 sinceHeight
    );
    event LeafRevoked(
        uint16 indexed issuer,
        bytes32 indexed root,
        bytes32 indexed anchor,
        uint8 reason
    );
    event LeafErased(
        uint16 indexed issuer,
        bytes32 indexed root,
        bytes32 indexed anchor,
        bytes32 receiptHash
    );
    event AnchorSuspended(uint16 indexed issuer, bytes32 indexed anchor);
    event AnchorReinstated(uint16 indexed issuer, bytes32 indexed anchor);
    event AnchorSuperseded(
        uint16 indexed issuer,
        bytes32 indexed anchor,
        bytes32 indexed supersededBy
    );
    event AnchorErased(uint16 indexed issuer, bytes32 indexed anchor, bytes32 receiptHash);

    constructor(IOrgRegistry registry) {
        orgRegistry = registry;
    }

    // --- registering ------------------------------------------------------------------------

    /// @notice Register an anchor of a document. Registering the same again changes nothing and
    /// returns true; registering other particulars under the same anchor is refused.
    function registerAnchor(
        bytes32 anchor,
        uint32 schema,
        uint16 keyId,
        uint32 validUntilDay,
        uint8 suite,
        uint8 flags
    ) external returns (bool isDuplicate) {
        uint256 particulars = pack(schema, keyId, validUntilDay, suite, flags);
        (uint16 issuer, bool isNew) = register(anchor, schema, validUntilDay, particulars, 0);
        if (!isNew) return true;
        emit AnchorRegistered(issuer, anchor, schema, uint64(block.number));
        return false;
    }

    /// @notice Register the root of a tree of up to 65,536 anchors.
    function registerBatch(
        bytes32 root,
        uint32 count,
        uint32 schema,
        uint16 keyId,
        uint32 validUntilDay,
        uint8 suite,
        uint8 flags
    ) external returns (bool isDuplicate) {
        ensure(count != 0 && count <= BATCH_MAX, BATCH_LIMIT);
        uint256 particulars = pack(schema, keyId, validUntilDay, suite, flags) |
            (uint256(KIND_BATCH) << 240);
        (uint16 issuer, bool isNew) = register(root, schema, validUntilDay, particulars, count);
        if (!isNew) return true;
        emit BatchRegistered(issuer, root, schema, count);
        return false;
    }

    /// What is the same in every registration of an anchor, where `Record` has it.
    function pack(
        uint32 schema,
        uint16 keyId,
        uint32 validUntilDay,
        uint8 suite,
        uint8 flags
    ) private pure returns (uint256) {
        if (schema == 0) revert RegistryError(BAD_SCHEMA);
        if (suite == 0 || suite > SUITE_MAX) revert RegistryError(BAD_SUITE);
        if (keyId == 0) revert RegistryError(MALFORMED);
        return
            uint256(keyId) |
            (uint256(schema) << 16) |
            (uint256(suite) << 48) |
            (uint256(flags) << 56) |
            (uint256(validUntilDay) << 80);
    }

    /// Bits of the first word that `pack` and the kind fill: all but state, reason, height, time
    /// and witnesses.
    uint256 private constant PARTICULARS =
        0x00ff00000000000000000000000000000000ffffffff0000ffffffffffffffff;

    function register(
        bytes32 anchor,
        uint32 schema,
        uint32 validUntilDay,
        uint256 particulars,
        uint32 count
    ) private returns (uint16, bool) {
        (
            uint16 issuer,
            uint16 refusal,
            uint8 minWitness,
            uint32 quotaPerBlock,
            uint32 quotaOutstanding
        ) = orgRegistry.authorise(msg.sender, schema, uint16(particulars));
        if (anchor == bytes32(0)) revert RegistryError(ZERO_ANCHOR);
        Record storage known = records[issuer][anchor];
        uint256 word;
        assembly {
            word := sload(known.slot)
        }
        if (word != 0) {
            if (word & PARTICULARS != particulars || known.count != count) {
                revert RegistryError(ALREADY_REGISTERED_CONFLICT);
            }
            return (issuer, false);
        }
        if (validUntilDay != 0 && uint256(validUntilDay) < block.timestamp / 1 days) {
            revert RegistryError(BAD_VALIDITY);
        }
        if (refusal != 0) revert RegistryError(refusal);
        bool isCounted = quotaPerBlock | quotaOutstanding != 0;
        if (isCounted) useQuota(issuer, quotaPerBlock, quotaOutstanding);
        fill(known, particulars, count, minWitness, isCounted);
        return (issuer, true);
    }

    /// Fill a record that is still empty. Given the members one by one the compiler would read
    /// and write each word again for each of them: nine times as many writes.
    function fill(
        Record storage record,
        uint256 particulars,
        uint32 count,
        uint8 minWitness,
        bool isCounted
    ) private {
        uint256 first = particulars |
            (uint256(minWitness == 0 ? STATE_ACTIVE : STATE_PENDING_WITNESS) << 64) |
            (uint256(uint64(block.number)) << 112) |
            (uint256(uint64(block.timestamp)) << 176);
        uint256 second = uint64(block.number) |
            (uint256(count) << 64) |
            (uint256(minWitness) << 96) |
            (isCounted ? 1 << 104 : 0);
        assembly {
            sstore(record.slot, first)
            sstore(add(record.slot, 1), second)
        }
    }

    function useQuota(
        uint16 issuer,
        uint32 perBlock,
        uint32 outstanding
    ) private {
        uint256 last = usage[issuer];
        uint256 used = last >> 64 == block.number ? (last >> 32) & 0xffffffff : 0;
        uint256 open = last & 0xffffffff;
        ensure(perBlock == 0 || used < perBlock, QUOTA_EXCEEDED);
        ensure(outstanding == 0 || open < outstanding, QUOTA_EXCEEDED);
        usage[issuer] = (block.number << 64) | ((used + 1) << 32) | (open + 1);
    }

    // --- witnesses --------------------------------------------------------------------------

    /// @notice Attest another organisation's anchor. With as many witnesses as its schema asks
    /// for (one of them from another jurisdiction, if it asks for that) it becomes active.
    function witness(uint16 issuer, bytes32 anchor) external {
        (uint16 org, uint8 jurisdiction) = orgRegistry.requireMember(msg.sender, ROLE_WITNESS);
        Record storage record = find(issuer, anchor);
        ensure(org != issuer, SELF_WITNESS);
        ensure(record.state == STATE_PENDING_WITNESS, NOT_ACTIVE);
        ensure(!witnessed[issuer][anchor][org], ALREADY_WITNESSED);
        witnessed[issuer][anchor][org] = true;
        record.witnessCount++;
        emit Witnessed(issuer, anchor, org);
        if (jurisdiction != orgRegistry.jurisdictionOf(issuer)) {
            isCrossWitnessed[issuer][anchor] = true;
        }
        (, bool mustCross) = orgRegistry.witnessPolicy(record.schema);
        bool isEnough = record.witnessCount >= record.minWitness;
        if (isEnough && (!mustCross || isCrossWitnessed[issuer][anchor])) {
            change(issuer, anchor, record, STATE_ACTIVE);
            emit AnchorActivated(issuer, anchor);
        }
    }

    function hasWitnessed(
        uint16 issuer,
        bytes32 anchor,
        uint16 org
    ) external view returns (bool) {
        return witnessed[issuer][anchor][org];
    }

    // --- changes of state -------------------------------------------------------------------

    /// @notice Withdraw an anchor of the caller's organisation for good: since a block of the past
    /// not before its registration, or since now, with 0.
    function revoke(
        bytes32 anchor,
        uint8 reason,
        uint64 sinceHeight
    ) external {
        uint16 issuer = orgRegistry.requireRole(msg.sender, ROLE_ISSUER);
        ensure(reason != 0 && reason <= REASON_MAX, MALFORMED);
        Record storage record = find(issuer, anchor);
        ensure(record.state != STATE_REVOKED, ALREADY_REVOKED);
        ensure(record.state < STATE_REVOKED, TERMINAL_STATE);
        uint64 since = sinceHeight == 0 ? uint64(block.number) : sinceHeight;
        ensure(since <= block.number && since >= record.registeredHeight, MALFORMED);
        record.reason = reason;
        changeSince(issuer, anchor, record, STATE_REVOKED, since);
        emit AnchorRevoked(issuer, anchor, reason, since);
    }

    /// @notice Withdraw one anchor of a batch: the one at an index, by its path to the root.
    function revokeLeaf(
        bytes32 root,
        bytes32 anchor,
        uint32 index,
        bytes32[] calldata path,
        uint8 reason
    ) external {
        uint16 issuer = orgRegistry.requireRole(msg.sender, ROLE_ISSUER);
        ensure(reason != 0 && reason <= REASON_MAX, MALFORMED);
        Record storage record = find(issuer, root);
        ensure(record.state < STATE_REVOKED, TERMINAL_STATE);
        ensure(isInBatch(record, root, anchor, index, path), BAD_PROOF);
        LeafRevocation storage leaf = leaves[issuer][root][index];
        ensure(leaf.reason == 0, ALREADY_REVOKED);
        leaf.reason = reason;
        leaf.height = uint64(block.number);
        emit LeafRevoked(issuer, root, anchor, reason);
    }

    /// @notice Take an active anchor out of use for a while.
    function suspend(bytes32 anchor) external {
        (uint16 issuer, Record storage record) = findOwn(anchor);
        ensure(record.state < STATE_REVOKED, TERMINAL_STATE);
        ensure(record.state == STATE_ACTIVE, NOT_ACTIVE);
        change(issuer, anchor, record, STATE_SUSPENDED);
        emit AnchorSuspended(issuer, anchor);
    }

    /// @notice Put a suspended anchor back to use.
    function reinstate(bytes32 anchor) external {
        (uint16 issuer, Record storage record) = findOwn(anchor);
        ensure(record.state < STATE_REVOKED, TERMINAL_STATE);
        ensure(record.state == STATE_SUSPENDED, NOT_ACTIVE);
        change(issuer, anchor, record, STATE_ACTIVE);
        emit AnchorReinstated(issuer, anchor);
    }

    /// @notice Replace an anchor by a newer one of the same organisation and schema.
    function supersede(bytes32 anchor, bytes32 newer) external {
        (uint16 issuer, Record storage record) = findOwn(anchor);
        Record storage successor = find(issuer, newer);
        ensure(anchor != newer, MALFORMED);
        ensure(record.state == STATE_ACTIVE, TERMINAL_STATE);
        ensure(successor.state == STATE_ACTIVE, NOT_ACTIVE);
        ensure(record.schema == successor.schema, BAD_SCHEMA);
        record.supersededBy = newer;
        change(issuer, anchor, record, STATE_SUPERSEDED);
        emit AnchorSuperseded(issuer, anchor, newer);
    }

    /// @notice Note that what an anchor stood for has been erased, with the hash of the receipt.
    /// An anchor that is still in use is withdrawn by it.
    function markErased(bytes32 anchor, bytes32 receiptHash) external {
        (uint16 issuer, Record storage record) = findOwn(anchor);
        ensure(receiptHash != bytes32(0), MALFORMED);
        ensure(record.state != STATE_ERASED, TERMINAL_STATE);
        if (record.reason == 0) record.reason = REASON_ERASED;
        erasureReceipts[issuer][anchor] = receiptHash;
        change(issuer, anchor, record, STATE_ERASED);
        emit AnchorErased(issuer, anchor, receiptHash);
    }

    /// @notice Note that one document of a batch has been erased, with the hash of the receipt,
    /// whatever has become of the batch. If the document is still in use, it is withdrawn by it.
    function eraseLeaf(
        bytes32 root,
        bytes32 anchor,
        uint32 index,
        bytes32[] calldata path,
        bytes32 receiptHash
    ) external {
        (uint16 issuer, Record storage record) = findOwn(root);
        ensure(receiptHash != bytes32(0), MALFORMED);
        ensure(isInBatch(record, root, anchor, index, path), BAD_PROOF);
        ensure(leafErasures[issuer][root][index].receiptHash == bytes32(0), TERMINAL_STATE);
        leafErasures[issuer][root][index] = LeafErasure(receiptHash, uint64(block.number));
        LeafRevocation storage leaf = leaves[issuer][root][index];
        if (leaf.reason == 0) {
            leaf.reason = REASON_ERASED;
            leaf.height = uint64(block.number);
            emit LeafRevoked(issuer, root, anchor, REASON_ERASED);
        }
        emit LeafErased(issuer, root, anchor, receiptHash);
    }

    function find(uint16 issuer, bytes32 anchor) private view returns (Record storage record) {
        record = records[issuer][anchor];
        ensure(record.state != STATE_NONE, NOT_FOUND);
    }

    function findOwn(bytes32 anchor) private view returns (uint16 issuer, Record storage record) {
        issuer = orgRegistry.requireRole(msg.sender, ROLE_ISSUER);
        record = find(issuer, anchor);
    }

    function change(
        uint16 issuer,
        bytes32 anchor,
        Record storage record,
        uint8 state
    ) private {
        changeSince(issuer, anchor, record, state, uint64(block.number));
    }

    function changeSince(
        uint16 issuer,
        bytes32 anchor,
        Record storage record,
        uint8 state,
        uint64 height
    ) private {
        if (record.isCounted && state >= STATE_REVOKED) {
            record.isCounted = false;
            usage[issuer]--; // the lowest part is what is in force
        }
        record.state = state;
        record.stateHeight = height;
        changes[issuer][anchor].push((uint256(height) << 8) | state);
    }

    // --- reading ----------------------------------------------------------------------------

    function getRecord(uint16 issuer, bytes32 anchor) external view returns (Record memory) {
        return records[issuer][anchor];
    }

    /// @notice The state a record had once the block at `height` was committed, by what is known
    /// now: a later change may say since when it holds.
    function getStatusAt(
        uint16 issuer,
        bytes32 anchor,
        uint64 height
    ) external view returns (uint8 state) {
        Record storage record = records[issuer][anchor];
        if (record.state == STATE_NONE || height < record.registeredHeight) return STATE_NONE;
        uint256[] storage history = changes[issuer][anchor];
        for (uint256 position = history.length; position > 0; position--) {
            uint256 entry = history[position - 1];
            if (entry >> 8 <= height) return uint8(entry);
        }
        return record.minWitness == 0 ? STATE_ACTIVE : STATE_PENDING_WITNESS;
    }

    /// @notice The state of one anchor of a batch: the batch's, unless it was revoked or erased
    /// alone.
    function getLeafStatus(
        uint16 issuer,
        bytes32 root,
        bytes32 anchor,
        uint32 index,
        bytes32[] calldata path
    )
        external
        view
        returns (
            uint8 state,
            uint8 reason,
            uint64 stateHeight
        )
    {
        Record storage record = find(issuer, root);
        ensure(isInBatch(record, root, anchor, index, path), BAD_PROOF);
        LeafRevocation storage leaf = leaves[issuer][root][index];
        LeafErasure storage erasure = leafErasures[issuer][root][index];
        if (erasure.receiptHash != bytes32(0)) return (STATE_ERASED, leaf.reason, erasure.height);
        if (record.state >= STATE_REVOKED || leaf.reason == 0) {
            return (record.state, record.reason, record.stateHeight);
        }
        return (STATE_REVOKED, leaf.reason, leaf.height);
    }

    function getErasureReceipt(uint16 issuer, bytes32 anchor) external view returns (bytes32) {
        return erasureReceipts[issuer][anchor];
    }

    /// @notice The hash of the receipt for one erased document of a batch; 0 if there is none.
    function getLeafErasureReceipt(
        uint16 issuer,
        bytes32 root,
        uint32 index
    ) external view returns (bytes32) {
        return leafErasures[issuer][root][index].receiptHash;
    }

    /// Whether a path leads from an anchor to the root of a batch (RFC 9162, 2.1.3.2).
    function isInBatch(
        Record storage record,
        bytes32 root,
        bytes32 anchor,
        uint32 index,
        bytes32[] calldata path
    ) private view returns (bool) {
        if (record.kind != KIND_BATCH || index >= record.count) return false;
        uint256 at = index;
        uint256 last = uint256(record.count) - 1;
        bytes32 digest = sha256(abi.encodePacked("dvp1-b0", anchor));
        for (uint256 position = 0; position < path.length; position++) {
            if (last == 0) return false;
            if (at & 1 == 1 || at == last) {
                digest = sha256(abi.encodePacked("dvp1-b1", path[position], digest));
                while (at & 1 == 0 && at != 0) {
                    at >>= 1;
                    last >>= 1;
                }
            } else {
                digest = sha256(abi.encodePacked("dvp1-b1", digest, path[position]));
            }
            at >>= 1;
            last >>= 1;
        }
        return last == 0 && digest == root;
    }
}
