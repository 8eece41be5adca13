"""Between contracts and domain, and nothing else."""
