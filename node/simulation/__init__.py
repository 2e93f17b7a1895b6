"""The real node in virtual time: its own code, over simulated links, disks and clocks.

One seed decides delays, cuts, crashes, failing disks, and the order in which tasks run: the
same seed gives the same trace. Run with ``lowu simulate --stack full``.
"""
