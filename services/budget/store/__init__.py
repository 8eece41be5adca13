"""The budget service's queries; rows stop here."""
