"""The REST face of the suite: transcodes HTTP and JSON to gRPC by descriptors alone.

Owns the mapping, its errors, limits, documents and pages; publishes HTTP; calls every configured
peer. It names no service and no RPC: what it serves is what the peers register.
"""
