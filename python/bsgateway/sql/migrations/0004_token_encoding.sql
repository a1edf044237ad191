-- Which tokens the counts of a row are: the operator may choose, and counts of different encodings are not comparable.
ALTER TABLE routing_logs ADD COLUMN token_encoding text;
COMMENT ON COLUMN routing_logs.token_encoding IS
    'Whose tokens were counted, such as o200k_base. Null: not scored, or o200k_base, written before there was a choice.';
COMMENT ON COLUMN routing_logs.ask_tokens IS 'Tokens (see token_encoding) of the newest real ask of the user.';
