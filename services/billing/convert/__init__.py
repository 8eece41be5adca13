"""Between the contracts' messages and the domain, and nothing else."""
