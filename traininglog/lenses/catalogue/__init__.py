"""The lenses of this package: what each observes in a network, and what it reports."""
