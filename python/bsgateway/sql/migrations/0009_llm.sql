-- What came of the strategy llm: whether the local LLM was asked about a request, and its verdict, which is a label, too.

-- Null where a worker of the version before wrote the row, and where the strategy was another one.
ALTER TABLE routing_logs
    ADD COLUMN llm_status     text,
    ADD COLUMN llm_tier       text,
    ADD COLUMN llm_confidence double precision,  -- without a CHECK, which would have the whole log read under a lock
    ADD COLUMN llm_model      text,
    ADD COLUMN llm_prompt     text;
COMMENT ON COLUMN routing_logs.strategy IS
    'What made the score: static, ml or llm; where llm gave no verdict, its fallback, static or ml.';
COMMENT ON COLUMN routing_logs.llm_status IS
    'What came of asking the local LLM: asked and known are verdicts. Null: the strategy was not llm.';
COMMENT ON COLUMN routing_logs.llm_tier IS
    'Label: the tier that the local LLM named. Null: no verdict. The request may have gone elsewhere.';
COMMENT ON COLUMN routing_logs.llm_confidence IS
    'How sure it was of that tier, from 0 to 1; 1 where its server tells no probabilities. Null: no verdict.';
COMMENT ON COLUMN routing_logs.llm_model IS 'The local LLM that gave the verdict. Null: no verdict.';
COMMENT ON COLUMN routing_logs.llm_prompt IS
    'Version of the question that it was asked, which depends on the tiers, their ranges and descriptions. Null: no '
    'verdict.';

-- The columns it had come first, in their order: what others built on the view, and their rights to it, stay.
CREATE OR REPLACE VIEW routing_training AS
SELECT
    d.decision_id,
    d.created_at,
    d.call_type,
    d.method,
    d.reason,
    d.original_model,
    d.resolved_model,
    d.tier,
    d.strategy,
    d.complexity_score,
    d.raw_score,
    d.bias,
    d.confidence,
    d.needs,
    d.features,
    d.feature_version,
    d.ask_tokens,
    d.system_tokens,
    d.context_tokens,
    d.tool_tokens,
    d.session_id,
    t.ask,
    t.system,
    o.status,
    o.served_group,
    o.served_model,
    o.served_group <> d.resolved_model AS fell_back,
    o.prompt_tokens,
    o.completion_tokens,
    o.cost,
    o.baseline_cost,
    o.latency_ms,
    o.error_class,
    f.rating,
    f.label,
    f.source AS label_source,
    d.token_encoding,
    d.applied,
    d.conversation_id,
    d.previous_model,
    d.skipped,
    d.expected_cost,
    d.scorer_id,
    d.propensity,
    d.explored,
    o.finish_reason,
    o.error_status,
    t.embedding::real[] AS embedding,
    t.embedding_model,
    c.weak_tier,
    c.strong_tier,
    c.weak_model,
    c.strong_model,
    c.weak_score,
    c.strong_score,
    c.judge,
    d.llm_status,
    d.llm_tier,
    d.llm_confidence,
    d.llm_model,
    d.llm_prompt
FROM routing_logs d
LEFT JOIN routing_texts t ON t.decision_id = d.decision_id
LEFT JOIN routing_outcomes o ON o.decision_id = d.decision_id
LEFT JOIN routing_comparisons c ON c.decision_id = d.decision_id
LEFT JOIN LATERAL (
    SELECT rating, label, source
    FROM routing_feedback
    WHERE decision_id = d.decision_id
    ORDER BY created_at DESC, source
    LIMIT 1
) f ON true;

COMMENT ON COLUMN routing_training.llm_status IS
    'What came of asking the local LLM: asked and known are verdicts. Null: the strategy was not llm.';
COMMENT ON COLUMN routing_training.llm_tier IS 'Label: the tier that the local LLM named.';
COMMENT ON COLUMN routing_training.llm_confidence IS 'How sure it was of that tier, from 0 to 1.';
COMMENT ON COLUMN routing_training.llm_model IS 'The local LLM that gave the verdict.';
COMMENT ON COLUMN routing_training.llm_prompt IS 'Version of the question that it was asked.';
