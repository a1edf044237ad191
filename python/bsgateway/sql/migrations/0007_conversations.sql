-- Why a request went where it did, beyond its score: its conversation, the models that were passed over, what the client
-- asked of the routing; and whether the decision was carried out at all.

-- Null where a worker of the version before wrote the row, whose staging table takes over no defaults.
ALTER TABLE routing_logs
    ADD COLUMN applied         boolean DEFAULT true,
    ADD COLUMN conversation_id text,
    ADD COLUMN previous_model  text,
    ADD COLUMN skipped         jsonb DEFAULT '[]',
    ADD COLUMN expected_cost   double precision,
    ADD COLUMN changes         text[] DEFAULT '{}',
    ADD COLUMN ignored         text[] DEFAULT '{}';
COMMENT ON COLUMN routing_logs.applied IS
    'Whether the request was sent to resolved_model. False: shadow mode, the other share of a canary, a dry run, or no candidate. Null: yes.';
COMMENT ON COLUMN routing_logs.conversation_id IS 'Hash that the requests of one conversation share.';
COMMENT ON COLUMN routing_logs.previous_model IS 'The model group that served the conversation before.';
COMMENT ON COLUMN routing_logs.skipped IS 'Candidates that were passed over: a list of {model, reason}.';
COMMENT ON COLUMN routing_logs.expected_cost IS 'What the request was expected to cost at resolved_model, in US dollars.';
COMMENT ON COLUMN routing_logs.changes IS 'What was changed in the body for the sake of resolved_model.';
COMMENT ON COLUMN routing_logs.ignored IS 'What the client asked of the routing without being allowed to.';
