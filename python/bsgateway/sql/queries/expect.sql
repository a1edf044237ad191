-- What the log says of answers to come.

-- name: expected_output(since, most, least)
-- Output tokens to expect of a model group in a tier, from the newest decisions since a moment, `most` at most; only
-- where at least `least` answers are known. The mean and not the median, as costs add up; and without what lies beyond
-- the 95th percentile, which counts as that: one answer that never ended must not make a model dear for a month.
-- The newest are read by the primary key, from its end. The bound on the outcomes is what they can match at all: it
-- leaves older partitions out, whatever plan is chosen.
WITH newest AS MATERIALIZED (
    SELECT decision_id, tier
    FROM routing_logs
    WHERE decision_id >= bsg_uuid7_floor(:since)
    ORDER BY decision_id DESC
    LIMIT :most
), answers AS MATERIALIZED (
    SELECT d.tier, o.served_group, o.completion_tokens
    FROM newest d
    JOIN routing_outcomes o ON o.decision_id = d.decision_id
    WHERE d.tier IS NOT NULL
      AND o.status = 'success'
      AND o.served_group IS NOT NULL
      AND o.completion_tokens IS NOT NULL
      AND o.decision_id >= (SELECT decision_id FROM newest ORDER BY decision_id LIMIT 1)
), groups AS (
    SELECT tier, served_group, percentile_cont(0.95) WITHIN GROUP (ORDER BY completion_tokens) AS high
    FROM answers
    GROUP BY tier, served_group
    HAVING count(*) >= :least
)
SELECT tier, served_group, avg(least(completion_tokens, high)) AS tokens
FROM answers
JOIN groups USING (tier, served_group)
GROUP BY tier, served_group;
