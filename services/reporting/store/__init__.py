"""Queries of the reporting service; rows stop here."""
