// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.11;

import "./IMembers.sol";
import "./RegistryBase.sol";

interface IVoters is IMembers {
    function countGovernors(uint8 jurisdiction) external view returns (uint16);
}

/// @title Decisions of the consortium: proposals, votes by organisation, weights by jurisdiction.
/// @notice A proposal is a list of calls, made by this contract in order once it is passed, all or
/// none. The weight of a jurisdiction is shared evenly among its organisations that may vote; a
/// proposal passes with more than two thirds of all weight in favour, so that with equal weights
/// neither side of the boundary decides alone. It is rejected once a third is against.
contract Governance is RegistryBase {
    uint8 public constant OPEN = 1;
    uint8 public constant PASSED = 2;
    uint8 public constant REJECTED = 3;

    uint64 public constant BLOCKS_MAX = 1_000_000;
    uint256 public constant CALLS_MAX = 16;
    uint256 private constant SCALE = 1e9;

    struct Call {
        address target;
        bytes data;
    }

    struct Proposal {
        uint16 proposer;
        uint8 status;
        uint64 openedHeight;
        uint64 untilHeight; // the last block in which it may be voted on
        Call[] calls;
    }

    struct Tally {
        uint16 yes;
        uint16 no;
    }

    IVoters public immutable voters;
    uint256 public proposalCount;
    mapping(uint256 => Proposal) private proposals;
    mapping(uint256 => mapping(uint8 => Tally)) private tallies;
    mapping(uint256 => mapping(uint16 => bool)) private hasVoted;
    mapping(uint8 => uint16) private weights; // less one: the weight is 1 until it is set

    event Proposed(uint256 indexed proposal, uint16 indexed org, uint64 untilHeight);
    event Voted(uint256 indexed proposal, uint16 indexed org, bool isYes);
    event Decided(uint256 indexed proposal, uint8 status);
    event WeightSet(uint8 indexed jurisdiction, uint16 weight);

    constructor(IVoters registry) {
        voters = registry;
    }

    /// @notice Propose calls. They may be voted on for so many blocks.
    function propose(Call[] calldata calls, uint64 blocks) external returns (uint256 proposal) {
        (uint16 org, ) = voters.requireMember(msg.sender, ROLE_GOVERNOR);
        ensure(calls.length != 0 && calls.length <= CALLS_MAX, MALFORMED);
        ensure(blocks != 0 && blocks <= BLOCKS_MAX, MALFORMED);
        proposal = ++proposalCount;
        Proposal storage item = proposals[proposal];
        item.proposer = org;
        item.status = OPEN;
        item.openedHeight = uint64(block.number);
        item.untilHeight = item.openedHeight + blocks;
        for (uint256 place = 0; place < calls.length; place++) {
            Call calldata made = calls[place];
            ensure(made.target.code.length != 0 && made.data.length >= 4, MALFORMED);
            item.calls.push(made);
        }
        emit Proposed(proposal, org, item.untilHeight);
    }

    /// @notice Vote once for the caller's organisation. The vote that passes a proposal makes its
    /// calls, and fails as one of them does.
    function vote(uint256 proposal, bool isYes) external returns (uint8 status) {
        (uint16 org, uint8 jurisdiction) = voters.requireMember(msg.sender, ROLE_GOVERNOR);
        Proposal storage item = proposals[proposal];
        ensure(item.status != 0, NO_SUCH_PROPOSAL);
        ensure(item.status == OPEN && block.number <= item.untilHeight, TERMINAL_STATE);
        ensure(!hasVoted[proposal][org], ALREADY_VOTED);
        hasVoted[proposal][org] = true;
        if (isYes) tallies[proposal][jurisdiction].yes++;
        else tallies[proposal][jurisdiction].no++;
        emit Voted(proposal, org, isYes);
        status = decide(proposal);
        if (status == OPEN) return status;
        item.status = status;
        emit Decided(proposal, status);
        if (status == PASSED) execute(item);
    }

    function decide(uint256 proposal) private view returns (uint8) {
        uint256 total;
        uint256 inFavour;
        uint256 against;
        for (uint8 jurisdiction = 1; jurisdiction <= JURISDICTION_MAX; jurisdiction++) {
            uint256 count = voters.countGovernors(jurisdiction);
            if (count == 0) continue;
            uint256 weight = getWeight(jurisdiction) * SCALE;
            Tally storage tally = tallies[proposal][jurisdiction];
            total += weight;
            inFavour += (weight * min(tally.yes, count)) / count;
            against += (weight * min(tally.no, count)) / count;
        }
        if (3 * inFavour > 2 * total) return PASSED;
        return 3 * against >= total ? REJECTED : OPEN;
    }

    function min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }

    function execute(Proposal storage item) private {
        for (uint256 place = 0; place < item.calls.length; place++) {
            Call storage made = item.calls[place];
            (bool isDone, bytes memory result) = made.target.call(made.data);
            if (isDone) continue;
            assembly {
                revert(add(result, 32), mload(result))
            }
        }
    }

    /// @notice Change what a jurisdiction's votes weigh; only a passed proposal may.
    function setWeight(uint8 jurisdiction, uint16 weight) external {
        ensure(msg.sender == address(this), ROLE_REQUIRED);
        ensure(jurisdiction != 0 && jurisdiction <= JURISDICTION_MAX && weight != 0, MALFORMED);
        weights[jurisdiction] = weight - 1;
        emit WeightSet(jurisdiction, weight);
    }

    function getWeight(uint8 jurisdiction) public view returns (uint256) {
        return uint256(weights[jurisdiction]) + 1;
    }

    function getProposal(uint256 proposal) external view returns (Proposal memory) {
        return proposals[proposal];
    }

    function getTally(uint256 proposal, uint8 jurisdiction)
        external
        view
        returns (uint16 yes, uint16 no)
    {
        Tally storage tally = tallies[proposal][jurisdiction];
        return (tally.yes, tally.no);
    }
}
