"""The durable memory of a node: `contract` says what every driver promises, `sqlite` keeps it, `memory` is its fake."""
