// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.11;

import "./IMembers.sol";
import "./RegistryBase.sol";

/// @title Consents by hash: given, withdrawn, live or not. What was consented to is not here.
/// @notice A holder has no account. Holders sign with a key of their own, made for one consent;
/// an institution submits it. Only the same key can withdraw. A consent is found by its key and
/// its hash, so whoever logs a hash that it saw with another key fills only a record of its own.
contract ConsentLog is RegistryBase {
    struct Consent {
        uint64 grantedHeight;
        uint64 withdrawnHeight; // 0 while it stands
        uint64 expiresAt; // seconds
    }

    IMembers public immutable members;
    mapping(address => mapping(bytes32 => Consent)) private consents;

    event ConsentGranted(address indexed key, bytes32 indexed consent, uint64 expiresAt);
    event ConsentWithdrawn(address indexed key, bytes32 indexed consent);

    constructor(IMembers registry) {
        members = registry;
    }

    /// @notice What a holder signs, with the 32 bytes hashed once more as signed messages are not.
    function messageOf(
        bytes32 consent,
        uint64 expiresAt,
        bool isWithdrawal
    ) public view returns (bytes32) {
        return
            keccak256(
                abi.encode("lowu-consent-2", block.chainid, address(this), consent, expiresAt, isWithdrawal)
            );
    }

    /// @notice Log a consent that its holder has signed. The same again changes nothing. One that
    /// was withdrawn before it was logged stays withdrawn.
    function grant(
        address key,
        bytes32 consent,
        uint64 expiresAt,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external returns (bool isDuplicate) {
        members.requireMember(msg.sender, ROLE_ISSUER | ROLE_VERIFIER);
        ensure(consent != bytes32(0), MALFORMED);
        requireSigned(key, messageOf(consent, expiresAt, false), v, r, s);
        Consent storage item = consents[key][consent];
        if (item.grantedHeight != 0) {
            ensure(item.expiresAt == expiresAt, ALREADY_REGISTERED_CONFLICT);
            return true;
        }
        ensure(item.withdrawnHeight == 0, TERMINAL_STATE);
        ensure(expiresAt > block.timestamp, BAD_VALIDITY);
        consents[key][consent] = Consent(uint64(block.number), 0, expiresAt);
        emit ConsentGranted(key, consent, expiresAt);
        return false;
    }

    /// @notice End a consent at once, as its holder has signed; also one that is not logged yet.
    function withdraw(
        address key,
        bytes32 consent,
        uint64 expiresAt,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        members.requireMember(msg.sender, ROLE_ISSUER | ROLE_VERIFIER);
        requireSigned(key, messageOf(consent, expiresAt, true), v, r, s);
        Consent storage item = consents[key][consent];
        ensure(item.withdrawnHeight == 0, TERMINAL_STATE);
        item.withdrawnHeight = uint64(block.number);
        emit ConsentWithdrawn(key, consent);
    }

    /// @notice Whether a consent was given, not withdrawn, and has not expired at this block.
    function isLive(address key, bytes32 consent) external view returns (bool) {
        Consent storage item = consents[key][consent];
        bool isStanding = item.grantedHeight != 0 && item.withdrawnHeight == 0;
        return isStanding && item.expiresAt > block.timestamp;
    }

    function getConsent(address key, bytes32 consent) external view returns (Consent memory) {
        return consents[key][consent];
    }
}
