"""The records of projects, groups and trials in the tables."""
