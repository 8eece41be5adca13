"""What the reporting service serves."""
