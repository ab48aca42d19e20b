-- Schema 1. Executed in one transaction by nodes/store/migrations.py; never edited after a release: the next change is 0002.sql.
--
-- Ids of messages and envelopes are random, so every index over them dirties a page of its own for each row. Each of the two
-- kinds has one such index, and other tables refer to `message.seq` and `outbound.number`, which only rise.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Own logs ------------------------------------------------------------------------------------------------------------

CREATE TABLE log (
    number     INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    size       INTEGER NOT NULL,
    root       BLOB NOT NULL,
    checkpoint BLOB,
    last_time  INTEGER NOT NULL,
    timestamp  INTEGER NOT NULL,  -- seconds
    open       INTEGER NOT NULL
) STRICT;

CREATE TABLE entry (
    position INTEGER PRIMARY KEY,  -- log.number * 2^40 + leaf index
    entry    BLOB                  -- NULL: erased; the tree keeps its leaf hash
) STRICT;

CREATE TABLE tile (
    log    INTEGER NOT NULL,
    level  INTEGER NOT NULL,
    n      INTEGER NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (log, level, n)
) STRICT, WITHOUT ROWID;

-- Messages ------------------------------------------------------------------------------------------------------------

CREATE TABLE message (
    seq             INTEGER PRIMARY KEY,  -- in commit order
    reversed_id     BLOB NOT NULL,        -- the message id's hex digits from last to first: people type an id's end
    sender          TEXT NOT NULL,
    direction       TEXT NOT NULL,
    at              INTEGER NOT NULL,
    precedence      INTEGER NOT NULL,
    shown           INTEGER NOT NULL,
    case_tag        BLOB NOT NULL,
    wrapped_key     BLOB,
    sealed_headline BLOB NOT NULL,
    sealed_content  BLOB NOT NULL,
    UNIQUE (reversed_id, sender)
) STRICT;
CREATE INDEX message_case ON message (case_tag);

CREATE TABLE inbox (  -- one row for each shown message that came in
    at       INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    own_acks INTEGER NOT NULL,
    PRIMARY KEY (at, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX inbox_undecided ON inbox (at, seq) WHERE own_acks < 2;

CREATE TABLE tally (  -- counts over inbox, kept by every commit: counting a million rows for each `status` is too slow
    name TEXT PRIMARY KEY,
    n    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO tally VALUES ('unopened', 0), ('undecided', 0);

CREATE TABLE ack (
    number      INTEGER PRIMARY KEY,
    message_id  BLOB NOT NULL,
    sender      TEXT NOT NULL,
    by          TEXT NOT NULL,
    carrier_id  BLOB NOT NULL,
    at          INTEGER NOT NULL,
    wrapped_key BLOB,
    sealed_body BLOB NOT NULL,
    UNIQUE (carrier_id, by)
) STRICT;
CREATE INDEX ack_message ON ack (message_id, sender, at);

-- Delivery ------------------------------------------------------------------------------------------------------------

CREATE TABLE recipient (
    message         INTEGER NOT NULL,  -- message.seq
    message_id      BLOB NOT NULL,
    agency          TEXT NOT NULL,
    envelope_id     BLOB NOT NULL,
    state           TEXT NOT NULL,
    reason          TEXT,
    precedence      INTEGER NOT NULL,
    deliver_by      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    attempts        INTEGER NOT NULL,
    next_attempt_at INTEGER,
    reseals         INTEGER NOT NULL,
    sealed          INTEGER NOT NULL,
    shown           INTEGER NOT NULL,
    PRIMARY KEY (message, agency)
) STRICT, WITHOUT ROWID;
-- All of these hold only what has not reached an end: they stay small however large the table grows. (`state` is a column
-- of two of them so that counting needs no row of the table: older versions of SQLite look at it all the same.)
CREATE INDEX recipient_due ON recipient (agency, precedence, message, next_attempt_at, deliver_by)
    WHERE state = 'queued' AND sealed = 1;
CREATE INDEX recipient_queued ON recipient (agency, next_attempt_at, sealed, deliver_by, shown, state)
    WHERE state = 'queued';
CREATE INDEX recipient_unsealed ON recipient (agency, precedence, deliver_by) WHERE state = 'queued' AND sealed = 0;
CREATE INDEX recipient_in_custody ON recipient (agency, shown, state) WHERE state = 'in_custody';
CREATE INDEX recipient_overdue ON recipient (deliver_by) WHERE state IN ('queued', 'in_custody');

CREATE TABLE outbound (
    number         INTEGER PRIMARY KEY,
    envelope_id    BLOB NOT NULL UNIQUE,
    message        INTEGER NOT NULL,  -- message.seq
    message_id     BLOB NOT NULL,
    agency         TEXT NOT NULL,
    header         BLOB NOT NULL,
    body_hash      BLOB NOT NULL,
    envelope_hash  BLOB NOT NULL,
    generation     INTEGER NOT NULL,
    n              INTEGER NOT NULL,
    sealed_opening BLOB NOT NULL,
    log            TEXT NOT NULL,
    leaf           INTEGER NOT NULL,
    at             INTEGER NOT NULL
) STRICT;
CREATE INDEX outbound_message ON outbound (message);
CREATE INDEX outbound_agency ON outbound (agency, at);

CREATE TABLE body (  -- apart, so that dropping a body frees whole pages and leaves the rows above where they are
    number INTEGER PRIMARY KEY,  -- outbound.number
    body   BLOB NOT NULL
) STRICT;

CREATE TABLE sent_number (
    agency     TEXT NOT NULL,
    generation INTEGER NOT NULL,
    n          INTEGER NOT NULL,  -- the highest used
    PRIMARY KEY (agency, generation)
) STRICT, WITHOUT ROWID;

CREATE TABLE statement (
    number          INTEGER PRIMARY KEY,
    envelope        INTEGER NOT NULL,  -- outbound.number
    agency          TEXT NOT NULL,
    level           TEXT NOT NULL,
    code            TEXT,
    entry           BLOB NOT NULL,
    leaf            INTEGER NOT NULL,
    path            BLOB NOT NULL,
    gateway         TEXT NOT NULL,
    head_generation INTEGER NOT NULL,
    head_size       INTEGER NOT NULL,
    at              INTEGER NOT NULL,
    UNIQUE (envelope, agency, level)
) STRICT;

-- Envelopes received --------------------------------------------------------------------------------------------------

CREATE TABLE inbound (
    number          INTEGER PRIMARY KEY,
    envelope_id     BLOB NOT NULL,
    sender          TEXT NOT NULL,
    message         INTEGER,  -- message.seq; NULL when the message was not stored
    message_id      BLOB,
    envelope_hash   BLOB NOT NULL,
    header          BLOB NOT NULL,
    body_hash       BLOB NOT NULL,
    generation      INTEGER NOT NULL,
    n               INTEGER NOT NULL,
    sealed_opening  BLOB,
    issued_entry    BLOB NOT NULL,
    issued_leaf     INTEGER NOT NULL,
    issued_path     BLOB NOT NULL,
    gateway         TEXT NOT NULL,
    head_generation INTEGER NOT NULL,
    head_size       INTEGER NOT NULL,
    code            TEXT,
    log             TEXT NOT NULL,
    leaf            INTEGER NOT NULL,
    at              INTEGER NOT NULL,
    UNIQUE (envelope_id, sender, envelope_hash)  -- one id with two contents is kept as what it is: a proof against its sender
) STRICT;
CREATE INDEX inbound_message ON inbound (message) WHERE message IS NOT NULL;
CREATE INDEX inbound_without_message ON inbound (message_id, sender) WHERE message IS NULL AND message_id IS NOT NULL;

CREATE TABLE received_number (
    agency     TEXT NOT NULL,
    generation INTEGER NOT NULL,
    n          INTEGER NOT NULL,  -- the highest received
    PRIMARY KEY (agency, generation)
) STRICT, WITHOUT ROWID;

-- Agencies ------------------------------------------------------------------------------------------------------------

CREATE TABLE peer (
    agency          TEXT PRIMARY KEY,
    trust           TEXT NOT NULL,
    name            TEXT NOT NULL,
    country         TEXT NOT NULL,
    anchor          BLOB NOT NULL,
    profile         BLOB,
    added_at        INTEGER NOT NULL,
    confirmed_at    INTEGER,
    last_contact_at INTEGER,
    clock_skew_ms   INTEGER,
    reason          TEXT,
    recover_since   INTEGER
) STRICT;

CREATE TABLE peer_head (
    number     INTEGER PRIMARY KEY,
    agency     TEXT NOT NULL,
    gateway    TEXT NOT NULL,
    generation INTEGER NOT NULL,
    size       INTEGER NOT NULL,
    root       BLOB NOT NULL,
    checkpoint BLOB NOT NULL,
    from_size  INTEGER,
    nodes      BLOB NOT NULL,
    reconciled INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    UNIQUE (agency, gateway, generation, size, root)
) STRICT;
CREATE INDEX peer_head_reconciled ON peer_head (agency, gateway, generation, size) WHERE reconciled = 1;
CREATE INDEX peer_head_unreconciled ON peer_head (number) WHERE reconciled = 0;

CREATE TABLE key_change (
    agency     TEXT NOT NULL,
    gateway    TEXT NOT NULL,
    generation INTEGER NOT NULL,
    leaf       INTEGER NOT NULL,
    proof      BLOB NOT NULL,
    PRIMARY KEY (agency, gateway, generation, leaf)
) STRICT;

CREATE TABLE epoch_key (
    agency       TEXT NOT NULL,
    number       INTEGER NOT NULL,
    use_from     INTEGER NOT NULL,
    public       BLOB NOT NULL,
    log          TEXT NOT NULL,
    leaf         INTEGER NOT NULL,
    destroyed_at INTEGER,
    PRIMARY KEY (agency, number)
) STRICT;

CREATE TABLE anchor (
    agency TEXT NOT NULL,
    serial INTEGER NOT NULL,
    anchor BLOB NOT NULL
) STRICT;
CREATE INDEX anchor_serial ON anchor (agency, serial);

-- Operators -----------------------------------------------------------------------------------------------------------

CREATE TABLE operator (
    ref      TEXT PRIMARY KEY,
    uid      INTEGER NOT NULL,
    roles    TEXT NOT NULL,  -- JSON list of strings
    program  INTEGER NOT NULL,
    added_at INTEGER NOT NULL
) STRICT;

CREATE TABLE draft (
    draft_id    BLOB PRIMARY KEY,
    updated_at  INTEGER NOT NULL,
    sealed_body BLOB NOT NULL
) STRICT;
