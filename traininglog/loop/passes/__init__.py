"""The data of an epoch: how far a loop has got in it, and whether a replay gives the same again."""
