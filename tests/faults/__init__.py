"""What is killed, cut or restarted under load, and that every event counts once all the same."""
