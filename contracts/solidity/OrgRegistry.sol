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

    struct Org {
        bytes32 metaHash;
        uint8 jurisdiction; // 1 SZ, 2 HK, 3 MO, 4 SG
        uint8 roles; // what its accounts may be granted
        uint8 status;
        uint64 admittedHeight;
        uint64 statusHeight;
        uint32 quotaPerBlock; // registrations; 0 for no limit
        uint32 quotaOutstanding; // registrations that are not at their end; 0 for no limit
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

    event OrgAdmitted(uint16 indexed org, bytes32 metaHash, uint8 jurisdiction, uint8 roles);
    event OrgStatusChanged(uint16 indexed org, uint8 status);
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
    /// Active organisations with the governor's role, by jurisdiction: who may vote.
    mapping(uint8 => uint16) private governorCounts;

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
        ensure(isAdmin || isGovernor(msg.sender), ROLE_REQUIRED);
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
        orgs[org] = Org(metaHash, jurisdiction, roles, ORG_ACTIVE, height, height, 0, 0);
        if (roles & ROLE_GOVERNOR != 0) governorCounts[jurisdiction]++;
        emit OrgAdmitted(org, metaHash, jurisdiction, roles);
    }

    /// @notice Suspend an organisation, let it back, or end its membership. A regulator may
    /// suspend, and nothing else.
    function setOrgStatus(uint16 org, uint8 status) external onlyKnown(org) {
        if (!isGovernor(msg.sender)) {
            requireRole(msg.sender, ROLE_REGULATOR);
            ensure(status == ORG_SUSPENDED, ROLE_REQUIRED);
        }
        Org storage item = orgs[org];
        if (status < ORG_ACTIVE || status > ORG_EXITED) revert RegistryError(MALFORMED);
        if (item.status == ORG_EXITED) revert RegistryError(TERMINAL_STATE);
        if (item.roles & ROLE_GOVERNOR != 0) {
            if (item.status == ORG_ACTIVE) governorCounts[item.jurisdiction]--;
            if (status == ORG_ACTIVE) governorCounts[item.jurisdiction]++;
        }
        item.status = status;
        item.statusHeight = uint64(block.number);
        emit OrgStatusChanged(org, status);
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

    /// @notice Give an account roles in an organisation; roles 0 removes it.
    function setAccount(uint16 org, address account, uint8 roles)
        external
        onlyAdminOf(org)
        onlyKnown(org)
    {
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
        accreditations[org][schema] = Accreditation(true, uint64(block.number), untilHeight);
        emit Accredited(org, schema, untilHeight);
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

    function getAccreditation(uint16 org, uint32 schema)
        external
        view
        returns (Accreditation memory)
    {
        return accreditations[org][schema];
    }

    /// @notice Whether an organisation is accredited for a schema at this block.
    function isAccredited(uint16 org, uint32 schema) public view returns (bool) {
        Accreditation storage item = accreditations[org][schema];
        return item.isGranted && (item.untilHeight == 0 || block.number < item.untilHeight);
    }

    /// @notice The organisation of an active account with a role, or revert with the reason.
    function requireRole(address account, uint8 role) public view returns (uint16 org) {
        Account storage item = accounts[account];
        if (item.roles == 0) revert RegistryError(UNKNOWN_ACCOUNT);
        if (item.roles & role == 0) revert RegistryError(ROLE_REQUIRED);
        if (orgs[item.org].status != ORG_ACTIVE) revert RegistryError(ORG_NOT_ACTIVE);
        return item.org;
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

    /// @notice How many active organisations of a jurisdiction may vote.
    function countGovernors(uint8 jurisdiction) external view returns (uint16) {
        return governorCounts[jurisdiction];
    }
}
