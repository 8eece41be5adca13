"""What two services need and that has no business meaning of its own: one noun a file."""
