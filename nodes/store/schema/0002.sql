-- Schema 2: what was posted here, newest first, at a price that does not rise with what was received.
CREATE INDEX message_sent ON message (at, seq) WHERE direction = 'out' AND shown = 1;
