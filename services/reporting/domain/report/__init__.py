"""Reports: what they are about, what they say and how their numbers are computed. Pure."""
