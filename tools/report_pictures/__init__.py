"""Pictures of reports for docs/reports."""
