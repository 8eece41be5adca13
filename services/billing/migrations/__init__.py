"""How the billing schema came to be."""
