"""What a loop measures: metrics and their statistics, the best values, and where they go."""
