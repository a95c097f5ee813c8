"""Surroundings of a trial: arguments, versions, packages, output, files."""
