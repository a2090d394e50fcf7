"""What ``qvec demo`` runs: the whole method on one machine in a few minutes, without a download."""
