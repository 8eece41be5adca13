"""Billing: owns plans, subscriptions, invoices and payments; publishes what happened to them.

Owns: billing accounts, pricing plans, coupons, tax rates, subscriptions, prepaid credit, invoices,
credit notes, payments, and the record of every step at a payment provider. Publishes: the billing
feed. Calls: usage, for its directory and its cost change feed, and budget.
"""
