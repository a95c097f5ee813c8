"""The commands that look at trials and projects, and bring them into a store."""
