-- What the gateway learns from. Each decision once, whatever else is there.

CREATE VIEW routing_training AS
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
    f.source AS label_source
FROM routing_logs d
LEFT JOIN routing_texts t ON t.decision_id = d.decision_id
LEFT JOIN routing_outcomes o ON o.decision_id = d.decision_id
LEFT JOIN LATERAL (
    SELECT rating, label, source
    FROM routing_feedback
    WHERE decision_id = d.decision_id
    ORDER BY created_at DESC, source
    LIMIT 1
) f ON true;

COMMENT ON VIEW routing_training IS
    'Decisions with their texts, outcomes and newest feedback, for training. Limit it by '
    'decision_id >= bsg_uuid7_floor(moment), and SET enable_partitionwise_join = on to skip old partitions of all tables.';
COMMENT ON COLUMN routing_training.decision_id IS 'UUIDv7 of the decision.';
COMMENT ON COLUMN routing_training.created_at IS 'When the decision was made.';
COMMENT ON COLUMN routing_training.call_type IS 'LiteLLM''s name of the endpoint.';
COMMENT ON COLUMN routing_training.method IS 'How the requested name was resolved.';
COMMENT ON COLUMN routing_training.reason IS 'The one rule that settled the model.';
COMMENT ON COLUMN routing_training.original_model IS 'The model name the client asked for.';
COMMENT ON COLUMN routing_training.resolved_model IS 'The model group the request was sent to.';
COMMENT ON COLUMN routing_training.tier IS 'Tier of that model.';
COMMENT ON COLUMN routing_training.strategy IS 'What made the score.';
COMMENT ON COLUMN routing_training.complexity_score IS 'Difficulty from 0 to 100, after bias.';
COMMENT ON COLUMN routing_training.raw_score IS 'The classifier''s own score, before bias and rounding.';
COMMENT ON COLUMN routing_training.bias IS 'What an alias added to the score.';
COMMENT ON COLUMN routing_training.confidence IS 'Confidence in the tier, from 0 to 1.';
COMMENT ON COLUMN routing_training.needs IS 'What the request needs of a model.';
COMMENT ON COLUMN routing_training.features IS 'Input of a model: the feature vector.';
COMMENT ON COLUMN routing_training.feature_version IS 'Version of the feature vector.';
COMMENT ON COLUMN routing_training.ask_tokens IS 'Tokens of the newest real ask.';
COMMENT ON COLUMN routing_training.system_tokens IS 'Tokens of the system prompt.';
COMMENT ON COLUMN routing_training.context_tokens IS 'Tokens of the whole request.';
COMMENT ON COLUMN routing_training.tool_tokens IS 'Tokens of the tool definitions.';
COMMENT ON COLUMN routing_training.session_id IS 'Id of the conversation: rows of one must not be split between training and test.';
COMMENT ON COLUMN routing_training.ask IS 'The newest real ask, if texts are kept.';
COMMENT ON COLUMN routing_training.system IS 'The system prompt, if texts are kept.';
COMMENT ON COLUMN routing_training.status IS 'Label: success or failure; null while there is no outcome.';
COMMENT ON COLUMN routing_training.served_group IS 'The model group that answered.';
COMMENT ON COLUMN routing_training.served_model IS 'The provider''s model that answered.';
COMMENT ON COLUMN routing_training.fell_back IS 'Label: whether another model group than the chosen one answered.';
COMMENT ON COLUMN routing_training.prompt_tokens IS 'Input tokens the provider counted.';
COMMENT ON COLUMN routing_training.completion_tokens IS 'Output tokens the provider counted.';
COMMENT ON COLUMN routing_training.cost IS 'Cost in US dollars.';
COMMENT ON COLUMN routing_training.baseline_cost IS 'Cost of the same tokens at the top tier''s model.';
COMMENT ON COLUMN routing_training.latency_ms IS 'Time until the answer was complete, in milliseconds.';
COMMENT ON COLUMN routing_training.error_class IS 'Class of the error of a failure.';
COMMENT ON COLUMN routing_training.rating IS 'Label: newest feedback, from 0 (useless) to 1 (just right).';
COMMENT ON COLUMN routing_training.label IS 'Label: the tier that the newest feedback says would have been right.';
COMMENT ON COLUMN routing_training.label_source IS 'Who gave the newest feedback.';
