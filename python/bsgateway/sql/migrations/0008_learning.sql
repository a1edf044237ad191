-- What learning needs: which model made a score, with what probability a tier was chosen, how an answer ended, and what
-- came of sending one request to two tiers.

-- Null where a worker of the version before wrote the row, whose staging table takes over no defaults.
ALTER TABLE routing_logs
    ADD COLUMN scorer_id  text,
    ADD COLUMN propensity double precision,  -- without a CHECK, which would have the whole log read under a lock
    ADD COLUMN explored   boolean DEFAULT false;
COMMENT ON COLUMN routing_logs.strategy IS 'What made the score: static or ml.';
COMMENT ON COLUMN routing_logs.scorer_id IS
    'The model file that made the score: the first 12 hex digits of its checksum. Null: not scored by a model.';
COMMENT ON COLUMN routing_logs.propensity IS
    'Probability with which this tier was to be chosen, over all draws. Null: the request could not have been explored.';
COMMENT ON COLUMN routing_logs.explored IS
    'Whether the tier was drawn at random; it may have been the one of the score all the same. Null: no.';

ALTER TABLE routing_outcomes ADD COLUMN finish_reason text;
COMMENT ON COLUMN routing_outcomes.finish_reason IS
    'Why the answer ended: stop, length, tool_calls, content_filter or refusal; or another word of the provider''s.';

CREATE TABLE routing_comparisons (
    decision_id  uuid PRIMARY KEY,
    created_at   timestamptz NOT NULL,
    weak_tier    text NOT NULL,
    strong_tier  text NOT NULL,
    weak_model   text NOT NULL,
    strong_model text NOT NULL,
    weak_score   double precision NOT NULL CHECK (weak_score BETWEEN 0 AND 1),
    strong_score double precision NOT NULL CHECK (strong_score BETWEEN 0 AND 1),
    judge        text NOT NULL,
    judge_model  text,
    share        double precision NOT NULL CHECK (share > 0 AND share <= 1),
    cost         double precision
) PARTITION BY RANGE (decision_id);
CREATE TABLE routing_comparisons_default PARTITION OF routing_comparisons DEFAULT;

COMMENT ON TABLE routing_comparisons IS
    'Dual runs: requests that two tiers answered, and how good their answers were. One row for each decision at most; '
    'the first one stays. The answers themselves are not stored.';
COMMENT ON COLUMN routing_comparisons.decision_id IS 'The decision whose request was answered twice.';
COMMENT ON COLUMN routing_comparisons.created_at IS 'When the answers were compared.';
COMMENT ON COLUMN routing_comparisons.weak_tier IS 'The lower of the two tiers.';
COMMENT ON COLUMN routing_comparisons.strong_tier IS 'The higher of the two tiers.';
COMMENT ON COLUMN routing_comparisons.weak_model IS 'The model group that answered for the lower tier.';
COMMENT ON COLUMN routing_comparisons.strong_model IS 'The model group that answered for the higher tier.';
COMMENT ON COLUMN routing_comparisons.weak_score IS 'Label: how good the lower tier''s answer was, from 0 to 1.';
COMMENT ON COLUMN routing_comparisons.strong_score IS 'Label: how good the higher tier''s answer was, from 0 to 1.';
COMMENT ON COLUMN routing_comparisons.judge IS 'How they were compared: match, embedding or llm.';
COMMENT ON COLUMN routing_comparisons.judge_model IS 'The model group that judged or embedded; null for match.';
COMMENT ON COLUMN routing_comparisons.share IS 'Probability with which the request was drawn for a dual run.';
COMMENT ON COLUMN routing_comparisons.cost IS
    'Cost of the second answer and of the judge in US dollars; null when none of it has a price.';

COMMENT ON COLUMN routing_dead_letters.kind IS
    'What it is: Decision, Texts, Outcome or Comparison, or Chunk: records that could not be told apart.';

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
    c.judge
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

COMMENT ON VIEW routing_training IS
    'Decisions with their texts, outcomes, newest feedback and dual runs, for training. Limit it by '
    'decision_id >= bsg_uuid7_floor(moment), and SET enable_partitionwise_join = on to skip old partitions of all tables.';
COMMENT ON COLUMN routing_training.token_encoding IS 'Whose tokens were counted. Null: not scored, or o200k_base.';
COMMENT ON COLUMN routing_training.applied IS 'Whether the request was sent to resolved_model. Null: yes.';
COMMENT ON COLUMN routing_training.conversation_id IS
    'Hash that the requests of one conversation share: they must not be split between training and test.';
COMMENT ON COLUMN routing_training.previous_model IS 'The model group that served the conversation before.';
COMMENT ON COLUMN routing_training.skipped IS 'Candidates that were passed over: a list of {model, reason}.';
COMMENT ON COLUMN routing_training.expected_cost IS 'What the request was expected to cost at resolved_model, in US dollars.';
COMMENT ON COLUMN routing_training.scorer_id IS 'The model file that made the score.';
COMMENT ON COLUMN routing_training.propensity IS
    'Probability with which this tier was to be chosen. Null: the request could not have been explored.';
COMMENT ON COLUMN routing_training.explored IS 'Whether the tier was drawn at random. Null: no.';
COMMENT ON COLUMN routing_training.finish_reason IS 'Label: why the answer ended.';
COMMENT ON COLUMN routing_training.error_status IS 'HTTP status of a failure.';
COMMENT ON COLUMN routing_training.embedding IS 'Input of a model: embedding of ask.';
COMMENT ON COLUMN routing_training.embedding_model IS 'The model that made the embedding.';
COMMENT ON COLUMN routing_training.weak_tier IS 'Dual run: the lower tier.';
COMMENT ON COLUMN routing_training.strong_tier IS 'Dual run: the higher tier.';
COMMENT ON COLUMN routing_training.weak_model IS 'Dual run: the model group that answered for the lower tier.';
COMMENT ON COLUMN routing_training.strong_model IS 'Dual run: the model group that answered for the higher tier.';
COMMENT ON COLUMN routing_training.weak_score IS 'Label: how good the lower tier''s answer was, from 0 to 1.';
COMMENT ON COLUMN routing_training.strong_score IS 'Label: how good the higher tier''s answer was, from 0 to 1.';
COMMENT ON COLUMN routing_training.judge IS 'Dual run: how the answers were compared.';
