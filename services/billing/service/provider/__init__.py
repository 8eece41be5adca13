"""Payment providers: the port, its two implementations, and the durable work on top of it."""
