"""The demo company: invented people and usage, labelled as such, the same on every machine."""
