"""The data of an epoch: the position in it, and the check that a replay yields the same data."""
