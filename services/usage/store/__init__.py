"""The usage service's queries; rows stop here."""
