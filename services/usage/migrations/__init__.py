"""Schema changes of the usage service, applied in order by `services.kernel.migrate`."""
