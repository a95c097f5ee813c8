"""The lenses: what each looks at in a network, and what it tells of it."""
