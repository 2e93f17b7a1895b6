// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.11;

import "./IMembers.sol";
import "./RegistryBase.sol";

/// @title Consents by hash: given, withdrawn, live or not. What was consented to is not here.
/// @notice A holder has no account. Holders sign with a key of their own, made for one consent;
/// an institution submits it. Only the same key can withdraw.
contract ConsentLog is RegistryBase {
    struct Consent {
        address holderKey;
        uint64 grantedHeight;
        uint64 withdrawnHeight; // 0 while it stands
        uint64 expiresAt; // seconds
    }

    IMembers public immutable members;
    mapping(bytes32 => Consent) private consents;

    event ConsentGranted(bytes32 indexed consent, uint64 expiresAt);
    event ConsentWithdrawn(bytes32 indexed consent);

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
                abi.encode("lowu-consent-1", block.chainid, address(this), consent, expiresAt, isWithdrawal)
            );
    }

    /// @notice Log a consent that its holder has signed. The same again changes nothing.
    function grant(
        bytes32 consent,
        uint64 expiresAt,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external returns (bool isDuplicate) {
        members.requireMember(msg.sender, ROLE_ISSUER | ROLE_VERIFIER);
        ensure(consent != bytes32(0), MALFORMED);
        address key = recover(messageOf(consent, expiresAt, false), v, r, s);
        Consent storage item = consents[consent];
        if (item.grantedHeight != 0) {
            bool isSame = item.holderKey == key && item.expiresAt == expiresAt;
            ensure(isSame, ALREADY_REGISTERED_CONFLICT);
            return true;
        }
        ensure(expiresAt > block.timestamp, BAD_VALIDITY);
        consents[consent] = Consent(key, uint64(block.number), 0, expiresAt);
        emit ConsentGranted(consent, expiresAt);
        return false;
    }

    /// @notice End a consent at once, as its holder has signed.
    function withdraw(
        bytes32 consent,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        members.requireMember(msg.sender, ROLE_ISSUER | ROLE_VERIFIER);
        Consent storage item = consents[consent];
        ensure(item.grantedHeight != 0, NOT_FOUND);
        ensure(item.withdrawnHeight == 0, TERMINAL_STATE);
        address key = recover(messageOf(consent, item.expiresAt, true), v, r, s);
        ensure(key == item.holderKey, SIGNATURE_INVALID);
        item.withdrawnHeight = uint64(block.number);
        emit ConsentWithdrawn(consent);
    }

    function recover(
        bytes32 message,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) private pure returns (address key) {
        // A high s would be a second signature of the same thing.
        bool isLow = uint256(s) <= 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;
        key = ecrecover(message, v, r, s);
        ensure(isLow && key != address(0), SIGNATURE_INVALID);
    }

    /// @notice Whether a consent was given, not withdrawn, and has not expired at this block.
    function isLive(bytes32 consent) external view returns (bool) {
        Consent storage item = consents[consent];
        bool isStanding = item.grantedHeight != 0 && item.withdrawnHeight == 0;
        return isStanding && item.expiresAt > block.timestamp;
    }

    function getConsent(bytes32 consent) external view returns (Consent memory) {
        return consents[consent];
    }
}
