"""Bills and traces become events; totals are compared with sums made apart from the importers."""
