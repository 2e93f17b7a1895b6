// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.11;

import "./IMembers.sol";
import "./RegistryBase.sol";

interface IConsents {
    function isLive(bytes32 consent) external view returns (bool);
}

/// @title Presentations that were used up, so that none is used twice.
/// @notice Who presented what is not here: a presentation is a digest, a verdict only its class.
contract VerificationLog is RegistryBase {
    uint8 public constant ACCEPT = 1;
    uint8 public constant REJECT = 2;
    uint8 public constant INDETERMINATE = 3;

    struct Consumption {
        uint16 verifier;
        uint8 verdictClass; // 0 if not consumed
        uint64 height;
    }

    IMembers public immutable members;
    IConsents public immutable consents;
    mapping(bytes32 => Consumption) private consumptions;

    event PresentationConsumed(
        bytes32 indexed presentation,
        uint16 indexed verifier,
        uint8 verdictClass
    );

    constructor(IMembers registry, IConsents consentLog) {
        members = registry;
        consents = consentLog;
    }

    /// @notice Use up a presentation, under a live consent if one is named, of a document from a
    /// jurisdiction that has a route to the verifier's. Who issued it is not said.
    function consume(
        bytes32 presentation,
        bytes32 consent,
        uint8 verdictClass,
        uint8 origin
    ) external {
        (uint16 verifier, uint8 here) = members.requireMember(msg.sender, ROLE_VERIFIER);
        bool isKnownClass = verdictClass >= ACCEPT && verdictClass <= INDETERMINATE;
        ensure(presentation != bytes32(0) && isKnownClass, MALFORMED);
        ensure(consumptions[presentation].verdictClass == 0, PRESENTATION_CONSUMED);
        ensure(consent == bytes32(0) || consents.isLive(consent), CONSENT_NOT_LIVE);
        ensure(members.isRouted(origin, here), JURISDICTION_RULE);
        consumptions[presentation] = Consumption(verifier, verdictClass, uint64(block.number));
        emit PresentationConsumed(presentation, verifier, verdictClass);
    }

    function getConsumption(bytes32 presentation) external view returns (Consumption memory) {
        return consumptions[presentation];
    }
}
