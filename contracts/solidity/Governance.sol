// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.11;

import "./RegistryBase.sol";

interface IVoters {
    function requireVoter(address account)
        external
        view
        returns (
            uint16 org,
            uint8 jurisdiction,
            uint64 sinceHeight
        );

    function isVoter(uint16 org) external view returns (bool);

    function electorateOf(uint8 jurisdiction) external view returns (uint16 count, bool isSide);
}

/// @title Decisions of the consortium: proposals, votes by organisation, weights by jurisdiction.
/// @notice A proposal is a list of calls, made by this contract in order once it is passed, all or
/// none. Who may vote on it, and what each side weighs, is fixed when it is opened: the weight of a
/// jurisdiction is shared evenly among the organisations that may vote then, and a side that has
/// lost its voters weighs what it did. A proposal passes with more than two thirds of all weight in
/// favour, so that with equal weights neither side of the boundary decides alone. It is rejected
/// once a third is against. Each vote counts all votes again: those of members that have left since
/// count no more, and what they weighed is in favour of nothing.
contract Governance is RegistryBase {
    uint8 public constant OPEN = 1;
    uint8 public constant PASSED = 2;
    uint8 public constant REJECTED = 3;

    uint64 public constant BLOCKS_MAX = 1_000_000;
    uint256 public constant CALLS_MAX = 16;

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

    /// A side of a proposal, as it was when the proposal was opened.
    struct Side {
        uint16 weight; // 0 for a jurisdiction without a say
        uint16 voters;
    }

    struct Ballot {
        uint16 org;
        uint8 jurisdiction;
        bool isYes;
    }

    IVoters public immutable voters;
    uint256 public proposalCount;
    mapping(uint256 => Proposal) private proposals;
    mapping(uint256 => mapping(uint8 => Side)) private sides;
    mapping(uint256 => Ballot[]) private ballots;
    mapping(uint256 => mapping(uint16 => bool)) private hasVoted;
    mapping(uint8 => uint32) private weights; // one more than the weight; 0 until it is set

    event Proposed(uint256 indexed proposal, uint16 indexed org, uint64 untilHeight);
    event Voted(uint256 indexed proposal, uint16 indexed org, bool isYes);
    event Decided(uint256 indexed proposal, uint8 status);
    event WeightSet(uint8 indexed jurisdiction, uint16 weight);

    constructor(IVoters registry) {
        voters = registry;
    }

    /// @notice Propose calls. They may be voted on for so many blocks, by those that are members
    /// before this one.
    function propose(Call[] calldata calls, uint64 blocks) external returns (uint256 proposal) {
        (uint16 org, , ) = voters.requireVoter(msg.sender);
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
        for (uint8 jurisdiction = 1; jurisdiction <= JURISDICTION_MAX; jurisdiction++) {
            (uint16 count, bool isSide) = voters.electorateOf(jurisdiction);
            if (!isSide) continue;
            sides[proposal][jurisdiction] = Side(uint16(getWeight(jurisdiction)), count);
        }
        emit Proposed(proposal, org, item.untilHeight);
    }

    /// @notice Vote once for the caller's organisation. The vote that passes a proposal makes its
    /// calls, and fails as one of them does.
    function vote(uint256 proposal, bool isYes) external returns (uint8 status) {
        (uint16 org, uint8 jurisdiction, uint64 since) = voters.requireVoter(msg.sender);
        Proposal storage item = proposals[proposal];
        ensure(item.status != 0, NO_SUCH_PROPOSAL);
        ensure(item.status == OPEN && block.number <= item.untilHeight, TERMINAL_STATE);
        ensure(since < item.openedHeight, ROLE_REQUIRED);
        ensure(!hasVoted[proposal][org], ALREADY_VOTED);
        hasVoted[proposal][org] = true;
        ballots[proposal].push(Ballot(org, jurisdiction, isYes));
        emit Voted(proposal, org, isYes);
        status = decide(proposal);
        if (status == OPEN) return status;
        item.status = status;
        emit Decided(proposal, status);
        if (status == PASSED) execute(item);
    }

    function decide(uint256 proposal) private view returns (uint8) {
        (uint16[5] memory yes, uint16[5] memory no) = countVotes(proposal);
        uint256 total;
        uint256 inFavour;
        uint256 against;
        uint256 scale = 1; // a multiple of each number of voters: nothing is rounded
        for (uint8 jurisdiction = 1; jurisdiction <= JURISDICTION_MAX; jurisdiction++) {
            uint16 electorate = sides[proposal][jurisdiction].voters;
            if (electorate != 0) scale *= electorate;
        }
        for (uint8 jurisdiction = 1; jurisdiction <= JURISDICTION_MAX; jurisdiction++) {
            Side storage side = sides[proposal][jurisdiction];
            total += side.weight * scale;
            if (side.voters == 0) continue;
            uint256 share = (side.weight * scale) / side.voters;
            inFavour += share * yes[jurisdiction];
            against += share * no[jurisdiction];
        }
        if (3 * inFavour > 2 * total) return PASSED;
        return 3 * against >= total ? REJECTED : OPEN;
    }

    /// The votes, by jurisdiction, of those that are still members.
    function countVotes(uint256 proposal)
        private
        view
        returns (uint16[5] memory yes, uint16[5] memory no)
    {
        Ballot[] storage cast = ballots[proposal];
        for (uint256 place = 0; place < cast.length; place++) {
            Ballot memory ballot = cast[place];
            if (!voters.isVoter(ballot.org)) continue;
            if (ballot.isYes) yes[ballot.jurisdiction]++;
            else no[ballot.jurisdiction]++;
        }
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
        ensure(canDecide(), JURISDICTION_RULE);
    }

    /// Whether a proposal that was opened now could pass. Calls after which none could are refused,
    /// such as those that end the membership of a side's last voter: nothing could undo them.
    function canDecide() private view returns (bool) {
        uint256 total;
        uint256 reachable;
        for (uint8 jurisdiction = 1; jurisdiction <= JURISDICTION_MAX; jurisdiction++) {
            (uint16 count, bool isSide) = voters.electorateOf(jurisdiction);
            if (isSide) total += getWeight(jurisdiction);
            if (count != 0) reachable += getWeight(jurisdiction);
        }
        return 3 * reachable > 2 * total;
    }

    /// @notice Change what a jurisdiction's votes weigh; only a passed proposal may.
    function setWeight(uint8 jurisdiction, uint16 weight) external {
        ensure(msg.sender == address(this), ROLE_REQUIRED);
        ensure(jurisdiction != 0 && jurisdiction <= JURISDICTION_MAX, MALFORMED);
        weights[jurisdiction] = uint32(weight) + 1;
        emit WeightSet(jurisdiction, weight);
    }

    function getWeight(uint8 jurisdiction) public view returns (uint256) {
        uint32 set = weights[jurisdiction];
        return set == 0 ? 1 : set - 1;
    }

    function getProposal(uint256 proposal) external view returns (Proposal memory) {
        return proposals[proposal];
    }

    /// @notice A side's weight and voters, as they were when the proposal was opened, and its votes.
    function getTally(uint256 proposal, uint8 jurisdiction)
        external
        view
        returns (
            uint16 weight,
            uint16 electorate,
            uint16 yes,
            uint16 no
        )
    {
        Side storage side = sides[proposal][jurisdiction];
        (uint16[5] memory inFavour, uint16[5] memory against) = countVotes(proposal);
        return (side.weight, side.voters, inFavour[jurisdiction], against[jurisdiction]);
    }
}
