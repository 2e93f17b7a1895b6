// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.11;

import "./RegistryBase.sol";

/// @title Document schemas and the policy that each carries.
/// @notice Part of OrgRegistry, at the same address: who may register what is asked with one
/// call. A schema is a number and the hash of its published text; the text is not here.
abstract contract SchemaRegistry is RegistryBase {
    uint8 internal constant SENSITIVITY_MAX = 3;
    uint8 internal constant WITNESSES_MAX = 15;

    struct Schema {
        uint8 status; // 0 unknown
        uint8 jurisdiction; // of its issuers; 0 for any
        uint8 minWitness; // witnesses before an anchor is active
        bool isCrossWitnessed; // at least one of them from another jurisdiction
        uint8 sensitivity; // 0 public to 3 sensitive
        uint16 version;
        uint32 maxAgeSeconds; // of the report, for readers; 0 for no limit
        uint64 registeredHeight;
        uint64 statusHeight;
        bytes32 schemaHash;
        bytes32 mustDiscloseHash; // of the list of fields that may not be hidden
    }

    mapping(uint32 => Schema) private schemas;

    event SchemaRegistered(uint32 indexed schema, bytes32 schemaHash, uint16 version);
    event SchemaStatusChanged(uint32 indexed schema, uint8 status);

    modifier onlyGovernor() virtual;

    /// @notice Make a schema known. A changed schema is another number.
    function registerSchema(
        uint32 schema,
        uint16 version,
        bytes32 schemaHash,
        uint8 jurisdiction,
        uint32 maxAgeSeconds,
        uint8 minWitness,
        bool isCrossWitnessed,
        bytes32 mustDiscloseHash,
        uint8 sensitivity
    ) external onlyGovernor {
        ensure(schema != 0 && schemaHash != bytes32(0), MALFORMED);
        ensure(jurisdiction <= JURISDICTION_MAX && sensitivity <= SENSITIVITY_MAX, MALFORMED);
        ensure(minWitness <= WITNESSES_MAX, MALFORMED);
        ensure(!isCrossWitnessed || minWitness != 0, MALFORMED);
        ensure(schemas[schema].status == 0, TERMINAL_STATE);
        uint64 height = uint64(block.number);
        schemas[schema] = Schema(
            SCHEMA_ACTIVE,
            jurisdiction,
            minWitness,
            isCrossWitnessed,
            sensitivity,
            version,
            maxAgeSeconds,
            height,
            height,
            schemaHash,
            mustDiscloseHash
        );
        emit SchemaRegistered(schema, schemaHash, version);
    }

    /// @notice Stop registrations under a schema for a while, or let them go on.
    function pauseSchema(uint32 schema, bool isPaused) external onlyGovernor {
        Schema storage item = schemas[schema];
        ensure(item.status != 0, NOT_FOUND);
        ensure(item.status != SCHEMA_DEPRECATED, TERMINAL_STATE);
        changeStatus(schema, item, isPaused ? SCHEMA_PAUSED_STATE : SCHEMA_ACTIVE);
    }

    /// @notice End a schema: what is registered stays, nothing new comes.
    function deprecateSchema(uint32 schema) external onlyGovernor {
        Schema storage item = schemas[schema];
        ensure(item.status != 0, NOT_FOUND);
        ensure(item.status != SCHEMA_DEPRECATED, TERMINAL_STATE);
        changeStatus(schema, item, SCHEMA_DEPRECATED);
    }

    function changeStatus(uint32 schema, Schema storage item, uint8 status) private {
        item.status = status;
        item.statusHeight = uint64(block.number);
        emit SchemaStatusChanged(schema, status);
    }

    function getSchema(uint32 schema) external view returns (Schema memory) {
        return schemas[schema];
    }

    /// Where the issuers of a schema must stand, 0 for anywhere.
    function schemaJurisdiction(uint32 schema) internal view returns (uint8) {
        Schema storage item = schemas[schema];
        ensure(item.status != 0, BAD_SCHEMA);
        return item.jurisdiction;
    }

    /// Why nothing is registered under a schema now, 0 if it is; and the witnesses that it needs.
    function policyOf(uint32 schema) internal view returns (uint16 refusal, uint8 minWitness) {
        Schema storage item = schemas[schema];
        uint8 status = item.status;
        if (status != SCHEMA_ACTIVE) {
            refusal = status == SCHEMA_PAUSED_STATE ? SCHEMA_PAUSED : BAD_SCHEMA;
        }
        return (refusal, item.minWitness);
    }

    /// @notice Whether an anchor of a schema needs a witness from another jurisdiction.
    function witnessPolicy(uint32 schema)
        external
        view
        returns (uint8 minWitness, bool isCrossWitnessed)
    {
        Schema storage item = schemas[schema];
        return (item.minWitness, item.isCrossWitnessed);
    }
}
