"""The usage service's RPCs: convert, call, convert."""
