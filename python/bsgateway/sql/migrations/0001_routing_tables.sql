-- The log: four tables that share one key, the decision id.
--
-- Every table is partitioned by ranges of decision_id. The id is a UUIDv7: its first 48 bits are the Unix time in
-- milliseconds, and PostgreSQL compares uuids byte by byte, so a range of ids is a range of time. Hence the primary key
-- is decision_id alone (a key must hold the partition column), a row written twice meets itself whatever its other
-- columns say, an outcome lies in the partition of its decision's month even if it came in the next one, and retention
-- is the dropping of partitions.
--
-- A query by time is limited to the partitions it needs by a condition on the id:
--     WHERE decision_id >= bsg_uuid7_floor(now() - interval '1 day')
-- A condition on created_at alone is answered correctly too, but looks into every partition.
--
-- There are no foreign keys: the rows of one request arrive in any order, and the texts may be dropped first.

CREATE FUNCTION bsg_uuid7_floor(moment timestamptz) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$
    SELECT (lpad(to_hex(least(greatest(floor(extract(epoch FROM moment) * 1000), 0), 281474976710655)::bigint), 12, '0')
            || '00000000000000000000')::uuid
$$;
COMMENT ON FUNCTION bsg_uuid7_floor(timestamptz) IS
    'The smallest uuid whose first 48 bits are this moment in milliseconds: no UUIDv7 made at it or later is smaller. '
    'Moments before 1970 count as 1970.';

CREATE TABLE routing_logs (
    decision_id       uuid PRIMARY KEY,
    created_at        timestamptz NOT NULL,
    call_type         text NOT NULL,
    method            text NOT NULL,
    reason            text NOT NULL,
    original_model    text NOT NULL,
    resolved_model    text NOT NULL,
    tier              text,
    complexity_score  smallint CHECK (complexity_score BETWEEN 0 AND 100),
    strategy          text,
    confidence        double precision CHECK (confidence BETWEEN 0 AND 1),
    raw_score         double precision,
    bias              integer NOT NULL,
    contributions     jsonb NOT NULL,
    needs             text[] NOT NULL,
    features          real[],
    feature_version   integer,
    ask_tokens        bigint,
    system_tokens     bigint,
    context_tokens    bigint,
    tool_tokens       bigint,
    tokens_exact      boolean,
    max_output_tokens bigint,
    stream            boolean NOT NULL,
    call_id           text,
    session_id        text,
    key_hash          text,
    key_alias         text,
    user_id           text,
    team_id           text,
    end_user          text,
    user_agent        text,
    decision_us       double precision NOT NULL
) PARTITION BY RANGE (decision_id);

-- Ids are looked up by equality. Rows come nearly in the order of time, so a block range index on it costs next to
-- nothing, and serves a person who writes WHERE created_at > ...
CREATE INDEX routing_logs_call_id ON routing_logs (call_id) WHERE call_id IS NOT NULL;
CREATE INDEX routing_logs_session_id ON routing_logs (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX routing_logs_created_at ON routing_logs USING brin (created_at);

COMMENT ON TABLE routing_logs IS 'One row for each decision. Names and ids are cut at 512 characters.';
COMMENT ON COLUMN routing_logs.decision_id IS 'UUIDv7 of the decision; also in the response header x-bsgateway-decision-id.';
COMMENT ON COLUMN routing_logs.created_at IS 'When the decision was made.';
COMMENT ON COLUMN routing_logs.call_type IS 'LiteLLM''s name of the endpoint, such as acompletion.';
COMMENT ON COLUMN routing_logs.method IS 'How the requested name was resolved: passthrough, alias, pattern or auto.';
COMMENT ON COLUMN routing_logs.reason IS 'The one rule that settled the model.';
COMMENT ON COLUMN routing_logs.original_model IS 'The model name the client asked for.';
COMMENT ON COLUMN routing_logs.resolved_model IS 'The model group the request was sent to.';
COMMENT ON COLUMN routing_logs.tier IS 'Tier of that model; null unless the request was routed by score.';
COMMENT ON COLUMN routing_logs.complexity_score IS 'Difficulty from 0 to 100, after bias; null unless routed by score.';
COMMENT ON COLUMN routing_logs.strategy IS 'What made the score: static, llm or ml.';
COMMENT ON COLUMN routing_logs.confidence IS 'Confidence in the tier, from 0 to 1.';
COMMENT ON COLUMN routing_logs.raw_score IS 'The classifier''s own score, before bias and rounding.';
COMMENT ON COLUMN routing_logs.bias IS 'What an alias added to the score.';
COMMENT ON COLUMN routing_logs.contributions IS 'List of {signal, value, weight, points}: what each signal added to raw_score.';
COMMENT ON COLUMN routing_logs.needs IS 'What the request needs of a model, such as vision or tools.';
COMMENT ON COLUMN routing_logs.features IS 'The feature vector; the order of its elements is fixed by feature_version.';
COMMENT ON COLUMN routing_logs.feature_version IS 'Version of the feature vector; vectors of different versions cannot be compared.';
COMMENT ON COLUMN routing_logs.ask_tokens IS 'Tokens (o200k_base) of the newest real ask of the user.';
COMMENT ON COLUMN routing_logs.system_tokens IS 'Tokens of the system prompt.';
COMMENT ON COLUMN routing_logs.context_tokens IS 'Tokens of the whole request.';
COMMENT ON COLUMN routing_logs.tool_tokens IS 'Tokens of the tool definitions.';
COMMENT ON COLUMN routing_logs.tokens_exact IS 'False where a token count was estimated.';
COMMENT ON COLUMN routing_logs.max_output_tokens IS 'The limit on output tokens that the client set.';
COMMENT ON COLUMN routing_logs.stream IS 'Whether the client asked for a stream.';
COMMENT ON COLUMN routing_logs.call_id IS 'LiteLLM''s id of the call; also in the response header x-litellm-call-id.';
COMMENT ON COLUMN routing_logs.session_id IS 'Id of the conversation, where the client sends one.';
COMMENT ON COLUMN routing_logs.key_hash IS 'LiteLLM''s hash of the API key. The key itself is never stored.';
COMMENT ON COLUMN routing_logs.key_alias IS 'Alias of the API key.';
COMMENT ON COLUMN routing_logs.user_id IS 'LiteLLM''s user that the key belongs to.';
COMMENT ON COLUMN routing_logs.team_id IS 'LiteLLM''s team that the key belongs to.';
COMMENT ON COLUMN routing_logs.end_user IS 'The end user that the client named.';
COMMENT ON COLUMN routing_logs.user_agent IS 'User agent of the client.';
COMMENT ON COLUMN routing_logs.decision_us IS 'Time the decision took inside the gateway, in microseconds.';

CREATE TABLE routing_texts (
    decision_id uuid PRIMARY KEY,
    created_at  timestamptz NOT NULL,
    ask         text NOT NULL,
    system      text NOT NULL
) PARTITION BY RANGE (decision_id);

COMMENT ON TABLE routing_texts IS 'The words of a request. Filled only if collector.text says so.';
COMMENT ON COLUMN routing_texts.decision_id IS 'The decision this text belongs to.';
COMMENT ON COLUMN routing_texts.created_at IS 'When the decision was made.';
COMMENT ON COLUMN routing_texts.ask IS 'The newest real ask of the user.';
COMMENT ON COLUMN routing_texts.system IS 'The system prompt.';

CREATE TABLE routing_outcomes (
    decision_id        uuid PRIMARY KEY,
    completed_at       timestamptz NOT NULL,
    status             text NOT NULL CHECK (status IN ('success', 'failure')),
    call_id            text,
    served_group       text,
    served_model       text,
    provider           text,
    prompt_tokens      bigint,
    completion_tokens  bigint,
    cache_read_tokens  bigint,
    cache_write_tokens bigint,
    cost               double precision,
    baseline_model     text,
    baseline_cost      double precision,
    latency_ms         double precision,
    first_token_ms     double precision,
    error_class        text,
    error_status       integer
) PARTITION BY RANGE (decision_id);

COMMENT ON TABLE routing_outcomes IS
    'What the provider did: one row for each decision that was answered or failed. A success replaces a failure of the '
    'same decision, a newer failure an older one, and nothing replaces a success.';
COMMENT ON COLUMN routing_outcomes.decision_id IS 'The decision this is the outcome of.';
COMMENT ON COLUMN routing_outcomes.completed_at IS 'When the answer was complete or the request had failed.';
COMMENT ON COLUMN routing_outcomes.status IS 'success or failure.';
COMMENT ON COLUMN routing_outcomes.call_id IS 'LiteLLM''s id of the call.';
COMMENT ON COLUMN routing_outcomes.served_group IS 'The model group that answered; another than resolved_model after a fallback.';
COMMENT ON COLUMN routing_outcomes.served_model IS 'The provider''s model that answered.';
COMMENT ON COLUMN routing_outcomes.provider IS 'The provider that answered, as LiteLLM names it.';
COMMENT ON COLUMN routing_outcomes.prompt_tokens IS 'Input tokens the provider counted.';
COMMENT ON COLUMN routing_outcomes.completion_tokens IS 'Output tokens the provider counted.';
COMMENT ON COLUMN routing_outcomes.cache_read_tokens IS 'Input tokens read from the provider''s prompt cache.';
COMMENT ON COLUMN routing_outcomes.cache_write_tokens IS 'Input tokens written to the provider''s prompt cache.';
COMMENT ON COLUMN routing_outcomes.cost IS 'Cost in US dollars; null when the model has no price.';
COMMENT ON COLUMN routing_outcomes.baseline_model IS 'The top tier''s model.';
COMMENT ON COLUMN routing_outcomes.baseline_cost IS 'What the same tokens would have cost there, in US dollars.';
COMMENT ON COLUMN routing_outcomes.latency_ms IS 'Time until the answer was complete, in milliseconds.';
COMMENT ON COLUMN routing_outcomes.first_token_ms IS 'Time until the first token of a stream, in milliseconds.';
COMMENT ON COLUMN routing_outcomes.error_class IS 'Class of the error of a failure.';
COMMENT ON COLUMN routing_outcomes.error_status IS 'HTTP status of a failure.';

CREATE TABLE routing_feedback (
    decision_id uuid NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    source      text NOT NULL,
    rating      real CHECK (rating BETWEEN 0 AND 1),
    label       text,
    comment     text,
    PRIMARY KEY (decision_id, source, created_at)
) PARTITION BY RANGE (decision_id);

COMMENT ON TABLE routing_feedback IS 'What people or judges said about an answer: any number of rows for each decision.';
COMMENT ON COLUMN routing_feedback.decision_id IS 'The decision this is about.';
COMMENT ON COLUMN routing_feedback.created_at IS 'When it was given.';
COMMENT ON COLUMN routing_feedback.source IS 'Who gave it.';
COMMENT ON COLUMN routing_feedback.rating IS 'From 0 (useless) to 1 (just right).';
COMMENT ON COLUMN routing_feedback.label IS 'The tier that would have been right.';
COMMENT ON COLUMN routing_feedback.comment IS 'Free text.';
