"""What an executive looks at, put together from answers that were asked separately."""
