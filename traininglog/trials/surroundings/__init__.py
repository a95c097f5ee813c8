"""What a trial notes of its surroundings: arguments, versions, packages, output, files."""
