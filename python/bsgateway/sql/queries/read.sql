-- name: newest(limit)
-- The newest decisions with their outcomes, newest first.
SELECT decision, outcome
FROM (SELECT d AS decision, d.decision_id FROM routing_logs d ORDER BY d.decision_id DESC LIMIT :limit) newest
LEFT JOIN routing_outcomes outcome ON outcome.decision_id = newest.decision_id
ORDER BY newest.decision_id DESC;

-- name: following(after, limit)
-- The decisions that follow an id, with their outcomes, oldest first.
SELECT decision, outcome
FROM (
    SELECT d AS decision, d.decision_id
    FROM routing_logs d
    WHERE d.decision_id > :after
    ORDER BY d.decision_id
    LIMIT :limit
) following
LEFT JOIN routing_outcomes outcome ON outcome.decision_id = following.decision_id
ORDER BY following.decision_id;

-- name: savings(since)
-- Requests and costs of each tier since a moment. Costs add up only where both are known.
SELECT
    d.tier,
    count(*) AS requests,
    count(*) FILTER (WHERE o.status = 'failure') AS failed,
    count(*) FILTER (WHERE o.cost IS NOT NULL AND o.baseline_cost IS NOT NULL) AS priced,
    coalesce(sum(o.cost) FILTER (WHERE o.baseline_cost IS NOT NULL), 0) AS cost,
    coalesce(sum(o.baseline_cost) FILTER (WHERE o.cost IS NOT NULL), 0) AS baseline_cost
FROM routing_logs d
LEFT JOIN routing_outcomes o ON o.decision_id = d.decision_id AND o.decision_id >= bsg_uuid7_floor(:since)
WHERE d.decision_id >= bsg_uuid7_floor(:since)
GROUP BY d.tier
ORDER BY d.tier;

-- name: counts()^
SELECT
    (SELECT count(*) FROM routing_logs) AS logs,
    (SELECT count(*) FROM routing_texts) AS texts,
    (SELECT count(*) FROM routing_outcomes) AS outcomes,
    (SELECT count(*) FROM routing_feedback) AS feedback,
    (SELECT count(*) FROM routing_dead_letters) AS dead_letters,
    (SELECT count(*) FROM routing_comparisons) AS comparisons;
