"""The budget service's RPCs: convert, call, convert."""
