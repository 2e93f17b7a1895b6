"""The real node in virtual time: the node's code over simulated links, disks and clocks.

One seed decides delays, cuts, crashes, disk failures and task scheduling: the same seed gives
the same trace. Run with ``lowu simulate --stack full``.
"""
