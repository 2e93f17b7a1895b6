// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.11;

/// The key-value store of the YCSB workloads. Reads are transactions too, so that they are ordered.
contract KeyValue {
    mapping(uint256 => bytes) private values;

    function update(uint256 key, bytes calldata value) external {
        values[key] = value;
    }

    function read(uint256 key) external view returns (bytes memory) {
        return values[key];
    }

    /// Read a value, and write one that depends on it.
    function modify(uint256 key, bytes calldata value) external {
        bytes32 seed = keccak256(values[key]);
        values[key] = abi.encodePacked(seed, value[32:]);
    }

    /// Read so many keys in a row; return how many bytes there are.
    function scan(uint256 first, uint256 count) external view returns (uint256 total) {
        for (uint256 at = 0; at < count; at++) total += values[first + at].length;
    }
}
