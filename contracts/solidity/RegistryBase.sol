// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.11;

/// @title What all contracts of the registry share: frozen error numbers, roles, jurisdictions.
/// @notice 1xxx authorisation, 2xxx input, 3xxx state, 4xxx policy, 5xxx governance.
abstract contract RegistryBase {
    error RegistryError(uint16 code);

    uint16 internal constant UNKNOWN_ACCOUNT = 1001;
    uint16 internal constant ROLE_REQUIRED = 1002;
    uint16 internal constant ORG_NOT_ACTIVE = 1003;
    uint16 internal constant NOT_ACCREDITED = 1004;
    uint16 internal constant KEY_NOT_VALID = 1005;
    uint16 internal constant SIGNATURE_INVALID = 1006;

    uint16 internal constant ZERO_ANCHOR = 2001;
    uint16 internal constant BAD_SCHEMA = 2002;
    uint16 internal constant BAD_SUITE = 2003;
    uint16 internal constant BAD_VALIDITY = 2004;
    uint16 internal constant BAD_PROOF = 2005;
    uint16 internal constant BATCH_LIMIT = 2006;
    uint16 internal constant MALFORMED = 2007;

    uint16 internal constant ALREADY_REGISTERED_CONFLICT = 3001;
    uint16 internal constant NOT_FOUND = 3002;
    uint16 internal constant NOT_ACTIVE = 3003;
    uint16 internal constant ALREADY_REVOKED = 3004;
    uint16 internal constant TERMINAL_STATE = 3005;
    uint16 internal constant ALREADY_WITNESSED = 3006;
    uint16 internal constant SELF_WITNESS = 3007;
    uint16 internal constant PRESENTATION_CONSUMED = 3008;
    uint16 internal constant CONSENT_NOT_LIVE = 3009;

    uint16 internal constant QUOTA_EXCEEDED = 4001;
    uint16 internal constant WITNESS_REQUIRED = 4002;
    uint16 internal constant JURISDICTION_RULE = 4003;
    uint16 internal constant SCHEMA_PAUSED = 4004;

    uint16 internal constant NO_SUCH_PROPOSAL = 5001;
    uint16 internal constant ALREADY_VOTED = 5002;

    uint8 internal constant ROLE_ADMIN = 1;
    uint8 internal constant ROLE_ISSUER = 2;
    uint8 internal constant ROLE_VERIFIER = 4;
    uint8 internal constant ROLE_WITNESS = 8;
    uint8 internal constant ROLE_OPERATOR = 16;
    uint8 internal constant ROLE_REGULATOR = 32;
    uint8 internal constant ROLE_GOVERNOR = 64;

    uint8 internal constant SCHEMA_ACTIVE = 1;
    uint8 internal constant SCHEMA_PAUSED_STATE = 2;
    uint8 internal constant SCHEMA_DEPRECATED = 3;

    uint8 internal constant JURISDICTION_MAX = 4; // 1 SZ, 2 HK, 3 MO, 4 SG

    function ensure(bool holds, uint16 code) internal pure {
        if (!holds) revert RegistryError(code);
    }

    /// Refuse a message that a key has not signed. A high s would be a second signature of it.
    function requireSigned(
        address key,
        bytes32 message,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) internal pure {
        bool isLow = uint256(s) <= 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;
        bool isSigned = key != address(0) && ecrecover(message, v, r, s) == key;
        ensure(isLow && isSigned, SIGNATURE_INVALID);
    }
}
