-- Schema 3: how much waits at each agency, at a price that does not rise with it. Counted are shown messages only.
CREATE TABLE queue_tally (  -- kept by every commit, like tally; one row for each agency that ever had a message waiting
    agency     TEXT PRIMARY KEY,
    queued     INTEGER NOT NULL,
    in_custody INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO queue_tally
    SELECT agency, sum(state = 'queued'), sum(state = 'in_custody') FROM recipient
    WHERE shown = 1 AND state IN ('queued', 'in_custody') GROUP BY agency;

CREATE INDEX recipient_waiting ON recipient (agency, message) WHERE shown = 1 AND state IN ('queued', 'in_custody');

CREATE TRIGGER recipient_put AFTER INSERT ON recipient
    WHEN new.shown = 1 AND new.state IN ('queued', 'in_custody')
BEGIN
    INSERT INTO queue_tally VALUES (new.agency, new.state = 'queued', new.state = 'in_custody')
        ON CONFLICT (agency) DO UPDATE SET
            queued = queued + excluded.queued, in_custody = in_custody + excluded.in_custody;
END;

CREATE TRIGGER recipient_moved AFTER UPDATE OF state, shown ON recipient
    WHEN new.state <> old.state OR new.shown <> old.shown
BEGIN
    INSERT INTO queue_tally VALUES (
            new.agency,
            (new.shown AND new.state = 'queued') - (old.shown AND old.state = 'queued'),
            (new.shown AND new.state = 'in_custody') - (old.shown AND old.state = 'in_custody'))
        ON CONFLICT (agency) DO UPDATE SET
            queued = queued + excluded.queued, in_custody = in_custody + excluded.in_custody;
END;
