"""What the tests share: servers, schemas and data."""
