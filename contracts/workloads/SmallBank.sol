// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.11;

/// The SmallBank workload: checking and savings accounts of customers named by number.
contract SmallBank {
    mapping(uint256 => uint256) public savings;
    mapping(uint256 => uint256) public checking;

    function transactSavings(uint256 customer, uint256 amount) external {
        savings[customer] += amount;
    }

    function depositChecking(uint256 customer, uint256 amount) external {
        checking[customer] += amount;
    }

    function sendPayment(uint256 from, uint256 to, uint256 amount) external {
        uint256 held = checking[from];
        require(held >= amount, "insufficient");
        checking[from] = held - amount;
        checking[to] += amount;
    }

    function writeCheck(uint256 customer, uint256 amount) external {
        uint256 total = checking[customer] + savings[customer];
        uint256 due = total < amount ? amount + 1 : amount;
        uint256 held = checking[customer];
        checking[customer] = held > due ? held - due : 0;
    }

    function amalgamate(uint256 from, uint256 to) external {
        uint256 total = savings[from] + checking[from];
        savings[from] = 0;
        checking[from] = 0;
        checking[to] += total;
    }

    function balance(uint256 customer) external view returns (uint256) {
        return savings[customer] + checking[customer];
    }
}
