-- What the log adds up to, and lists of its rows, for pages and reports. See migration 0010.
--
-- Sums of millions of rows are made of thousands of sums. Each stretch of time is read by itself, through an index: that
-- is what the subqueries with an aggregate in LATERAL are for, as a plan that hashes the tables would read them whole.

-- name: begin_reading()#
-- For the rest of the transaction. What parameters leave out is left out of the plan; and none of these plans is worth
-- compiling.
SET LOCAL statement_timeout = 5000;
SET LOCAL plan_cache_mode = force_custom_plan;
SET LOCAL jit = off;

-- name: state_of_sums(since)^
-- Rows that were written after `as_of` may be missing; of the day `waiting` and of later ones there may be no sums, but of
-- their hours. Any uuid may come by SQL: no period reaches the year 10000, which Python cannot tell.
SELECT
    (SELECT coalesce(min(marked_at), now()) FROM routing_rollup_marks WHERE span = 900) AS as_of,
    (
        SELECT min(bucket)
        FROM routing_rollup_marks
        WHERE span = 86400 AND bucket >= :since AND bucket < '9999-12-31 00:00:00+00'
    ) AS waiting;

-- name: sums(places, spans, firsts, lasts, dimensions)
-- Sums of all requests, by places and by the dimensions that are named; the others are null, as '' stands for none. At
-- places[i] count the buckets of spans[i] seconds from firsts[i] up to lasts[i].
SELECT
    stretch.place,
    found.tier,
    found.method,
    found.strategy,
    found.reason,
    found.model,
    sum(found.requests)::bigint AS requests,
    sum(found.failed)::bigint AS failed,
    sum(found.fell_back)::bigint AS fell_back,
    sum(found.routed)::bigint AS routed,
    sum(found.priced)::bigint AS priced,
    sum(found.spent) AS spent,
    sum(found.cost) AS cost,
    sum(found.baseline_cost) AS baseline_cost,
    sum(found.learning_cost) AS learning_cost,
    sum(found.prompt_tokens)::bigint AS prompt_tokens,
    sum(found.completion_tokens)::bigint AS completion_tokens,
    sum(found.cache_read_tokens)::bigint AS cache_read_tokens,
    sum(found.cache_write_tokens)::bigint AS cache_write_tokens
FROM unnest(:places::integer[], :spans::integer[], :firsts::timestamptz[], :lasts::timestamptz[])
    AS stretch (place, span, first, last)
CROSS JOIN LATERAL (
    SELECT
        CASE WHEN 'tier' = ANY (:dimensions::text[]) THEN r.tier END AS tier,
        CASE WHEN 'method' = ANY (:dimensions::text[]) THEN r.method END AS method,
        CASE WHEN 'strategy' = ANY (:dimensions::text[]) THEN r.strategy END AS strategy,
        CASE WHEN 'reason' = ANY (:dimensions::text[]) THEN r.reason END AS reason,
        CASE WHEN 'model' = ANY (:dimensions::text[]) THEN r.model END AS model,
        sum(r.requests) AS requests,
        sum(r.failed) AS failed,
        sum(r.fell_back) AS fell_back,
        sum(r.routed) AS routed,
        sum(r.priced) AS priced,
        sum(r.spent) AS spent,
        sum(r.cost) AS cost,
        sum(r.baseline_cost) AS baseline_cost,
        sum(r.learning_cost) AS learning_cost,
        sum(r.prompt_tokens) AS prompt_tokens,
        sum(r.completion_tokens) AS completion_tokens,
        sum(r.cache_read_tokens) AS cache_read_tokens,
        sum(r.cache_write_tokens) AS cache_write_tokens
    FROM routing_rollups r
    WHERE r.span = stretch.span AND r.bucket >= stretch.first AND r.bucket < stretch.last
    GROUP BY 1, 2, 3, 4, 5
) found
GROUP BY stretch.place, found.tier, found.method, found.strategy, found.reason, found.model
ORDER BY stretch.place;

-- name: key_sums(places, spans, firsts, lasts, dimensions, key)
-- The same of one key, or with their keys of all (key null). Of keys there are no sums of quarters: what whole hours do
-- not cover is added up from the rows. `newest` tells which alias a key had last.
SELECT
    stretch.place,
    found.key_hash,
    found.key_alias,
    found.team_id,
    found.tier,
    found.model,
    max(found.newest) AS newest,
    sum(found.requests)::bigint AS requests,
    sum(found.failed)::bigint AS failed,
    sum(found.fell_back)::bigint AS fell_back,
    sum(found.routed)::bigint AS routed,
    sum(found.priced)::bigint AS priced,
    sum(found.spent) AS spent,
    sum(found.cost) AS cost,
    sum(found.baseline_cost) AS baseline_cost,
    sum(found.learning_cost) AS learning_cost,
    sum(found.prompt_tokens)::bigint AS prompt_tokens,
    sum(found.completion_tokens)::bigint AS completion_tokens,
    sum(found.cache_read_tokens)::bigint AS cache_read_tokens,
    sum(found.cache_write_tokens)::bigint AS cache_write_tokens
FROM unnest(:places::integer[], :spans::integer[], :firsts::timestamptz[], :lasts::timestamptz[])
    AS stretch (place, span, first, last)
CROSS JOIN LATERAL (
    SELECT
        CASE WHEN 'key' = ANY (:dimensions::text[]) THEN r.key_hash END AS key_hash,
        CASE WHEN 'key' = ANY (:dimensions::text[]) THEN r.key_alias END AS key_alias,
        CASE WHEN 'team' = ANY (:dimensions::text[]) THEN r.team_id END AS team_id,
        CASE WHEN 'tier' = ANY (:dimensions::text[]) THEN r.tier END AS tier,
        CASE WHEN 'model' = ANY (:dimensions::text[]) THEN r.model END AS model,
        max(r.bucket) AS newest,
        sum(r.requests) AS requests,
        sum(r.failed) AS failed,
        sum(r.fell_back) AS fell_back,
        sum(r.routed) AS routed,
        sum(r.priced) AS priced,
        sum(r.spent) AS spent,
        sum(r.cost) AS cost,
        sum(r.baseline_cost) AS baseline_cost,
        sum(r.learning_cost) AS learning_cost,
        sum(r.prompt_tokens) AS prompt_tokens,
        sum(r.completion_tokens) AS completion_tokens,
        sum(r.cache_read_tokens) AS cache_read_tokens,
        sum(r.cache_write_tokens) AS cache_write_tokens
    FROM routing_key_rollups r
    WHERE r.span = stretch.span AND r.bucket >= stretch.first AND r.bucket < stretch.last
      AND stretch.span > 900
      AND (:key::text IS NULL OR r.key_hash = :key)
    GROUP BY 1, 2, 3, 4, 5
    UNION ALL
    SELECT
        CASE WHEN 'key' = ANY (:dimensions::text[]) THEN coalesce(d.key_hash, '') END,
        CASE WHEN 'key' = ANY (:dimensions::text[]) THEN coalesce(d.key_alias, '') END,
        CASE WHEN 'team' = ANY (:dimensions::text[]) THEN coalesce(d.team_id, '') END,
        CASE WHEN 'tier' = ANY (:dimensions::text[]) THEN coalesce(d.tier, '') END,
        CASE WHEN 'model' = ANY (:dimensions::text[]) THEN
            coalesce(o.served_group, CASE WHEN d.applied IS NOT FALSE THEN d.resolved_model END, d.original_model)
        END,
        stretch.first,
        count(*),
        count(*) FILTER (WHERE o.status = 'failure'),
        count(*) FILTER (
            WHERE o.status = 'success' AND d.applied IS NOT FALSE AND o.served_group <> d.resolved_model
        ),
        count(*) FILTER (WHERE d.tier IS NOT NULL AND d.applied IS NOT FALSE),
        count(*) FILTER (
            WHERE d.tier IS NOT NULL AND d.applied IS NOT FALSE
              AND o.cost IS NOT NULL AND o.baseline_cost IS NOT NULL
        ),
        coalesce(sum(o.cost), 0),
        coalesce(sum(o.cost) FILTER (
            WHERE d.tier IS NOT NULL AND d.applied IS NOT FALSE AND o.baseline_cost IS NOT NULL
        ), 0),
        coalesce(sum(o.baseline_cost) FILTER (
            WHERE d.tier IS NOT NULL AND d.applied IS NOT FALSE AND o.cost IS NOT NULL
        ), 0),
        coalesce(sum(c.cost), 0),
        coalesce(sum(o.prompt_tokens), 0),
        coalesce(sum(o.completion_tokens), 0),
        coalesce(sum(o.cache_read_tokens), 0),
        coalesce(sum(o.cache_write_tokens), 0)
    FROM routing_logs d
    LEFT JOIN routing_outcomes o
        ON o.decision_id = d.decision_id
        AND o.decision_id >= bsg_uuid7_floor(stretch.first)
        AND o.decision_id < bsg_uuid7_floor(stretch.last)
    LEFT JOIN routing_comparisons c
        ON c.decision_id = d.decision_id
        AND c.decision_id >= bsg_uuid7_floor(stretch.first)
        AND c.decision_id < bsg_uuid7_floor(stretch.last)
    WHERE d.decision_id >= bsg_uuid7_floor(stretch.first)
      AND d.decision_id < bsg_uuid7_floor(stretch.last)
      AND stretch.span = 900
      AND (:key::text IS NULL OR d.key_hash = :key)
    GROUP BY 1, 2, 3, 4, 5
) found
GROUP BY stretch.place, found.key_hash, found.key_alias, found.team_id, found.tier, found.model
ORDER BY stretch.place;

-- name: histograms(spans, firsts, lasts)
SELECT found.measure, found.model, found.bin, sum(found.count)::bigint AS count
FROM unnest(:spans::integer[], :firsts::timestamptz[], :lasts::timestamptz[]) AS stretch (span, first, last)
CROSS JOIN LATERAL (
    SELECT h.measure, h.model, h.bin, sum(h.count) AS count
    FROM routing_histograms h
    WHERE h.span = stretch.span AND h.bucket >= stretch.first AND h.bucket < stretch.last
    GROUP BY 1, 2, 3
) found
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3;

-- name: key_histograms(key, since, until, most)
-- Of the newest rows of a key, `most` at most, whose outcomes are looked up one by one: in the time that they come from,
-- there are those of all keys.
WITH newest AS MATERIALIZED (
    SELECT decision_id, complexity_score, decision_us, applied, original_model, resolved_model
    FROM routing_logs
    WHERE key_hash = :key AND decision_id >= bsg_uuid7_floor(:since) AND decision_id < bsg_uuid7_floor(:until)
    ORDER BY decision_id DESC
    LIMIT :most
)
SELECT
    measured.measure,
    CASE
        WHEN measured.measure IN ('latency_ms', 'first_token_ms') THEN
            coalesce(o.served_group, CASE WHEN d.applied IS NOT FALSE THEN d.resolved_model END, d.original_model)
        ELSE ''
    END AS model,
    measured.bin,
    count(*) AS count
FROM newest d
LEFT JOIN LATERAL (
    SELECT served_group, latency_ms, first_token_ms FROM routing_outcomes WHERE decision_id = d.decision_id LIMIT 1
) o ON true
CROSS JOIN LATERAL (
    VALUES
        ('score', d.complexity_score::integer),
        ('decision_us', bsg_bin(d.decision_us)),
        ('latency_ms', bsg_bin(o.latency_ms)),
        ('first_token_ms', bsg_bin(o.first_token_ms))
) measured (measure, bin)
WHERE measured.bin IS NOT NULL
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3;

-- name: key_mix(key, since, until, most)
-- How the newest rows of a key were decided, `most` at most.
SELECT method, coalesce(strategy, '') AS strategy, reason, count(*) AS requests
FROM (
    SELECT method, strategy, reason
    FROM routing_logs
    WHERE key_hash = :key AND decision_id >= bsg_uuid7_floor(:since) AND decision_id < bsg_uuid7_floor(:until)
    ORDER BY decision_id DESC
    LIMIT :most
) newest
GROUP BY 1, 2, 3;

-- name: baseline_models(since, until, most)
-- The models that the newest baseline costs were computed with, from so many outcomes at most.
SELECT DISTINCT baseline_model
FROM (
    SELECT baseline_model
    FROM routing_outcomes
    WHERE decision_id >= bsg_uuid7_floor(:since) AND decision_id < bsg_uuid7_floor(:until)
    ORDER BY decision_id DESC
    LIMIT :most
) newest
WHERE baseline_model IS NOT NULL
ORDER BY 1;
