"""What developers run beside the suite itself: `python -m tools.<name>`."""
