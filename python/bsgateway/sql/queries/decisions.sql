-- Lists of decisions, newest first. Which spans of time can hold what is looked for is read from the sums: a rare row is
-- found without reading the log.

-- name: oldest_decision()$
-- The partitions have an order, and each of them an index: one look into each.
SELECT decision_id FROM routing_logs ORDER BY decision_id LIMIT 1;

-- name: keys_called(name)$
-- The keys of this hash, and those that had this alias when they were last added up: one look into an index for each key
-- that there is; and those that have it among the newest rows, which may not have been added up yet.
WITH RECURSIVE keys AS (
    (SELECT key_hash FROM routing_key_rollups WHERE key_hash > '' ORDER BY key_hash LIMIT 1)
    UNION ALL
    SELECT following.key_hash
    FROM keys
    CROSS JOIN LATERAL (
        SELECT r.key_hash FROM routing_key_rollups r WHERE r.key_hash > keys.key_hash ORDER BY r.key_hash LIMIT 1
    ) following
), aliases AS (
    SELECT keys.key_hash, newest.key_alias
    FROM keys
    CROSS JOIN (VALUES (3600), (86400)) wide (span)
    CROSS JOIN LATERAL (
        SELECT r.bucket, r.key_alias
        FROM routing_key_rollups r
        WHERE r.key_hash = keys.key_hash AND r.span = wide.span
        ORDER BY r.bucket DESC
        LIMIT 1
    ) newest
), recent AS (
    SELECT key_hash, key_alias FROM routing_logs ORDER BY decision_id DESC LIMIT 5000
)
SELECT array_agg(DISTINCT key_hash)
FROM (
    SELECT :name::text AS key_hash
    UNION SELECT key_hash FROM aliases WHERE key_alias = :name
    UNION SELECT key_hash FROM recent WHERE key_alias = :name AND key_hash IS NOT NULL
) called;

-- name: waiting_spans(since, until)
-- Spans whose sums are old or not there: anything may have been written in them.
SELECT DISTINCT span, bucket
FROM routing_rollup_marks
WHERE bucket >= :since AND bucket < :until
ORDER BY bucket DESC, span;

-- name: spans_with(span, sinces, untils, tier, method, strategy, reason, model, applied, status, fell_back)
-- The spans between sinces[i] and untils[i], newest first, that hold requests of these dimensions: how many `requests` at most, and of how many `read`.
-- Null: any.
SELECT found.bucket, found.read, found.requests
FROM unnest(:sinces::timestamptz[], :untils::timestamptz[]) AS stretch (since, until)
CROSS JOIN LATERAL (
    SELECT
        r.bucket,
        sum(r.requests)::bigint AS read,
        (sum(least(
            CASE WHEN :status::text IS NULL THEN r.requests WHEN :status = 'failure' THEN r.failed ELSE r.requests - r.failed END,
            CASE
                WHEN :fell_back::boolean IS NULL THEN r.requests
                WHEN :fell_back THEN r.fell_back
                ELSE r.requests - r.fell_back
            END
        )) FILTER (
            WHERE (:tier::text IS NULL OR r.tier = :tier)
              AND (:method::text IS NULL OR r.method = :method)
              AND (:strategy::text IS NULL OR r.strategy = :strategy)
              AND (:reason::text IS NULL OR r.reason = :reason)
              AND (:model::text IS NULL OR r.model = :model)
              AND (:applied::boolean IS NULL OR r.applied = :applied)
        ))::bigint AS requests
    FROM routing_rollups r
    WHERE r.span = :span AND r.bucket >= stretch.since AND r.bucket < stretch.until
    GROUP BY r.bucket
) found
WHERE found.requests > 0
ORDER BY found.bucket DESC;

-- name: key_spans_with(keys, span, sinces, untils, tier, model, applied, status, fell_back)
-- The same of some keys; of them there are no quarters of an hour, and no sums by method, strategy and reason.
SELECT found.bucket, found.read, found.requests
FROM unnest(:sinces::timestamptz[], :untils::timestamptz[]) AS stretch (since, until)
CROSS JOIN LATERAL (
    SELECT
        r.bucket,
        sum(r.requests)::bigint AS read,
        (sum(least(
            CASE WHEN :status::text IS NULL THEN r.requests WHEN :status = 'failure' THEN r.failed ELSE r.requests - r.failed END,
            CASE
                WHEN :fell_back::boolean IS NULL THEN r.requests
                WHEN :fell_back THEN r.fell_back
                ELSE r.requests - r.fell_back
            END
        )) FILTER (
            WHERE (:tier::text IS NULL OR r.tier = :tier)
              AND (:model::text IS NULL OR r.model = :model)
              AND (:applied::boolean IS NULL OR r.applied = :applied)
        ))::bigint AS requests
    FROM routing_key_rollups r
    WHERE r.key_hash = ANY (:keys::text[]) AND r.span = :span AND r.bucket >= stretch.since AND r.bucket < stretch.until
    GROUP BY r.bucket
) found
WHERE found.requests > 0
ORDER BY found.bucket DESC;

-- name: decisions_between(lows, highs, keys, tier, method, strategy, reason, model, applied, status, fell_back, most)
-- The newest ids in the ranges from lows[i] up to highs[i], newest first, `most` at most.
SELECT found.decision_id
FROM unnest(:lows::uuid[], :highs::uuid[]) AS stretch (low, high)
CROSS JOIN LATERAL (
    SELECT d.decision_id
    FROM routing_logs d
    LEFT JOIN routing_outcomes o
        ON o.decision_id = d.decision_id AND o.decision_id >= stretch.low AND o.decision_id < stretch.high
    WHERE d.decision_id >= stretch.low AND d.decision_id < stretch.high
      AND (:keys::text[] IS NULL OR d.key_hash = ANY (:keys))
      AND (:tier::text IS NULL OR coalesce(d.tier, '') = :tier)
      AND (:method::text IS NULL OR d.method = :method)
      AND (:strategy::text IS NULL OR coalesce(d.strategy, '') = :strategy)
      AND (:reason::text IS NULL OR d.reason = :reason)
      AND (
          :model::text IS NULL
          OR coalesce(o.served_group, CASE WHEN d.applied IS NOT FALSE THEN d.resolved_model END, d.original_model) = :model
      )
      AND (:applied::boolean IS NULL OR (d.applied IS NOT FALSE) = :applied)
      AND (:status::text IS NULL OR coalesce(o.status, 'pending') = :status)
      AND (
          :fell_back::boolean IS NULL
          OR coalesce(o.status = 'success' AND d.applied IS NOT FALSE AND o.served_group <> d.resolved_model, false)
              = :fell_back
      )
    ORDER BY d.decision_id DESC
    LIMIT :most
) found
ORDER BY found.decision_id DESC
LIMIT :most;

-- name: decisions_called(conversation_id, session_id, call_id, keys, low, high, tier, method, strategy, reason, model, applied, status, fell_back, most)
-- The same of a conversation, a session or a call, each of which has an index. Materialized, as the plan that walks all
-- ids in their order until it has found enough would be wrong for a few rows.
WITH called AS MATERIALIZED (
    SELECT d.decision_id, d.tier, d.method, d.strategy, d.reason, d.applied, d.original_model, d.resolved_model
    FROM routing_logs d
    WHERE (:conversation_id::text IS NULL OR d.conversation_id = :conversation_id)
      AND (:session_id::text IS NULL OR d.session_id = :session_id)
      AND (:call_id::text IS NULL OR d.call_id = :call_id)
      AND (:keys::text[] IS NULL OR d.key_hash = ANY (:keys))
      AND d.decision_id >= :low AND d.decision_id < :high
)
SELECT d.decision_id
FROM called d
LEFT JOIN routing_outcomes o ON o.decision_id = d.decision_id AND o.decision_id >= :low AND o.decision_id < :high
WHERE (:tier::text IS NULL OR coalesce(d.tier, '') = :tier)
  AND (:method::text IS NULL OR d.method = :method)
  AND (:strategy::text IS NULL OR coalesce(d.strategy, '') = :strategy)
  AND (:reason::text IS NULL OR d.reason = :reason)
  AND (
      :model::text IS NULL
      OR coalesce(o.served_group, CASE WHEN d.applied IS NOT FALSE THEN d.resolved_model END, d.original_model) = :model
  )
  AND (:applied::boolean IS NULL OR (d.applied IS NOT FALSE) = :applied)
  AND (:status::text IS NULL OR coalesce(o.status, 'pending') = :status)
  AND (
      :fell_back::boolean IS NULL
      OR coalesce(o.status = 'success' AND d.applied IS NOT FALSE AND o.served_group <> d.resolved_model, false)
          = :fell_back
  )
ORDER BY d.decision_id DESC
LIMIT :most;

-- name: decision_rows(ids)
-- Decisions with their outcomes, newest first.
SELECT d AS decision, o AS outcome
FROM routing_logs d
LEFT JOIN routing_outcomes o ON o.decision_id = d.decision_id AND o.decision_id = ANY (:ids::uuid[])
WHERE d.decision_id = ANY (:ids::uuid[])
ORDER BY d.decision_id DESC;

-- name: decision_texts(id)^
SELECT decision_id, created_at, ask, system, coalesce(redacted, false) AS redacted
FROM routing_texts
WHERE decision_id = :id;

-- name: decision_feedback(id, most)
-- Oldest first; if there is more, the newest of it.
SELECT created_at, source, rating, label, comment
FROM (SELECT * FROM routing_feedback WHERE decision_id = :id ORDER BY created_at DESC, source LIMIT :most) newest
ORDER BY created_at, source;

-- name: decision_comparison(id)^
SELECT weak_tier, strong_tier, weak_model, strong_model, weak_score, strong_score, judge, cost
FROM routing_comparisons
WHERE decision_id = :id;
