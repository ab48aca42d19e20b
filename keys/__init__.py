"""Who may speak: identities, signatures, sealing and trust. Knows no alert, no network and no clock."""
