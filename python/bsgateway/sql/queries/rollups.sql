-- The sums of the log: see migration 0010.

-- name: refresh_rollups(most, kept_since)$
SELECT bsg_refresh_rollups(:most, :kept_since);

-- name: rollups_waiting()$
-- Hours that wait to be added up.
SELECT count(DISTINCT bsg_span(bucket, 3600)) FROM routing_rollup_marks WHERE span = 900;

-- name: rollups_as_of()$
-- Rows that were written after this moment may be missing in the sums.
SELECT coalesce(min(marked_at), now()) FROM routing_rollup_marks WHERE span = 900;

-- name: purge_key_rollups_count(key, before)$
SELECT count(*)
FROM routing_key_rollups
WHERE (key_alias = :key OR key_hash = :key)
  AND bucket + make_interval(secs => span) <= coalesce(:before::timestamptz, 'infinity');

-- name: purge_key_rollups(key, before)!
-- The sums of a key whose rows are gone already. What still has rows is added up anew without them.
DELETE FROM routing_key_rollups
WHERE (key_alias = :key OR key_hash = :key)
  AND bucket + make_interval(secs => span) <= coalesce(:before::timestamptz, 'infinity');
