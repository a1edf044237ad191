-- Monthly partitions, made by a function, and a default partition for what lies in none of them: no row is ever refused
-- for its time, and none waits for a partition to be made.

CREATE TABLE routing_logs_default PARTITION OF routing_logs DEFAULT;
CREATE TABLE routing_texts_default PARTITION OF routing_texts DEFAULT;
CREATE TABLE routing_outcomes_default PARTITION OF routing_outcomes DEFAULT;
CREATE TABLE routing_feedback_default PARTITION OF routing_feedback DEFAULT;

-- A partition is filled before it is attached: PostgreSQL refuses one whose rows the default partition holds, and
-- attaching, unlike CREATE TABLE ... PARTITION OF, lets others go on writing to the table. The default partition is
-- locked until the end of the transaction, so that no row can slip into it between the two steps.
CREATE FUNCTION bsg_make_partitions(first timestamptz, last timestamptz) RETURNS integer
    LANGUAGE plpgsql
AS $$
DECLARE
    parent text;
    child  text;
    month  timestamp;
    low    uuid;
    high   uuid;
    made   integer := 0;
BEGIN
    -- A backup may hold a lock for hours. Who writes to the default partition must not wait behind this one for as long.
    PERFORM set_config('lock_timeout', '2s', true);
    PERFORM pg_advisory_xact_lock(7215366061838321238);  -- an arbitrary number
    FOREACH parent IN ARRAY ARRAY['routing_logs', 'routing_texts', 'routing_outcomes', 'routing_feedback'] LOOP
        FOR month IN
            SELECT generate_series(date_trunc('month', first AT TIME ZONE 'UTC'), last AT TIME ZONE 'UTC', '1 month')
        LOOP
            child := parent || to_char(month, '_YYYY_MM');
            CONTINUE WHEN to_regclass(quote_ident(child)) IS NOT NULL;
            low := bsg_uuid7_floor(month AT TIME ZONE 'UTC');
            high := bsg_uuid7_floor((month + interval '1 month') AT TIME ZONE 'UTC');
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL EXCLUDING INDEXES EXCLUDING COMMENTS)', child, parent);
            EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', parent || '_default');
            EXECUTE format(
                'WITH moved AS (DELETE FROM %I WHERE decision_id >= %L AND decision_id < %L RETURNING *) '
                'INSERT INTO %I SELECT * FROM moved',
                parent || '_default', low, high, child
            );
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, child, low, high);
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;
COMMENT ON FUNCTION bsg_make_partitions(timestamptz, timestamptz) IS
    'Makes the monthly partitions (UTC) that are missing from the month of first to the month of last, moves the rows '
    'there that lie in the default partition, and returns how many it made.';
