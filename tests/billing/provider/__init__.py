"""Payment providers: the wire, the peer, faults, webhooks and reconciliation."""
