"""Queries; rows to domain and back."""
