"""What happens: everything that waits, writes or listens. Decides nothing that keys or exchange can decide."""
