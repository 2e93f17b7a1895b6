// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.11;

/// What FISCO BCOS's own stress tests do (PerformanceOk, ParallelOk): one number is set, or moved
/// between two named accounts that nobody else touches.
contract Performance {
    uint256 public last;
    mapping(string => uint256) private balances;

    function set(uint256 value) external {
        last = value;
    }

    function transfer(string calldata from, string calldata to, uint256 amount) external {
        unchecked {
            balances[from] -= amount;
            balances[to] += amount;
        }
    }

    function balanceOf(string calldata account) external view returns (uint256) {
        return balances[account];
    }
}
