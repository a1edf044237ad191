-- How rows are written that may be there already: COPY into a staging table that only this session sees, then INSERT
-- into the log. COPY itself knows no ON CONFLICT, and a batch that is written again after a fault must change nothing.

-- name: create_staging()#
SET LOCAL client_min_messages = warning;
CREATE TEMP TABLE IF NOT EXISTS staged_logs (LIKE routing_logs INCLUDING DEFAULTS) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS staged_texts (LIKE routing_texts INCLUDING DEFAULTS) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS staged_outcomes (LIKE routing_outcomes INCLUDING DEFAULTS) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS staged_comparisons (LIKE routing_comparisons INCLUDING DEFAULTS) ON COMMIT DELETE ROWS;

-- name: insert_logs()!
INSERT INTO routing_logs
SELECT * FROM pg_temp.staged_logs
ON CONFLICT (decision_id) DO NOTHING;

-- name: insert_texts()!
INSERT INTO routing_texts
SELECT * FROM pg_temp.staged_texts
ON CONFLICT (decision_id) DO NOTHING;

-- name: upsert_outcomes()!
-- A success replaces a failure, a newer failure an older one, nothing replaces a success: among the rows of one batch as
-- against the stored row.
INSERT INTO routing_outcomes AS stored
SELECT DISTINCT ON (decision_id) *
FROM pg_temp.staged_outcomes
ORDER BY decision_id, status DESC, CASE WHEN status = 'success' THEN completed_at END, completed_at DESC
ON CONFLICT (decision_id) DO UPDATE SET
    completed_at = excluded.completed_at,
    status = excluded.status,
    call_id = excluded.call_id,
    served_group = excluded.served_group,
    served_model = excluded.served_model,
    provider = excluded.provider,
    prompt_tokens = excluded.prompt_tokens,
    completion_tokens = excluded.completion_tokens,
    cache_read_tokens = excluded.cache_read_tokens,
    cache_write_tokens = excluded.cache_write_tokens,
    cost = excluded.cost,
    baseline_model = excluded.baseline_model,
    baseline_cost = excluded.baseline_cost,
    latency_ms = excluded.latency_ms,
    first_token_ms = excluded.first_token_ms,
    error_class = excluded.error_class,
    error_status = excluded.error_status,
    finish_reason = excluded.finish_reason
WHERE stored.status = 'failure'
  AND (excluded.status = 'success' OR excluded.completed_at > stored.completed_at);

-- name: insert_comparisons()!
INSERT INTO routing_comparisons
SELECT * FROM pg_temp.staged_comparisons
ON CONFLICT (decision_id) DO NOTHING;

-- name: bury(digest, decision_id, kind, reason, payload)!
INSERT INTO routing_dead_letters (digest, decision_id, kind, reason, payload)
VALUES (:digest, :decision_id, :kind, :reason, :payload)
ON CONFLICT (digest) DO NOTHING;
