// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.11;

/// @title Evidence as an early open contract of the field keeps it, for comparison only.
/// @notice Anybody may write, under one key for all; signer and time are what the caller says,
/// the signature is never checked. Research measures what that costs; nobody should use it.
contract LegacyEvidence {
    struct Evidence {
        address signer;
        uint256 updated;
        string signature;
        bool isRevoked;
    }

    mapping(bytes32 => Evidence) private evidence;

    event EvidenceCreated(bytes32 indexed key, address signer, string signature, uint256 updated);
    event EvidenceRevoked(bytes32 indexed key, address signer, uint256 updated);
    event LogAdded(bytes32 indexed key, address signer, string text, uint256 updated);

    /// @notice First come, first served: a key that exists is silently left as it is.
    function createEvidence(
        bytes32 key,
        address signer,
        string calldata signature,
        uint256 updated
    ) external returns (bool isCreated) {
        if (evidence[key].updated != 0) return false;
        evidence[key] = Evidence(signer, updated, signature, false);
        emit EvidenceCreated(key, signer, signature, updated);
        return true;
    }

    /// @notice Whatever text, by whoever is said to have written it, stays in the chain's logs.
    function addLog(
        bytes32 key,
        address signer,
        string calldata text,
        uint256 updated
    ) external returns (bool isAdded) {
        if (evidence[key].updated == 0) return false;
        emit LogAdded(key, signer, text, updated);
        return true;
    }

    /// @notice Whoever names the right signer may revoke.
    function revoke(
        bytes32 key,
        address signer,
        uint256 updated
    ) external returns (bool isRevoked) {
        Evidence storage item = evidence[key];
        if (item.updated == 0 || item.signer != signer) return false;
        item.isRevoked = true;
        item.updated = updated;
        emit EvidenceRevoked(key, signer, updated);
        return true;
    }

    function getEvidence(bytes32 key) external view returns (Evidence memory) {
        return evidence[key];
    }
}
