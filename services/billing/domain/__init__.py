"""Money that is exact: plans, rating, tax, proration, invoices; pure."""
