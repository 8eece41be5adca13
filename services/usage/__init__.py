"""Usage: owns events, the directory, prices, allocation and cost; publishes cost changes.

Owns: usage events, the directory of tenants, departments and users, price books, allocation rules,
and the cost computed from them. Publishes: the cost change feed. Calls: no other service.
"""
