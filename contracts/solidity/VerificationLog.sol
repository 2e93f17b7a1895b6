// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.11;

import "./IMembers.sol";
import "./RegistryBase.sol";

interface IConsents {
    function isLive(address key, bytes32 consent) external view returns (bool);
}

/// @title Presentations that were used up, so that none is used twice.
/// @notice Who presented what is not here: a presentation is a digest, a verdict only its class.
/// A use is found by the verifier and the digest: whoever uses up a digest that it saw uses it up
/// for itself.
contract VerificationLog is RegistryBase {
    uint8 public constant ACCEPT = 1;
    uint8 public constant REJECT = 2;
    uint8 public constant INDETERMINATE = 3;

    struct Consumption {
        uint8 verdictClass; // 0 if not consumed
        uint64 height;
    }

    IMembers public immutable members;
    IConsents public immutable consents;
    mapping(uint16 => mapping(bytes32 => Consumption)) private consumptions;

    event PresentationConsumed(
        bytes32 indexed presentation,
        uint16 indexed verifier,
        uint8 verdictClass
    );

    constructor(IMembers registry, IConsents consentLog) {
        members = registry;
        consents = consentLog;
    }

    /// @notice Use up a presentation, under a live consent if one is named (its key and hash), of a
    /// document from a jurisdiction that has a route to the verifier's. Who issued it is not said.
    function consume(
        bytes32 presentation,
        address consentKey,
        bytes32 consent,
        uint8 verdictClass,
        uint8 origin
    ) external {
        (uint16 verifier, uint8 here) = members.requireMember(msg.sender, ROLE_VERIFIER);
        bool isKnownClass = verdictClass >= ACCEPT && verdictClass <= INDETERMINATE;
        ensure(presentation != bytes32(0) && isKnownClass, MALFORMED);
        Consumption storage use = consumptions[verifier][presentation];
        ensure(use.verdictClass == 0, PRESENTATION_CONSUMED);
        bool isCovered = consent == bytes32(0) || consents.isLive(consentKey, consent);
        ensure(isCovered, CONSENT_NOT_LIVE);
        ensure(members.isRouted(origin, here), JURISDICTION_RULE);
        use.verdictClass = verdictClass;
        use.height = uint64(block.number);
        emit PresentationConsumed(presentation, verifier, verdictClass);
    }

    function getConsumption(uint16 verifier, bytes32 presentation)
        external
        view
        returns (Consumption memory)
    {
        return consumptions[verifier][presentation];
    }
}
