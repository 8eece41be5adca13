"""Schema changes of the reporting service, applied in order by `services.kernel.migrate`."""
