"""Budget: owns budgets, their ledgers, spend decisions, alerts; publishes changes of budgets.

Owns: budgets with their versions and increases, what each period spent and holds, authorizations,
alerts and their deliveries. Publishes: budget changes and alerts. Calls: usage.
"""
