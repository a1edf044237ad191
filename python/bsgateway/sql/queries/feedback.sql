-- name: maker_of_decision(decision_id)^
-- The key that a decision was made for, and how often something was said of it.
SELECT key_hash, (SELECT count(*) FROM routing_feedback WHERE decision_id = :decision_id) AS said
FROM routing_logs
WHERE decision_id = :decision_id;

-- name: insert_feedback(decision_id, source, rating, label, comment)!
INSERT INTO routing_feedback (decision_id, source, rating, label, comment, created_at)
VALUES (:decision_id, :source, :rating, :label, :comment, clock_timestamp());
