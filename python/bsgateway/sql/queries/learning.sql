-- name: nth_newest_decision(since, n)$
-- The last of the n newest decisions; null if there are fewer since that moment.
SELECT decision_id
FROM routing_logs
WHERE decision_id >= bsg_uuid7_floor(:since)
ORDER BY decision_id DESC
OFFSET :n - 1
LIMIT 1;

-- name: nth_newest_feedback(since, n)$
-- The same of feedback, in the order of the decisions that it is about.
SELECT decision_id
FROM routing_feedback
WHERE decision_id >= bsg_uuid7_floor(:since)
ORDER BY decision_id DESC
OFFSET :n - 1
LIMIT 1;

-- name: compared(since)
-- Dual runs by how they were judged.
SELECT judge, count(*) AS count
FROM routing_comparisons
WHERE decision_id >= bsg_uuid7_floor(:since)
GROUP BY judge;

-- name: rated(first)
-- The newest feedback on each decision from an id on that training reads, by all that its label depends on: a rating
-- counts as below 0.5 (0) or not (1).
SELECT f.label, f.source AS label_source, f.rating, d.tier, d.resolved_model, o.served_group, count(*) AS count
FROM (
    SELECT DISTINCT ON (decision_id)
        decision_id,
        label,
        source,
        CASE WHEN rating < 0.5 THEN 0.0 WHEN rating >= 0.5 THEN 1.0 END::double precision AS rating
    FROM routing_feedback
    WHERE decision_id >= :first
    ORDER BY decision_id, created_at DESC, source
) f
JOIN routing_logs d ON d.decision_id = f.decision_id
LEFT JOIN routing_outcomes o ON o.decision_id = d.decision_id
WHERE d.features IS NOT NULL
  AND d.reason NOT IN ('side_request', 'failed_open')
GROUP BY 1, 2, 3, 4, 5, 6;

-- name: look_up_each()#
-- For the rest of the transaction: plans that look up the rows of a few decisions one by one, instead of those that
-- walk whole tables to them.
SET LOCAL enable_hashjoin = off;
SET LOCAL enable_mergejoin = off;
SET LOCAL enable_partitionwise_join = off;
SET LOCAL jit = off;
