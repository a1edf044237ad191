-- What `bsgateway logs purge` erases. Parameters stand in the order in which they are first used: some of these take
-- minutes, so they are called with a time-out of their own, by position.

-- name: purge_counts(user, key, before, ids, digests)^
-- Rows of each table that belong to the decisions of a user and of a key before a moment, as far as these are given, or
-- to the decisions `ids`; and the dead letters `digests`.
WITH chosen AS MATERIALIZED (
    SELECT decision_id
    FROM routing_logs
    WHERE (:user::text IS NULL OR user_id = :user OR end_user = :user)
      AND (:key::text IS NULL OR key_alias = :key OR key_hash = :key)
      AND decision_id < coalesce(bsg_uuid7_floor(:before), 'ffffffff-ffff-ffff-ffff-ffffffffffff')
    UNION
    SELECT unnest(:ids::uuid[])
)
SELECT
    (SELECT count(*) FROM routing_logs WHERE decision_id IN (SELECT * FROM chosen)) AS routing_logs,
    (SELECT count(*) FROM routing_texts WHERE decision_id IN (SELECT * FROM chosen)) AS routing_texts,
    (SELECT count(*) FROM routing_outcomes WHERE decision_id IN (SELECT * FROM chosen)) AS routing_outcomes,
    (SELECT count(*) FROM routing_feedback WHERE decision_id IN (SELECT * FROM chosen)) AS routing_feedback,
    (SELECT count(*) FROM routing_comparisons WHERE decision_id IN (SELECT * FROM chosen)) AS routing_comparisons,
    (
        SELECT count(*)
        FROM routing_dead_letters
        WHERE decision_id IN (SELECT * FROM chosen) OR digest = ANY (:digests::bytea[])
    ) AS routing_dead_letters;

-- name: purge_counts_before(before, digests)^
-- Rows of each table that belong to decisions before a moment, whether or not routing_logs has them; and the dead
-- letters `digests`.
SELECT
    (SELECT count(*) FROM routing_logs WHERE decision_id < bsg_uuid7_floor(:before)) AS routing_logs,
    (SELECT count(*) FROM routing_texts WHERE decision_id < bsg_uuid7_floor(:before)) AS routing_texts,
    (SELECT count(*) FROM routing_outcomes WHERE decision_id < bsg_uuid7_floor(:before)) AS routing_outcomes,
    (SELECT count(*) FROM routing_feedback WHERE decision_id < bsg_uuid7_floor(:before)) AS routing_feedback,
    (SELECT count(*) FROM routing_comparisons WHERE decision_id < bsg_uuid7_floor(:before)) AS routing_comparisons,
    (
        SELECT count(*)
        FROM routing_dead_letters
        WHERE decision_id < bsg_uuid7_floor(:before) OR digest = ANY (:digests::bytea[])
    ) AS routing_dead_letters;

-- name: purge_next(user, key, before, after, limit)
-- The first ids after one, in order, of the decisions of a user and of a key before a moment.
SELECT decision_id
FROM routing_logs
WHERE (:user::text IS NULL OR user_id = :user OR end_user = :user)
  AND (:key::text IS NULL OR key_alias = :key OR key_hash = :key)
  AND decision_id < coalesce(bsg_uuid7_floor(:before), 'ffffffff-ffff-ffff-ffff-ffffffffffff')
  AND decision_id > :after
ORDER BY decision_id
LIMIT :limit;

-- name: purge_next_before(before, after, limit)
-- The first ids after one, in order, of the decisions before a moment that any table has rows of. The smallest of all
-- are among the smallest of each.
(
    SELECT decision_id FROM routing_logs
    WHERE decision_id < bsg_uuid7_floor(:before) AND decision_id > :after ORDER BY decision_id LIMIT :limit
)
UNION
(
    SELECT decision_id FROM routing_texts
    WHERE decision_id < bsg_uuid7_floor(:before) AND decision_id > :after ORDER BY decision_id LIMIT :limit
)
UNION
(
    SELECT decision_id FROM routing_outcomes
    WHERE decision_id < bsg_uuid7_floor(:before) AND decision_id > :after ORDER BY decision_id LIMIT :limit
)
UNION
(
    SELECT decision_id FROM routing_comparisons
    WHERE decision_id < bsg_uuid7_floor(:before) AND decision_id > :after ORDER BY decision_id LIMIT :limit
)
UNION
(
    SELECT DISTINCT decision_id FROM routing_feedback
    WHERE decision_id < bsg_uuid7_floor(:before) AND decision_id > :after ORDER BY decision_id LIMIT :limit
)
UNION
(
    SELECT DISTINCT decision_id FROM routing_dead_letters
    WHERE decision_id < bsg_uuid7_floor(:before) AND decision_id > :after ORDER BY decision_id LIMIT :limit
)
ORDER BY decision_id
LIMIT :limit;

-- name: purge_decisions(ids, digests)^
-- Erase the rows of some decisions from all tables, and some dead letters; rows erased of each table.
WITH
    logs AS (DELETE FROM routing_logs WHERE decision_id = ANY (:ids::uuid[]) RETURNING 1),
    texts AS (DELETE FROM routing_texts WHERE decision_id = ANY (:ids::uuid[]) RETURNING 1),
    outcomes AS (DELETE FROM routing_outcomes WHERE decision_id = ANY (:ids::uuid[]) RETURNING 1),
    feedback AS (DELETE FROM routing_feedback WHERE decision_id = ANY (:ids::uuid[]) RETURNING 1),
    comparisons AS (DELETE FROM routing_comparisons WHERE decision_id = ANY (:ids::uuid[]) RETURNING 1),
    dead_letters AS (
        DELETE FROM routing_dead_letters
        WHERE decision_id = ANY (:ids::uuid[]) OR digest = ANY (:digests::bytea[])
        RETURNING 1
    )
SELECT
    (SELECT count(*) FROM logs) AS routing_logs,
    (SELECT count(*) FROM texts) AS routing_texts,
    (SELECT count(*) FROM outcomes) AS routing_outcomes,
    (SELECT count(*) FROM feedback) AS routing_feedback,
    (SELECT count(*) FROM comparisons) AS routing_comparisons,
    (SELECT count(*) FROM dead_letters) AS routing_dead_letters;

-- name: purge_letters(before, after, limit)
-- Dead letters that are decisions, or that belong to none, from before a moment if one is given, in the order of their
-- digests.
SELECT digest, decision_id, payload
FROM routing_dead_letters
WHERE (kind = 'Decision' OR decision_id IS NULL)
  AND (:before::timestamptz IS NULL OR coalesce(decision_id < bsg_uuid7_floor(:before), refused_at < :before))
  AND digest > :after
ORDER BY digest
LIMIT :limit;
