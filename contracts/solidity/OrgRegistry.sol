// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.11;

import "./SchemaRegistry.sol";

/// @title Organisations, their accounts, signing keys and accreditations.
/// @notice Deployed by genesis. Governors (the account named there, and the Governance contract,
/// that is, a vote) admit organisations, register schemas and accredit organisations for them;
/// administrators of an organisation manage its accounts and keys. Only block numbers and block
/// time are used, never a caller's clock. No free text is stored.
contract OrgRegistry is SchemaRegistry {
    uint8 public constant ORG_ACTIVE = 1;
    uint8 public constant ORG_SUSPENDED = 2;
    uint8 public constant ORG_EXITED = 3;

    uint64 public constant SUSPENSION_MAX = 30 days; // by a regulator; a vote's lasts
    uint16 public constant KEYS_MAX = 64; // of an organisation, those out of use included

    struct Org {
        bytes32 metaHash;
        uint8 jurisdiction; // 1 SZ, 2 HK, 3 MO, 4 SG
        uint8 roles; // what its accounts may be granted
        uint8 status;
        uint64 admittedHeight;
        uint64 statusHeight;
        uint32 quotaPerBlock; // registrations; 0 for no limit
        uint32 quotaOutstanding; // registrations that are not at their end; 0 for no limit
        uint40 suspendedUntil; // block time to which a regulator suspended it; 0 if none did
    }

    struct Account {
        uint16 org;
        uint8 roles;
    }

    struct Key {
        uint8 suite;
        uint64 fromHeight;
        uint64 retiredHeight; // 0 while in use
        uint64 compromisedHeight; // 0 unless reported
        bytes publicKey;
    }

    struct Accreditation {
        bool isGranted;
        uint64 fromHeight;
        uint64 untilHeight; // 0 while open
    }

    mapping(uint16 => Org) private orgs;
    mapping(address => Account) private accounts;
    mapping(uint16 => mapping(uint16 => Key)) private keys;
    mapping(uint16 => mapping(uint32 => Accreditation)) private accreditations;
    /// Windows that have ended: what was registered in them stays what it was.
    mapping(uint16 => mapping(uint32 => Accreditation[])) private pastAccreditations;

    event OrgAdmitted(uint16 indexed org, bytes32 metaHash, uint8 jurisdiction, uint8 roles);
    event OrgStatusChanged(uint16 indexed org, uint8 status);
    event OrgSuspended(uint16 indexed org, uint16 indexed regulator, uint64 until);
    event RouteSet(uint8 indexed from, uint8 indexed to, bool isOpen);
    event QuotaSet(uint16 indexed org, uint32 perBlock, uint32 outstanding);
    event AccountChanged(uint16 indexed org, address indexed account, uint8 roles);
    event KeyAdded(uint16 indexed org, uint16 indexed keyId, uint8 suite);
    event KeyRetired(uint16 indexed org, uint16 indexed keyId);
    event KeyCompromised(uint16 indexed org, uint16 indexed keyId, uint64 sinceHeight);
    event Accredited(uint16 indexed org, uint32 indexed schema, uint64 untilHeight);
    event Disaccredited(uint16 indexed org, uint32 indexed schema);

    /// Whether documents from one jurisdiction may be used in another.
    mapping(uint8 => mapping(uint8 => bool)) private routes;
    /// Members with the governor's role, by jurisdiction: who may vote.
    mapping(uint8 => uint16) private governorCounts;
    /// Jurisdictions that ever had such a member.
    mapping(uint8 => bool) private isVoting;
    /// How many keys an organisation has had: readers of all keys must come to an end.
    mapping(uint16 => uint16) private keyCounts;
    /// How many claims an account has signed.
    mapping(address => uint256) private claims;

    constructor(address governor, address governance) {
        accounts[governor] = Account(0, ROLE_GOVERNOR);
        emit AccountChanged(0, governor, ROLE_GOVERNOR);
        accounts[governance] = Account(0, ROLE_GOVERNOR);
        emit AccountChanged(0, governance, ROLE_GOVERNOR);
    }

    function isGovernor(address account) private view returns (bool) {
        Account storage item = accounts[account];
        return item.org == 0 && item.roles & ROLE_GOVERNOR != 0;
    }

    modifier onlyGovernor() override {
        ensure(isGovernor(msg.sender), ROLE_REQUIRED);
        _;
    }

    modifier onlyAdminOf(uint16 org) {
        Account storage caller = accounts[msg.sender];
        bool isAdmin = caller.org == org && caller.roles & ROLE_ADMIN != 0;
        bool isGoverned = isGovernor(msg.sender);
        ensure(isAdmin || isGoverned, ROLE_REQUIRED);
        ensure(isGoverned || isWorking(orgs[org]), ORG_NOT_ACTIVE);
        _;
    }

    modifier onlyKnown(uint16 org) {
        if (orgs[org].status == 0) revert RegistryError(NOT_FOUND);
        _;
    }

    function admitOrg(uint16 org, bytes32 metaHash, uint8 jurisdiction, uint8 roles)
        external
        onlyGovernor
    {
        if (org == 0 || jurisdiction == 0 || jurisdiction > JURISDICTION_MAX) {
            revert RegistryError(MALFORMED);
        }
        if (orgs[org].status != 0) revert RegistryError(TERMINAL_STATE);
        uint64 height = uint64(block.number);
        orgs[org] = Org(metaHash, jurisdiction, roles, ORG_ACTIVE, height, height, 0, 0, 0);
        if (roles & ROLE_GOVERNOR != 0) {
            governorCounts[jurisdiction]++;
            isVoting[jurisdiction] = true;
        }
        emit OrgAdmitted(org, metaHash, jurisdiction, roles);
    }

    /// @notice Suspend an organisation, let it back, or end its membership. Only the last ends its
    /// vote: otherwise whoever can suspend would decide every vote.
    function setOrgStatus(uint16 org, uint8 status) external onlyGovernor onlyKnown(org) {
        Org storage item = orgs[org];
        if (status < ORG_ACTIVE || status > ORG_EXITED) revert RegistryError(MALFORMED);
        if (item.status == ORG_EXITED) revert RegistryError(TERMINAL_STATE);
        if (item.roles & ROLE_GOVERNOR != 0 && status == ORG_EXITED) {
            governorCounts[item.jurisdiction]--;
        }
        item.status = status;
        item.statusHeight = uint64(block.number);
        item.suspendedUntil = 0;
        emit OrgStatusChanged(org, status);
    }

    /// @notice As a regulator, suspend an organisation of the same jurisdiction until a block time
    /// not far ahead, or with 0 let it back. It votes all the same.
    function suspendOrg(uint16 org, uint40 until) external onlyKnown(org) {
        uint16 regulator = requireRole(msg.sender, ROLE_REGULATOR);
        Org storage item = orgs[org];
        ensure(item.jurisdiction == orgs[regulator].jurisdiction, JURISDICTION_RULE);
        ensure(item.status != ORG_EXITED, TERMINAL_STATE);
        bool isAhead = until > block.timestamp && until <= block.timestamp + SUSPENSION_MAX;
        ensure(until == 0 || isAhead, BAD_VALIDITY);
        item.suspendedUntil = until;
        item.statusHeight = uint64(block.number);
        emit OrgSuspended(org, regulator, until);
    }

    /// Whether an organisation may do more than vote.
    function isWorking(Org storage item) private view returns (bool) {
        return item.status == ORG_ACTIVE && item.suspendedUntil <= block.timestamp;
    }

    /// @notice Limit how many anchors an organisation may register in a block, and how many of
    /// those that it registers while there is a limit may be in force at once; 0 for no limit.
    function setQuota(
        uint16 org,
        uint32 perBlock,
        uint32 outstanding
    ) external onlyGovernor onlyKnown(org) {
        orgs[org].quotaPerBlock = perBlock;
        orgs[org].quotaOutstanding = outstanding;
        emit QuotaSet(org, perBlock, outstanding);
    }

    /// @notice Let documents from one jurisdiction be used in another, or end that. Within a
    /// jurisdiction they always may.
    function setRoute(
        uint8 from,
        uint8 to,
        bool isOpen
    ) external onlyGovernor {
        ensure(from != 0 && from <= JURISDICTION_MAX && from != to, MALFORMED);
        ensure(to != 0 && to <= JURISDICTION_MAX, MALFORMED);
        routes[from][to] = isOpen;
        emit RouteSet(from, to, isOpen);
    }

    function isRouted(uint8 from, uint8 to) external view returns (bool) {
        return (from == to && from != 0 && from <= JURISDICTION_MAX) || routes[from][to];
    }

    /// @notice Give up the caller's power to govern alone: from then on votes decide.
    function renounceGovernor() external onlyGovernor {
        delete accounts[msg.sender];
        emit AccountChanged(0, msg.sender, 0);
    }

    /// @notice Give an account of an organisation other roles; roles 0 removes it. A governor may
    /// give them to any account without an organisation.
    function setAccount(uint16 org, address account, uint8 roles)
        external
        onlyAdminOf(org)
        onlyKnown(org)
    {
        Account storage known = accounts[account];
        bool isOwn = known.org == org && known.roles != 0;
        ensure(isOwn || isGovernor(msg.sender), SIGNATURE_INVALID);
        giveRoles(org, account, roles);
    }

    /// @notice Give an account, which has signed `claimOf`, roles in an organisation.
    function claimAccount(
        uint16 org,
        address account,
        uint8 roles,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external onlyAdminOf(org) onlyKnown(org) {
        requireSigned(account, claimOf(org, account), v, r, s);
        claims[account]++;
        giveRoles(org, account, roles);
    }

    /// @notice What an account signs to become one of an organisation; each time another message.
    function claimOf(uint16 org, address account) public view returns (bytes32) {
        return
            keccak256(
                abi.encode("lowu-account-2", block.chainid, address(this), org, account, claims[account])
            );
    }

    function giveRoles(
        uint16 org,
        address account,
        uint8 roles
    ) private {
        if (roles & ~orgs[org].roles != 0) revert RegistryError(ROLE_REQUIRED);
        uint16 current = accounts[account].org;
        bool isTaken = accounts[account].roles != 0 && current != org;
        if (account == address(0) || isTaken) revert RegistryError(MALFORMED);
        accounts[account] = Account(org, roles);
        emit AccountChanged(org, account, roles);
    }

    function addKey(uint16 org, uint16 keyId, uint8 suite, bytes calldata publicKey)
        external
        onlyAdminOf(org)
        onlyKnown(org)
    {
        if (keyId == 0 || publicKey.length != 64) revert RegistryError(MALFORMED);
        if (keys[org][keyId].suite != 0 || suite == 0) revert RegistryError(MALFORMED);
        ensure(keyCounts[org] < KEYS_MAX, MALFORMED);
        keyCounts[org]++;
        keys[org][keyId] = Key(suite, uint64(block.number), 0, 0, publicKey);
        emit KeyAdded(org, keyId, suite);
    }

    function retireKey(uint16 org, uint16 keyId) external onlyAdminOf(org) {
        Key storage key = keys[org][keyId];
        if (key.suite == 0) revert RegistryError(NOT_FOUND);
        if (key.retiredHeight != 0) revert RegistryError(TERMINAL_STATE);
        key.retiredHeight = uint64(block.number);
        emit KeyRetired(org, keyId);
    }

    function reportCompromised(uint16 org, uint16 keyId, uint64 sinceHeight)
        external
        onlyAdminOf(org)
    {
        Key storage key = keys[org][keyId];
        if (key.suite == 0) revert RegistryError(NOT_FOUND);
        if (sinceHeight == 0 || sinceHeight > block.number) revert RegistryError(MALFORMED);
        if (key.compromisedHeight != 0 && key.compromisedHeight <= sinceHeight) {
            revert RegistryError(TERMINAL_STATE);
        }
        key.compromisedHeight = sinceHeight;
        emit KeyCompromised(org, keyId, sinceHeight);
    }

    /// @notice Let an organisation register documents of a schema, until a block or, with 0, for
    /// good. A right that it has now is prolonged, and never cut: `disaccredit` ends it.
    function accredit(uint16 org, uint32 schema, uint64 untilHeight)
        external
        onlyGovernor
        onlyKnown(org)
    {
        if (schema == 0 || (untilHeight != 0 && untilHeight <= block.number)) {
            revert RegistryError(MALFORMED);
        }
        uint8 where = schemaJurisdiction(schema);
        ensure(where == 0 || where == orgs[org].jurisdiction, JURISDICTION_RULE);
        Accreditation storage item = accreditations[org][schema];
        if (isAccredited(org, schema)) {
            bool isLonger = item.untilHeight != 0 &&
                (untilHeight == 0 || untilHeight > item.untilHeight);
            if (isLonger) item.untilHeight = untilHeight;
        } else {
            if (item.isGranted) pastAccreditations[org][schema].push(item);
            accreditations[org][schema] = Accreditation(true, uint64(block.number), untilHeight);
        }
        emit Accredited(org, schema, item.untilHeight);
    }

    function disaccredit(uint16 org, uint32 schema) external onlyGovernor {
        Accreditation storage item = accreditations[org][schema];
        bool isOpen = item.untilHeight == 0 || item.untilHeight > block.number;
        if (!item.isGranted || !isOpen) revert RegistryError(NOT_FOUND);
        item.untilHeight = uint64(block.number);
        emit Disaccredited(org, schema);
    }

    function getOrg(uint16 org) external view returns (Org memory) {
        return orgs[org];
    }

    function getAccount(address account) external view returns (uint16 org, uint8 roles) {
        Account storage item = accounts[account];
        return (item.org, item.roles);
    }

    function getKey(uint16 org, uint16 keyId) external view returns (Key memory) {
        return keys[org][keyId];
    }

    /// @notice The windows in which an organisation was accredited for a schema, the last of them
    /// at the end.
    function getAccreditations(uint16 org, uint32 schema)
        external
        view
        returns (Accreditation[] memory windows)
    {
        Accreditation[] storage past = pastAccreditations[org][schema];
        windows = new Accreditation[](past.length + 1);
        for (uint256 place = 0; place < past.length; place++) windows[place] = past[place];
        windows[past.length] = accreditations[org][schema];
    }

    /// @notice Whether an organisation is accredited for a schema at this block.
    function isAccredited(uint16 org, uint32 schema) public view returns (bool) {
        Accreditation storage item = accreditations[org][schema];
        return item.isGranted && (item.untilHeight == 0 || block.number < item.untilHeight);
    }

    /// @notice The organisation of an active account with a role, or revert with the reason.
    function requireRole(address account, uint8 role) public view returns (uint16 org) {
        org = accountOrg(account, role);
        if (!isWorking(orgs[org])) revert RegistryError(ORG_NOT_ACTIVE);
    }

    function accountOrg(address account, uint8 role) private view returns (uint16) {
        Account storage item = accounts[account];
        if (item.roles == 0) revert RegistryError(UNKNOWN_ACCOUNT);
        if (item.roles & role == 0) revert RegistryError(ROLE_REQUIRED);
        return item.org;
    }

    /// @notice The organisation that an account votes for, where that stands, and since which block
    /// it is a member. Suspended organisations vote.
    function requireVoter(address account)
        external
        view
        returns (
            uint16 org,
            uint8 jurisdiction,
            uint64 sinceHeight
        )
    {
        org = accountOrg(account, ROLE_GOVERNOR);
        ensure(isVoter(org), ORG_NOT_ACTIVE);
        return (org, orgs[org].jurisdiction, orgs[org].admittedHeight);
    }

    /// @notice Whether an organisation may vote.
    function isVoter(uint16 org) public view returns (bool) {
        Org storage item = orgs[org];
        bool isMember = item.status == ORG_ACTIVE || item.status == ORG_SUSPENDED;
        return isMember && item.roles & ROLE_GOVERNOR != 0;
    }

    /// @notice What an issuer's registration under a schema, with one of its keys, depends on: the
    /// issuer, the number of why it is refused (0 if it is not), the witnesses that it needs, and
    /// the issuer's quotas.
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
        )
    {
        org = requireRole(account, ROLE_ISSUER);
        (refusal, minWitness) = policyOf(schema);
        if (!isUsable(keys[org][keyId])) refusal = KEY_NOT_VALID;
        if (!isAccredited(org, schema)) refusal = NOT_ACCREDITED;
        Org storage item = orgs[org];
        return (org, refusal, minWitness, item.quotaPerBlock, item.quotaOutstanding);
    }

    /// Whether a key was added, and neither retired nor reported as compromised.
    function isUsable(Key storage key) private view returns (bool) {
        return key.suite != 0 && key.retiredHeight == 0 && key.compromisedHeight == 0;
    }

    /// @notice An active account with a role: its organisation and where that stands.
    function requireMember(address account, uint8 role)
        external
        view
        returns (uint16 org, uint8 jurisdiction)
    {
        org = requireRole(account, role);
        return (org, orgs[org].jurisdiction);
    }

    function jurisdictionOf(uint16 org) external view returns (uint8) {
        return orgs[org].jurisdiction;
    }

    /// @notice How many organisations of a jurisdiction may vote, and whether any ever could: a
    /// side that has lost its voters still weighs.
    function electorateOf(uint8 jurisdiction) external view returns (uint16 count, bool isSide) {
        return (governorCounts[jurisdiction], isVoting[jurisdiction]);
    }
}
