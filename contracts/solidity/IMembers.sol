// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.11;

/// @title What the other contracts ask OrgRegistry about a caller.
interface IMembers {
    function requireMember(address account, uint8 role)
        external
        view
        returns (uint16 org, uint8 jurisdiction);

    function isRouted(uint8 from, uint8 to) external view returns (bool);
}
