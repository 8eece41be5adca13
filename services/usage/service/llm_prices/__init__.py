"""Loads public prices of language models into price books.

The meters of one call are disjoint: `input_token` leaves out `cached_input_token` and
`cache_write_token`, `output_token` leaves out `reasoning_token` where that is reported. A model
without a price of its own for such a part charges it like the whole, and the catalogue says so
with a price for it.
"""
