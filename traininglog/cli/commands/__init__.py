"""The commands that show runs and maintain stores."""
