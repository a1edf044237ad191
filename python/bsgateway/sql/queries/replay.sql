-- What of the log can be decided anew, for `replay`, `calibrate` and off-policy estimates.

-- name: replay_rows(since, until, texts)
-- Decisions of a time, oldest first, with what they were made from, what came of them and, if asked for, the words of
-- the ask. Names are those of export_rows, so that an exported file does as well. Each table is limited by itself: a
-- condition on one side of a join is not carried over to the other.
SELECT
    d.decision_id,
    d.created_at,
    d.call_type,
    d.reason,
    d.original_model,
    d.resolved_model,
    d.tier,
    d.strategy,
    d.raw_score,
    d.bias,
    d.needs,
    d.features,
    d.feature_version,
    d.context_tokens,
    d.max_output_tokens,
    d.applied,
    d.conversation_id,
    d.previous_model,
    d.skipped,
    d.scorer_id,
    d.propensity,
    d.explored,
    d.llm_status,
    d.llm_model,
    d.llm_prompt,
    o.status AS outcome_status,
    o.served_group AS outcome_served_group,
    o.prompt_tokens AS outcome_prompt_tokens,
    o.completion_tokens AS outcome_completion_tokens,
    o.cache_read_tokens AS outcome_cache_read_tokens,
    o.cache_write_tokens AS outcome_cache_write_tokens,
    o.cost AS outcome_cost,
    o.finish_reason AS outcome_finish_reason,
    f.rating,
    c.weak_tier,
    c.strong_tier,
    c.weak_score,
    c.strong_score,
    t.ask
FROM routing_logs d
LEFT JOIN routing_outcomes o
    ON o.decision_id = d.decision_id
    AND o.decision_id >= bsg_uuid7_floor(:since)
    AND o.decision_id < bsg_uuid7_floor(:until)
LEFT JOIN (
    SELECT DISTINCT ON (decision_id) decision_id, rating
    FROM (  -- ordered by itself: before version 16, DISTINCT ON knows nothing between the whole order and none
        SELECT *
        FROM routing_feedback
        WHERE rating IS NOT NULL
          AND decision_id >= bsg_uuid7_floor(:since)
          AND decision_id < bsg_uuid7_floor(:until)
        ORDER BY decision_id, created_at DESC, source
    ) feedback
    ORDER BY decision_id, created_at DESC, source
) f ON f.decision_id = d.decision_id
LEFT JOIN routing_comparisons c
    ON c.decision_id = d.decision_id
    AND c.decision_id >= bsg_uuid7_floor(:since)
    AND c.decision_id < bsg_uuid7_floor(:until)
LEFT JOIN routing_texts t
    ON t.decision_id = d.decision_id
    AND t.decision_id >= bsg_uuid7_floor(:since)
    AND t.decision_id < bsg_uuid7_floor(:until)
    AND :texts
WHERE d.decision_id >= bsg_uuid7_floor(:since)
  AND d.decision_id < bsg_uuid7_floor(:until)
ORDER BY d.decision_id;

-- name: since_newest(since, until, most)$
-- The millisecond after the newest decision of a time that has `most` newer ones; nothing where there is none. Read by
-- the primary key, from its end.
SELECT bsg_uuid7_time(decision_id) + interval '1 millisecond'
FROM routing_logs
WHERE decision_id >= bsg_uuid7_floor(:since)
  AND decision_id < bsg_uuid7_floor(:until)
ORDER BY decision_id DESC
OFFSET :most
LIMIT 1;
