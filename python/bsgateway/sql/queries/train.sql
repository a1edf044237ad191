-- name: training_rows(since, until)
-- Scored decisions of a time, oldest first, with what came of them. Side requests are answered by the lowest tier
-- whatever their score, and where the gateway failed open nothing was scored: neither teaches anything. The order of
-- the columns is that of the fields of bsgateway.learn.labels.Logged.
SELECT
    decision_id,
    created_at,
    conversation_id,
    session_id,
    reason,
    tier,
    resolved_model,
    served_group,
    strategy,
    raw_score,
    features,
    feature_version,
    needs,
    ask,
    status,
    error_class,
    finish_reason,
    rating,
    label,
    label_source,
    weak_score,
    strong_score,
    judge,
    llm_status,
    llm_tier,
    llm_confidence
FROM routing_training
WHERE decision_id >= bsg_uuid7_floor(:since)
  AND decision_id < coalesce(bsg_uuid7_floor(:until), 'ffffffff-ffff-ffff-ffff-ffffffffffff')
  AND features IS NOT NULL
  AND reason NOT IN ('side_request', 'failed_open')
ORDER BY decision_id;
