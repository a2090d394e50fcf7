"""What rows say, with its uncertainty."""
