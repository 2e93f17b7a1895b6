// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.11;

/// Loops that stress one thing each: hashing, storage, memory, arithmetic.
contract Loops {
    mapping(uint256 => uint256) public slots;

    function hashing(uint256 rounds) external pure returns (bytes32 word) {
        for (uint256 i = 0; i < rounds; i++) word = keccak256(abi.encode(word, i));
    }

    function storing(uint256 rounds) external {
        for (uint256 i = 0; i < rounds; i++) slots[i] += i + 1;
    }

    function sorting(uint256 count) external pure returns (uint256) {
        uint256[] memory items = new uint256[](count);
        for (uint256 i = 0; i < count; i++) items[i] = (i * 7919) % 1009;
        for (uint256 i = 1; i < count; i++) {
            uint256 item = items[i];
            uint256 j = i;
            while (j > 0 && items[j - 1] > item) {
                items[j] = items[j - 1];
                j--;
            }
            items[j] = item;
        }
        return items[count / 2];
    }

    function powers(uint256 rounds) external pure returns (uint256 word) {
        word = 3;
        unchecked {
            for (uint256 i = 0; i < rounds; i++) word = (word ** 3 + i) % (2 ** 127 - 1);
        }
    }
}
