// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.11;

interface IOrgRegistry {
    function requireRole(address account, uint8 role) external view returns (uint16 org);

    function requireRoleFor(address account, uint8 role, uint32 schema)
        external
        view
        returns (uint16 org, bool isAccredited);
}

/// @title Anchors of documents. The document itself never comes here.
/// @notice An anchor is a blinded 32-byte digest. Records are keyed by (issuer, anchor): a
/// squatter who copies somebody's anchor only fills a record of his own. Block time only.
contract HashRegistry {
    /// Frozen error numbers: 1xxx authorisation, 2xxx input, 3xxx state.
    error RegistryError(uint16 code);

    uint16 internal constant NOT_ACCREDITED = 1004;
    uint16 internal constant ZERO_ANCHOR = 2001;
    uint16 internal constant BAD_SCHEMA = 2002;
    uint16 internal constant BAD_SUITE = 2003;
    uint16 internal constant BAD_VALIDITY = 2004;
    uint16 internal constant MALFORMED = 2007;
    uint16 internal constant ALREADY_REGISTERED_CONFLICT = 3001;
    uint16 internal constant NOT_FOUND = 3002;
    uint16 internal constant NOT_ACTIVE = 3003;
    uint16 internal constant ALREADY_REVOKED = 3004;
    uint16 internal constant TERMINAL_STATE = 3005;

    uint8 internal constant ROLE_ISSUER = 2;

    uint8 public constant STATE_NONE = 0;
    uint8 public constant STATE_ACTIVE = 1;
    uint8 public constant STATE_REVOKED = 4;
    uint8 public constant STATE_SUPERSEDED = 5;

    uint8 public constant SUITE_MAX = 3;
    uint8 public constant REASON_MAX = 15;

    // Two words and supersededBy; `activate` knows where each member is.
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
        uint64 stateHeight; // block of the last change of state
        bytes32 supersededBy;
    }

    IOrgRegistry public immutable orgRegistry;
    mapping(uint16 => mapping(bytes32 => Record)) private records;

    event AnchorRegistered(
        uint16 indexed issuer,
        bytes32 indexed anchor,
        uint32 indexed schema,
        uint64 height
    );
    event AnchorRevoked(uint16 indexed issuer, bytes32 indexed anchor, uint8 reason);
    event AnchorSuperseded(
        uint16 indexed issuer,
        bytes32 indexed anchor,
        bytes32 indexed supersededBy
    );

    constructor(IOrgRegistry registry) {
        orgRegistry = registry;
    }

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
        (uint16 issuer, bool isAccredited) = orgRegistry.requireRoleFor(
            msg.sender,
            ROLE_ISSUER,
            schema
        );
        if (anchor == bytes32(0)) revert RegistryError(ZERO_ANCHOR);
        if (schema == 0) revert RegistryError(BAD_SCHEMA);
        if (suite == 0 || suite > SUITE_MAX) revert RegistryError(BAD_SUITE);
        if (keyId == 0) revert RegistryError(MALFORMED);
        Record storage known = records[issuer][anchor];
        if (known.state != STATE_NONE) {
            bool isSame = known.schema == schema &&
                known.keyId == keyId &&
                known.validUntilDay == validUntilDay &&
                known.suite == suite &&
                known.flags == flags;
            if (!isSame) revert RegistryError(ALREADY_REGISTERED_CONFLICT);
            return true;
        }
        if (validUntilDay != 0 && uint256(validUntilDay) < block.timestamp / 1 days) {
            revert RegistryError(BAD_VALIDITY);
        }
        if (!isAccredited) revert RegistryError(NOT_ACCREDITED);
        activate(
            known,
            uint256(keyId) |
                (uint256(schema) << 16) |
                (uint256(suite) << 48) |
                (uint256(flags) << 56) |
                (uint256(validUntilDay) << 80)
        );
        emit AnchorRegistered(issuer, anchor, schema, uint64(block.number));
        return false;
    }

    /// Fill a record that is still empty. Given the members one by one the compiler would read
    /// and write each word again for each of them: nine times as many writes.
    function activate(Record storage record, uint256 particulars) private {
        uint256 first = particulars |
            (uint256(STATE_ACTIVE) << 64) |
            (uint256(uint64(block.number)) << 112) |
            (uint256(uint64(block.timestamp)) << 176);
        uint256 second = uint64(block.number);
        assembly {
            sstore(record.slot, first)
            sstore(add(record.slot, 1), second)
        }
    }

    /// @notice Withdraw an anchor of the caller's organisation for good.
    function revoke(bytes32 anchor, uint8 reason) external {
        uint16 issuer = orgRegistry.requireRole(msg.sender, ROLE_ISSUER);
        if (reason == 0 || reason > REASON_MAX) revert RegistryError(MALFORMED);
        Record storage record = records[issuer][anchor];
        if (record.state == STATE_NONE) revert RegistryError(NOT_FOUND);
        if (record.state == STATE_REVOKED) revert RegistryError(ALREADY_REVOKED);
        if (record.state != STATE_ACTIVE) revert RegistryError(TERMINAL_STATE);
        record.state = STATE_REVOKED;
        record.reason = reason;
        record.stateHeight = uint64(block.number);
        emit AnchorRevoked(issuer, anchor, reason);
    }

    /// @notice Replace an anchor by a newer one of the same organisation and schema.
    function supersede(bytes32 anchor, bytes32 newer) external {
        uint16 issuer = orgRegistry.requireRole(msg.sender, ROLE_ISSUER);
        Record storage record = records[issuer][anchor];
        Record storage successor = records[issuer][newer];
        if (record.state == STATE_NONE || successor.state == STATE_NONE) {
            revert RegistryError(NOT_FOUND);
        }
        if (anchor == newer) revert RegistryError(MALFORMED);
        if (record.state != STATE_ACTIVE) revert RegistryError(TERMINAL_STATE);
        if (successor.state != STATE_ACTIVE) revert RegistryError(NOT_ACTIVE);
        if (record.schema != successor.schema) revert RegistryError(BAD_SCHEMA);
        record.state = STATE_SUPERSEDED;
        record.supersededBy = newer;
        record.stateHeight = uint64(block.number);
        emit AnchorSuperseded(issuer, anchor, newer);
    }

    function getRecord(uint16 issuer, bytes32 anchor) external view returns (Record memory) {
        return records[issuer][anchor];
    }

    /// @notice The state a record had once the block at `height` was committed.
    function getStatusAt(uint16 issuer, bytes32 anchor, uint64 height)
        external
        view
        returns (uint8 state)
    {
        Record storage record = records[issuer][anchor];
        if (record.state == STATE_NONE || height < record.registeredHeight) return STATE_NONE;
        return height < record.stateHeight ? STATE_ACTIVE : record.state;
    }
}
