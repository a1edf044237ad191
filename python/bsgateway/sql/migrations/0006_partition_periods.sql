-- Partitions of a month, a week or a day, made and dropped one table at a time.
--
-- A partition holds exactly the time its name says, in UTC: routing_logs_2026_11 a month, routing_logs_2026_w48 an ISO
-- week, routing_logs_2026_11_22 a day. After a change of the period, what is left of a month or week that already has a
-- partition in it is filled with days, whose borders all periods share: ranges never overlap and leave no hole.

CREATE FUNCTION bsg_uuid7_time(id uuid) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$
    SELECT to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0)
$$;
COMMENT ON FUNCTION bsg_uuid7_time(uuid) IS 'The moment in the first 48 bits of a UUIDv7.';

CREATE FUNCTION bsg_partitions(parent text) RETURNS TABLE (name text, low uuid, high uuid)
    LANGUAGE sql STABLE STRICT
AS $$
    SELECT
        child.oid::regclass::text,
        coalesce((regexp_match(bound, 'FROM \(''([^'']+)''\)'))[1], '00000000-0000-0000-0000-000000000000')::uuid,
        coalesce((regexp_match(bound, 'TO \(''([^'']+)''\)'))[1], 'ffffffff-ffff-ffff-ffff-ffffffffffff')::uuid
    FROM pg_inherits
    JOIN pg_class child ON child.oid = inhrelid
    CROSS JOIN pg_get_expr(child.relpartbound, child.oid) AS bound
    WHERE inhparent = parent::regclass AND bound <> 'DEFAULT'
    ORDER BY 2
$$;
COMMENT ON FUNCTION bsg_partitions(text) IS
    'The partitions of a table, the default one apart, in the order of their ranges: ids from low up to, but not '
    'including, high.';

CREATE FUNCTION bsg_missing_partitions(parent text, first timestamptz, last timestamptz, period text)
    RETURNS TABLE (name text, low uuid, high uuid)
    LANGUAGE sql STABLE STRICT
AS $$
    WITH taken AS (
        SELECT p.low, p.high FROM bsg_partitions(parent) p
    ), wanted AS (
        SELECT start, start + ('1 ' || period)::interval AS stop
        FROM generate_series(
            date_trunc(period, first AT TIME ZONE 'UTC'), last AT TIME ZONE 'UTC', ('1 ' || period)::interval
        ) start
    ), checked AS (
        SELECT start, stop, EXISTS (
            SELECT FROM taken
            WHERE taken.low < bsg_uuid7_floor(stop AT TIME ZONE 'UTC')
              AND taken.high > bsg_uuid7_floor(start AT TIME ZONE 'UTC')
        ) AS begun
        FROM wanted
    ), made AS (
        SELECT start, stop, CASE period WHEN 'month' THEN 'YYYY_MM' WHEN 'week' THEN 'IYYY"_w"IW' ELSE 'YYYY_MM_DD' END AS form
        FROM checked
        WHERE NOT begun
        UNION ALL
        SELECT day, day + interval '1 day', 'YYYY_MM_DD'
        FROM checked CROSS JOIN generate_series(start, stop - interval '1 day', interval '1 day') day
        WHERE begun
          AND day + interval '1 day' > first AT TIME ZONE 'UTC'
          AND NOT EXISTS (
              SELECT FROM taken
              WHERE taken.low < bsg_uuid7_floor((day + interval '1 day') AT TIME ZONE 'UTC')
                AND taken.high > bsg_uuid7_floor(day AT TIME ZONE 'UTC')
          )
    )
    SELECT
        parent || '_' || to_char(start, form),
        bsg_uuid7_floor(start AT TIME ZONE 'UTC'),
        bsg_uuid7_floor(stop AT TIME ZONE 'UTC')
    FROM made
    ORDER BY 2
$$;
COMMENT ON FUNCTION bsg_missing_partitions(text, timestamptz, timestamptz, text) IS
    'The partitions that bsg_make_partitions would make.';

-- A partition is filled before it is attached: PostgreSQL refuses one whose rows the default partition holds, and
-- attaching, unlike CREATE TABLE ... PARTITION OF, lets others go on writing to the table. Most rows are moved before the
-- default partition is locked, and what slipped into it meanwhile after that.
CREATE FUNCTION bsg_make_partitions(parent text, first timestamptz, last timestamptz, period text) RETURNS integer
    LANGUAGE plpgsql
AS $$
DECLARE
    spare text := parent || '_default';
    part  record;
    made  integer := 0;
BEGIN
    IF period NOT IN ('month', 'week', 'day') THEN
        RAISE EXCEPTION 'a partition holds a month, a week or a day, not a %', period
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- A backup may hold a lock for hours. Who uses the default partition must not wait behind this one for as long.
    IF current_setting('lock_timeout') = '0' THEN
        PERFORM set_config('lock_timeout', '2s', true);
    END IF;
    PERFORM pg_advisory_xact_lock(7215366061838321238);  -- an arbitrary number
    FOR part IN SELECT * FROM bsg_missing_partitions(parent, first, last, period) LOOP
        CONTINUE WHEN to_regclass(quote_ident(part.name)) IS NOT NULL;  -- one that was detached to be kept
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL EXCLUDING INDEXES EXCLUDING COMMENTS)', part.name, parent);
        FOR step IN 1..2 LOOP
            EXECUTE format(
                'WITH moved AS (DELETE FROM %I WHERE decision_id >= %L AND decision_id < %L RETURNING *) '
                'INSERT INTO %I SELECT * FROM moved',
                spare, part.low, part.high, part.name
            );
            IF step = 1 THEN
                EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', spare);
            END IF;
        END LOOP;
        EXECUTE format(
            'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, part.name, part.low, part.high
        );
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;
COMMENT ON FUNCTION bsg_make_partitions(text, timestamptz, timestamptz, text) IS
    'Makes the partitions of a table (period: month, week or day, in UTC) that are missing from the period of first to '
    'that of last, moves the rows there that lie in the default partition, and returns how many it made.';

-- For workers of the version before.
CREATE OR REPLACE FUNCTION bsg_make_partitions(first timestamptz, last timestamptz) RETURNS integer
    LANGUAGE sql
AS $$
    SELECT sum(bsg_make_partitions(parent, first, last, 'month'))::integer
    FROM unnest(ARRAY['routing_logs', 'routing_texts', 'routing_outcomes', 'routing_feedback']) parent
$$;

-- So that a change of the period is felt at once, and not when the months are used up that were made ahead.
CREATE FUNCTION bsg_drop_unused_partitions(parent text, moment timestamptz, period text) RETURNS integer
    LANGUAGE plpgsql
AS $$
DECLARE
    used   uuid := bsg_uuid7_floor(moment);  -- from here on nothing is in use
    aimed  timestamp;                        -- from here on there should be whole periods, before it days
    part   record;
    filled boolean;
    stale  text[] := '{}';
BEGIN
    FOR part IN SELECT * FROM bsg_partitions(parent) LOOP
        filled := part.low <= bsg_uuid7_floor(moment);
        IF NOT filled THEN
            EXECUTE format('SELECT EXISTS (SELECT FROM %s)', part.name) INTO filled;
        END IF;
        IF filled THEN
            used := greatest(used, part.high);
        END IF;
    END LOOP;
    aimed := date_trunc(period, bsg_uuid7_time(used) AT TIME ZONE 'UTC');
    IF bsg_uuid7_floor(aimed AT TIME ZONE 'UTC') < used THEN
        aimed := aimed + ('1 ' || period)::interval;
    END IF;
    FOR part IN
        SELECT
            p.name,
            bsg_uuid7_time(p.low) AT TIME ZONE 'UTC' AS start,
            bsg_uuid7_time(p.high) AT TIME ZONE 'UTC' AS stop
        FROM bsg_partitions(parent) p
        WHERE p.low >= used
    LOOP
        CONTINUE WHEN part.start < aimed AND part.stop = part.start + interval '1 day' AND part.stop <= aimed;
        CONTINUE WHEN part.start >= aimed AND part.start = date_trunc(period, part.start)
            AND part.stop = part.start + ('1 ' || period)::interval;
        stale := stale || part.name;
    END LOOP;
    IF stale = '{}' THEN
        RETURN 0;
    END IF;
    PERFORM pg_advisory_xact_lock(7215366061838321238);
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', parent);
    FOR part IN SELECT unnest(stale) AS name LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', part.name) INTO filled;
        IF filled THEN
            RETURN 0;  -- a row came in the meantime: what is to be dropped depends on it
        END IF;
    END LOOP;
    FOR part IN SELECT unnest(stale) AS name LOOP
        EXECUTE format('DROP TABLE %s', part.name);
    END LOOP;
    RETURN cardinality(stale);
END
$$;
COMMENT ON FUNCTION bsg_drop_unused_partitions(text, timestamptz, text) IS
    'Drops the empty partitions of a table that begin after moment and every row there is, and are not of the period '
    'that is wanted; returns how many.';

CREATE FUNCTION bsg_erase(child text, before timestamptz, most integer) RETURNS integer
    LANGUAGE plpgsql
AS $$
DECLARE
    erased integer;
BEGIN
    EXECUTE format(
        'DELETE FROM %s WHERE ctid = ANY (ARRAY(SELECT ctid FROM %s WHERE decision_id < $1 LIMIT $2))', child, child
    ) USING bsg_uuid7_floor(before), most;
    GET DIAGNOSTICS erased = ROW_COUNT;
    RETURN erased;
END
$$;
COMMENT ON FUNCTION bsg_erase(text, timestamptz, integer) IS
    'Deletes the rows of one partition that are older than a moment, but not more than so many; returns how many.';
