"""What may be said: alerts, envelopes, logs, receipts and policy. Knows no clock, no socket, no file and no disk."""
