"""The commands that show trials and projects, and import them."""
