-- Sums of the log, so that pages and reports of millions of rows read thousands.
--
-- A rollup row is what the requests of one span of time add up to that share its dimensions. Spans are 900 seconds
-- (a quarter of an hour: every offset of a time zone is a multiple of it), 3,600 and 86,400, and begin at multiples of
-- themselves in UTC. A request belongs to the span of its decision id. '' stands for null.
--
-- Rows are never changed by what is written to the log: a trigger marks the quarters that a batch touched, and every few
-- seconds some worker adds these up anew (`bsg_refresh_rollups`). So they are right whatever comes late, twice, or not
-- in order. When retention drops the rows themselves, their sums stay.

CREATE TABLE routing_rollups (
    span               integer NOT NULL,
    bucket             timestamptz NOT NULL,
    tier               text NOT NULL,
    method             text NOT NULL,
    strategy           text NOT NULL,
    reason             text NOT NULL,
    model              text NOT NULL,
    applied            boolean NOT NULL,
    requests           bigint NOT NULL,
    failed             bigint NOT NULL,
    fell_back          bigint NOT NULL,
    routed             bigint NOT NULL,
    priced             bigint NOT NULL,
    spent              double precision NOT NULL,
    cost               double precision NOT NULL,
    baseline_cost      double precision NOT NULL,
    learning_cost      double precision NOT NULL,
    prompt_tokens      bigint NOT NULL,
    completion_tokens  bigint NOT NULL,
    cache_read_tokens  bigint NOT NULL,
    cache_write_tokens bigint NOT NULL
);
CREATE INDEX routing_rollups_bucket ON routing_rollups (span, bucket);

-- The same by key and team, with what costs depend on; in spans of 3,600 and 86,400 seconds only. Keys are many: with
-- all dimensions, there would be hardly fewer sums than requests.
CREATE TABLE routing_key_rollups (
    span               integer NOT NULL,
    bucket             timestamptz NOT NULL,
    key_hash           text NOT NULL,
    key_alias          text NOT NULL,
    team_id            text NOT NULL,
    tier               text NOT NULL,
    model              text NOT NULL,
    applied            boolean NOT NULL,
    requests           bigint NOT NULL,
    failed             bigint NOT NULL,
    fell_back          bigint NOT NULL,
    routed             bigint NOT NULL,
    priced             bigint NOT NULL,
    spent              double precision NOT NULL,
    cost               double precision NOT NULL,
    baseline_cost      double precision NOT NULL,
    learning_cost      double precision NOT NULL,
    prompt_tokens      bigint NOT NULL,
    completion_tokens  bigint NOT NULL,
    cache_read_tokens  bigint NOT NULL,
    cache_write_tokens bigint NOT NULL
);
CREATE INDEX routing_key_rollups_bucket ON routing_key_rollups (span, bucket);
CREATE INDEX routing_key_rollups_key ON routing_key_rollups (key_hash, span, bucket);

-- How often a measure fell into a bin; in spans of 3,600 and 86,400 seconds only.
CREATE TABLE routing_histograms (
    span    integer NOT NULL,
    bucket  timestamptz NOT NULL,
    measure text NOT NULL,
    model   text NOT NULL,
    bin     integer NOT NULL,
    count   bigint NOT NULL
);
CREATE INDEX routing_histograms_bucket ON routing_histograms (span, bucket);

-- What waits to be added up: any number of marks for one bucket, as a mark must never be the one that somebody is just
-- working off.
CREATE TABLE routing_rollup_marks (
    span   integer NOT NULL,
    bucket timestamptz NOT NULL,
    marked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE FUNCTION bsg_span(moment timestamptz, span integer) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$
    SELECT to_timestamp(floor(extract(epoch FROM moment) / span) * span)
$$;
COMMENT ON FUNCTION bsg_span(timestamptz, integer) IS 'When the span of so many seconds begins that a moment lies in.';

-- What a batch has touched. The first 32 bits of a UUIDv7 change every 65.536 seconds: few distinct values to look at,
-- each of which lies in one quarter of an hour or two.
-- Whoever may write to the log may mark, and nothing else: hence the owner's rights, and a search path that nobody can
-- put a table or a function of theirs into.
CREATE FUNCTION bsg_mark_rollups() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format(
        'INSERT INTO %1$I.routing_rollup_marks (span, bucket) '
        'SELECT DISTINCT 900, %1$I.bsg_span(to_timestamp(milliseconds / 1000.0), 900) '
        'FROM (SELECT DISTINCT (''x'' || left(decision_id::text, 8))::bit(32)::bigint * 65536 FROM touched) first (ms) '
        'CROSS JOIN LATERAL (VALUES (ms), (ms + 65535)) edge (milliseconds)',
        TG_TABLE_SCHEMA
    );
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION bsg_mark_rollups() FROM PUBLIC;  -- nobody needs it to write, and it is for these tables only
COMMENT ON FUNCTION bsg_mark_rollups() IS 'Marks the quarters of an hour that a statement touched, to be added up anew.';

CREATE TRIGGER bsg_mark_inserted AFTER INSERT ON routing_logs
    REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION bsg_mark_rollups();
CREATE TRIGGER bsg_mark_updated AFTER UPDATE ON routing_logs
    REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION bsg_mark_rollups();
CREATE TRIGGER bsg_mark_deleted AFTER DELETE ON routing_logs
    REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION bsg_mark_rollups();
CREATE TRIGGER bsg_mark_inserted AFTER INSERT ON routing_outcomes
    REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION bsg_mark_rollups();
CREATE TRIGGER bsg_mark_updated AFTER UPDATE ON routing_outcomes
    REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION bsg_mark_rollups();
CREATE TRIGGER bsg_mark_deleted AFTER DELETE ON routing_outcomes
    REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION bsg_mark_rollups();
CREATE TRIGGER bsg_mark_inserted AFTER INSERT ON routing_comparisons
    REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION bsg_mark_rollups();
CREATE TRIGGER bsg_mark_deleted AFTER DELETE ON routing_comparisons
    REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION bsg_mark_rollups();

-- The rows of an hour, as they are added up. No row of another hour is read.
CREATE FUNCTION bsg_facts(since timestamptz, until timestamptz) RETURNS TABLE (
    decision_id uuid, key_hash text, key_alias text, team_id text, tier text, method text, strategy text, reason text,
    model text, applied boolean, complexity_score smallint, decision_us double precision, failed boolean,
    fell_back boolean, routed boolean, priced boolean, spent double precision, cost double precision,
    baseline_cost double precision, learning_cost double precision, prompt_tokens bigint, completion_tokens bigint,
    cache_read_tokens bigint, cache_write_tokens bigint, latency_ms double precision, first_token_ms double precision
)
    LANGUAGE sql STABLE
AS $$
    SELECT
        d.decision_id,
        coalesce(d.key_hash, ''),
        coalesce(d.key_alias, ''),
        coalesce(d.team_id, ''),
        coalesce(d.tier, ''),
        d.method,
        coalesce(d.strategy, ''),
        d.reason,
        coalesce(o.served_group, CASE WHEN d.applied IS NOT FALSE THEN d.resolved_model END, d.original_model),
        d.applied IS NOT FALSE,
        d.complexity_score,
        d.decision_us,
        o.status IS NOT DISTINCT FROM 'failure',
        coalesce(o.status = 'success' AND d.applied IS NOT FALSE AND o.served_group <> d.resolved_model, false),
        d.tier IS NOT NULL AND d.applied IS NOT FALSE,
        d.tier IS NOT NULL AND d.applied IS NOT FALSE AND o.cost IS NOT NULL AND o.baseline_cost IS NOT NULL,
        o.cost,
        o.cost,
        o.baseline_cost,
        c.cost,
        o.prompt_tokens,
        o.completion_tokens,
        o.cache_read_tokens,
        o.cache_write_tokens,
        o.latency_ms,
        o.first_token_ms
    FROM routing_logs d
    LEFT JOIN routing_outcomes o
        ON o.decision_id = d.decision_id
        AND o.decision_id >= bsg_uuid7_floor(since)
        AND o.decision_id < bsg_uuid7_floor(until)
    LEFT JOIN routing_comparisons c
        ON c.decision_id = d.decision_id
        AND c.decision_id >= bsg_uuid7_floor(since)
        AND c.decision_id < bsg_uuid7_floor(until)
    WHERE d.decision_id >= bsg_uuid7_floor(since)
      AND d.decision_id < bsg_uuid7_floor(until)
$$;
COMMENT ON FUNCTION bsg_facts(timestamptz, timestamptz) IS
    'The decisions of a time, from since up to but not including until, as the rollups count them; '''' stands for null '
    'in what they are grouped by.';

CREATE FUNCTION bsg_bin(value double precision) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$
    SELECT floor(40 * log(greatest(value, 0.001)))::integer
$$;
COMMENT ON FUNCTION bsg_bin(double precision) IS
    'The bin of routing_histograms that a time lies in: 40 to a decade. The middle of a bin is 10^((bin + 0.5) / 40).';

CREATE FUNCTION bsg_roll_up_hour(hour timestamptz) RETURNS void
    LANGUAGE plpgsql
AS $$
DECLARE
    after timestamptz := hour + interval '1 hour';
BEGIN
    DELETE FROM routing_rollups WHERE span IN (900, 3600) AND bucket >= hour AND bucket < after;
    DELETE FROM routing_key_rollups WHERE span = 3600 AND bucket = hour;
    DELETE FROM routing_histograms WHERE span = 3600 AND bucket = hour;
    -- With the times in the text, so that it is planned for the rows of this hour and not for those of all partitions.
    EXECUTE format($query$
    WITH facts AS MATERIALIZED (
        SELECT * FROM bsg_facts(%1$L, %2$L)
    ), quarters AS (
        INSERT INTO routing_rollups
        SELECT
            900, bsg_span(bsg_uuid7_time(decision_id), 900), tier, method, strategy, reason, model, applied,
            count(*),
            count(*) FILTER (WHERE failed),
            count(*) FILTER (WHERE fell_back),
            count(*) FILTER (WHERE routed),
            count(*) FILTER (WHERE priced),
            coalesce(sum(spent), 0),
            coalesce(sum(cost) FILTER (WHERE priced), 0),
            coalesce(sum(baseline_cost) FILTER (WHERE priced), 0),
            coalesce(sum(learning_cost), 0),
            coalesce(sum(prompt_tokens), 0),
            coalesce(sum(completion_tokens), 0),
            coalesce(sum(cache_read_tokens), 0),
            coalesce(sum(cache_write_tokens), 0)
        FROM facts
        GROUP BY 2, tier, method, strategy, reason, model, applied
    ), keys AS (
        INSERT INTO routing_key_rollups
        SELECT
            3600, %1$L::timestamptz, key_hash, key_alias, team_id, tier, model, applied,
            count(*),
            count(*) FILTER (WHERE failed),
            count(*) FILTER (WHERE fell_back),
            count(*) FILTER (WHERE routed),
            count(*) FILTER (WHERE priced),
            coalesce(sum(spent), 0),
            coalesce(sum(cost) FILTER (WHERE priced), 0),
            coalesce(sum(baseline_cost) FILTER (WHERE priced), 0),
            coalesce(sum(learning_cost), 0),
            coalesce(sum(prompt_tokens), 0),
            coalesce(sum(completion_tokens), 0),
            coalesce(sum(cache_read_tokens), 0),
            coalesce(sum(cache_write_tokens), 0)
        FROM facts
        GROUP BY key_hash, key_alias, team_id, tier, model, applied
    )
    INSERT INTO routing_histograms
    SELECT 3600, %1$L::timestamptz, measure, CASE WHEN measure IN ('latency_ms', 'first_token_ms') THEN model ELSE '' END, bin, count(*)
    FROM facts
    CROSS JOIN LATERAL (
        VALUES
            ('score', complexity_score::integer),
            ('decision_us', bsg_bin(decision_us)),
            ('latency_ms', bsg_bin(latency_ms)),
            ('first_token_ms', bsg_bin(first_token_ms))
    ) measured (measure, bin)
    WHERE bin IS NOT NULL
    GROUP BY 3, 4, 5
    $query$, hour, after);
    PERFORM bsg_add_up(3600, hour, 'routing_rollups');
END
$$;
COMMENT ON FUNCTION bsg_roll_up_hour(timestamptz) IS 'Adds up one hour anew, and its quarters, from the rows of the log.';

CREATE FUNCTION bsg_add_up(wide integer, start timestamptz, rollups text) RETURNS void
    LANGUAGE plpgsql
AS $$
DECLARE
    below integer := CASE wide WHEN 86400 THEN 3600 ELSE 900 END;
    after timestamptz := start + make_interval(secs => wide);
    dimensions text;
    measures text;
BEGIN
    SELECT
        string_agg(quote_ident(attname), ', ' ORDER BY attnum)
            FILTER (WHERE atttypid IN ('text'::regtype, 'boolean'::regtype) OR attname = 'bin'),
        string_agg(format('sum(%I)', attname), ', ' ORDER BY attnum)
            FILTER (WHERE atttypid IN ('bigint'::regtype, 'double precision'::regtype))
    INTO dimensions, measures
    FROM pg_attribute
    WHERE attrelid = rollups::regclass AND attnum > 2 AND NOT attisdropped;
    EXECUTE format(
        'INSERT INTO %I SELECT $1, $2, %s, %s FROM %I WHERE span = $3 AND bucket >= $2 AND bucket < $4 GROUP BY %s',
        rollups, dimensions, measures, rollups, dimensions
    ) USING wide, start, below, after;
END
$$;
COMMENT ON FUNCTION bsg_add_up(integer, timestamptz, text) IS
    'Adds a span of one table of sums up from the next narrower ones. Dimensions stand before measures there.';

CREATE FUNCTION bsg_roll_up_day(day timestamptz) RETURNS void
    LANGUAGE plpgsql
AS $$
DECLARE
    rollups text;
BEGIN
    FOREACH rollups IN ARRAY ARRAY['routing_rollups', 'routing_key_rollups', 'routing_histograms'] LOOP
        EXECUTE format('DELETE FROM %I WHERE span = 86400 AND bucket = $1', rollups) USING day;
        PERFORM bsg_add_up(86400, day, rollups);
    END LOOP;
    DELETE FROM routing_rollup_marks WHERE span = 86400 AND bucket = day;
END
$$;
COMMENT ON FUNCTION bsg_roll_up_day(timestamptz) IS 'Adds up one day (UTC) anew, from its hours.';

-- Marks are deleted before the rows are read, in another statement: what is written in between is read twice rather than
-- missed. A day is added up once it is over; until then its mark says that there is no sum of it.
CREATE FUNCTION bsg_refresh_rollups(most integer, kept_since timestamptz DEFAULT '-infinity') RETURNS integer
    LANGUAGE plpgsql
AS $$
DECLARE
    hours timestamptz[];
    each  timestamptz;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7215366061838321239) THEN  -- one after that of bsg_make_partitions
        RETURN -1;
    END IF;
    -- bsg_make_partitions holds that of partitions. A statement that is planned while it moves rows knows nothing of the
    -- partition that they go to: it would find them nowhere.
    IF NOT pg_try_advisory_xact_lock_shared(7215366061838321238) THEN
        RETURN -1;
    END IF;
    WITH chosen AS (
        SELECT DISTINCT bsg_span(bucket, 3600) AS hour
        FROM routing_rollup_marks
        WHERE span = 900
        ORDER BY hour DESC
        LIMIT most
    ), taken AS (
        DELETE FROM routing_rollup_marks
        WHERE span = 900 AND bsg_span(bucket, 3600) IN (SELECT hour FROM chosen)
        RETURNING bucket
    )
    SELECT coalesce(array_agg(DISTINCT bsg_span(bucket, 3600)), '{}') INTO hours FROM taken;
    FOREACH each IN ARRAY hours LOOP
        CONTINUE WHEN each < kept_since;  -- rows of it may be gone, and its sums are what is left of them
        PERFORM bsg_roll_up_hour(each);
        INSERT INTO routing_rollup_marks (span, bucket)
        SELECT 86400, bsg_span(each, 86400)
        WHERE NOT EXISTS (SELECT FROM routing_rollup_marks WHERE span = 86400 AND bucket = bsg_span(each, 86400));
    END LOOP;
    FOR each IN
        SELECT DISTINCT bucket FROM routing_rollup_marks WHERE span = 86400 AND bucket < bsg_span(now(), 86400)
    LOOP
        PERFORM bsg_roll_up_day(each);
    END LOOP;
    RETURN cardinality(hours);
END
$$;
COMMENT ON FUNCTION bsg_refresh_rollups(integer, timestamptz) IS
    'Adds up anew what is marked, the newest hours first, at most so many; how many it did, -1 if somebody else is at it. '
    'Hours before kept_since stay as they are.';

CREATE FUNCTION bsg_cover(since timestamptz, until timestamptz)
    RETURNS TABLE (span integer, first timestamptz, last timestamptz)
    LANGUAGE sql STABLE STRICT
AS $$
    WITH hours AS (
        SELECT bsg_span(since + interval '3599.999999 seconds', 3600) AS low, bsg_span(until, 3600) AS high
    ), days AS (
        SELECT
            bsg_span(hours.low + interval '86399.999999 seconds', 86400) AS low,
            least(
                bsg_span(hours.high, 86400),
                (SELECT min(bucket) FROM routing_rollup_marks WHERE routing_rollup_marks.span = 86400)
            ) AS high
        FROM hours
    ), borders AS (
        SELECT
            CASE WHEN hours.low < hours.high THEN hours.low ELSE until END AS h1,
            CASE WHEN hours.low >= hours.high THEN until WHEN days.low < days.high THEN days.low ELSE hours.high END AS d1,
            CASE WHEN hours.low >= hours.high THEN until WHEN days.low < days.high THEN days.high ELSE hours.high END AS d2,
            CASE WHEN hours.low < hours.high THEN hours.high ELSE until END AS h2
        FROM hours, days
    )
    SELECT stretch.span, stretch.first, stretch.last
    FROM borders
    CROSS JOIN LATERAL (
        VALUES (900, since, h1), (3600, h1, d1), (86400, d1, d2), (3600, d2, h2), (900, h2, until)
    ) stretch (span, first, last)
    WHERE stretch.first < stretch.last
    ORDER BY stretch.first
$$;
COMMENT ON FUNCTION bsg_cover(timestamptz, timestamptz) IS
    'Stretches of rollups that make up a time, whose ends are quarters of an hour: buckets from first up to but not '
    'including last. Days that wait to be added up are covered by their hours.';

-- A key sees its own requests, newest first; a conversation its turns. While a large log is indexed it takes no rows:
-- they wait in the spool.
CREATE INDEX routing_logs_key_hash ON routing_logs (key_hash, decision_id) WHERE key_hash IS NOT NULL;
CREATE INDEX routing_logs_conversation_id ON routing_logs (conversation_id) WHERE conversation_id IS NOT NULL;

-- What there is already.
INSERT INTO routing_rollup_marks (span, bucket)
SELECT DISTINCT 900, bsg_span(bsg_uuid7_time(decision_id), 900) FROM routing_logs;

COMMENT ON TABLE routing_rollups IS 'Sums of the log by span of time and by what was decided. See bsg_refresh_rollups.';
COMMENT ON TABLE routing_key_rollups IS 'Sums of the log by span of time, key, team, tier and model.';
COMMENT ON TABLE routing_histograms IS 'How often scores and times fell into each bin, by span of time.';
COMMENT ON TABLE routing_rollup_marks IS 'Spans whose sums are to be made anew.';
