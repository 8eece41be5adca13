"""Schema changes of the budget service, applied in order by `services.kernel.migrate`."""
