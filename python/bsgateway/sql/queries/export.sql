-- name: stream_in_order()#
-- For the rest of the transaction: plans that give the first row at once and walk the primary keys of the tables side by
-- side, instead of those that sort or hash a table first, or that take a table for small which has grown since it was
-- analyzed. Compiling such a plan costs more than it saves.
SET LOCAL enable_sort = off;
SET LOCAL enable_hashjoin = off;
SET LOCAL enable_nestloop = off;
SET LOCAL enable_partitionwise_join = on;
SET LOCAL jit = off;

-- name: export_rows(since, until, texts)
-- Decisions of a time, oldest first, with their outcomes, their newest feedback and, if asked for, their words. Each
-- table is limited by itself: a condition on one side of a join is not carried over to the other. The order of the
-- columns is that of bsgateway.export.COLUMNS.
SELECT
    d.decision_id,
    d.created_at,
    d.call_type,
    d.method,
    d.reason,
    d.original_model,
    d.resolved_model,
    d.tier,
    d.complexity_score,
    d.strategy,
    d.confidence,
    d.raw_score,
    d.bias,
    d.contributions,
    d.needs,
    d.features,
    d.feature_version,
    d.ask_tokens,
    d.system_tokens,
    d.context_tokens,
    d.tool_tokens,
    d.tokens_exact,
    d.max_output_tokens,
    d.stream,
    d.call_id,
    d.session_id,
    d.key_hash,
    d.key_alias,
    d.user_id,
    d.team_id,
    d.end_user,
    d.user_agent,
    d.decision_us,
    d.token_encoding,
    d.applied,
    d.conversation_id,
    d.previous_model,
    d.skipped,
    d.expected_cost,
    d.changes,
    d.ignored,
    d.scorer_id,
    d.propensity,
    d.explored,
    d.llm_status,
    d.llm_tier,
    d.llm_confidence,
    d.llm_model,
    d.llm_prompt,
    o.completed_at AS outcome_completed_at,
    o.status AS outcome_status,
    o.call_id AS outcome_call_id,
    o.served_group AS outcome_served_group,
    o.served_model AS outcome_served_model,
    o.provider AS outcome_provider,
    o.prompt_tokens AS outcome_prompt_tokens,
    o.completion_tokens AS outcome_completion_tokens,
    o.cache_read_tokens AS outcome_cache_read_tokens,
    o.cache_write_tokens AS outcome_cache_write_tokens,
    o.cost AS outcome_cost,
    o.baseline_model AS outcome_baseline_model,
    o.baseline_cost AS outcome_baseline_cost,
    o.latency_ms AS outcome_latency_ms,
    o.first_token_ms AS outcome_first_token_ms,
    o.error_class AS outcome_error_class,
    o.error_status AS outcome_error_status,
    o.finish_reason AS outcome_finish_reason,
    f.rating,
    f.label,
    f.source AS label_source,
    c.weak_tier,
    c.strong_tier,
    c.weak_model,
    c.strong_model,
    c.weak_score,
    c.strong_score,
    c.judge,
    t.ask,
    t.system,
    t.redacted,
    t.embedding::real[] AS embedding,
    t.embedding_model
FROM routing_logs d
LEFT JOIN routing_outcomes o
    ON o.decision_id = d.decision_id
    AND o.decision_id >= bsg_uuid7_floor(:since)
    AND o.decision_id < coalesce(bsg_uuid7_floor(:until), 'ffffffff-ffff-ffff-ffff-ffffffffffff')
LEFT JOIN (
    SELECT DISTINCT ON (decision_id) decision_id, rating, label, source
    FROM (  -- ordered by itself: before version 16, DISTINCT ON knows nothing between the whole order and none
        SELECT *
        FROM routing_feedback
        WHERE decision_id >= bsg_uuid7_floor(:since)
          AND decision_id < coalesce(bsg_uuid7_floor(:until), 'ffffffff-ffff-ffff-ffff-ffffffffffff')
        ORDER BY decision_id, created_at DESC, source
    ) feedback
    ORDER BY decision_id, created_at DESC, source
) f ON f.decision_id = d.decision_id
LEFT JOIN routing_comparisons c
    ON c.decision_id = d.decision_id
    AND c.decision_id >= bsg_uuid7_floor(:since)
    AND c.decision_id < coalesce(bsg_uuid7_floor(:until), 'ffffffff-ffff-ffff-ffff-ffffffffffff')
LEFT JOIN routing_texts t
    ON t.decision_id = d.decision_id
    AND t.decision_id >= bsg_uuid7_floor(:since)
    AND t.decision_id < coalesce(bsg_uuid7_floor(:until), 'ffffffff-ffff-ffff-ffff-ffffffffffff')
    AND :texts
WHERE d.decision_id >= bsg_uuid7_floor(:since)
  AND d.decision_id < coalesce(bsg_uuid7_floor(:until), 'ffffffff-ffff-ffff-ffff-ffffffffffff')
ORDER BY d.decision_id;
