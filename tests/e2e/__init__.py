"""The whole stack as a user meets it: real input in, exact numbers out."""
