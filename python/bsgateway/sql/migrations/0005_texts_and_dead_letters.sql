-- Whether the words of a row are the client's own, what an embedding model made of them, and where rows go that no table
-- can take.

-- Null where a worker of the version before wrote a batch again: its staging table takes over no defaults.
ALTER TABLE routing_texts ADD COLUMN redacted boolean DEFAULT false;
COMMENT ON COLUMN routing_texts.redacted IS
    'Whether keys and personal data were replaced by placeholders before the words were stored. Null: no.';

-- A type of its own where pgvector is installed, or may be; an array of numbers elsewhere. One can be cast to the other.
DO $$
BEGIN
    BEGIN
        IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector') THEN
            CREATE EXTENSION IF NOT EXISTS vector;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        RAISE NOTICE 'embeddings are stored as real[], as pgvector cannot be used: %', SQLERRM;
    END;
    IF to_regtype('vector') IS NULL THEN
        ALTER TABLE routing_texts ADD COLUMN embedding real[];
    ELSE
        ALTER TABLE routing_texts ADD COLUMN embedding vector;
    END IF;
END
$$;
ALTER TABLE routing_texts ADD COLUMN embedding_model text;
ALTER TABLE routing_texts ADD COLUMN embedding_error text;
COMMENT ON COLUMN routing_texts.embedding IS
    'Embedding of ask: of type vector where pgvector was there when the table was made, else real[]. Null until computed.';
COMMENT ON COLUMN routing_texts.embedding_model IS 'The model that made the embedding.';
COMMENT ON COLUMN routing_texts.embedding_error IS 'Why there is none: the kind of error. Null: made, or yet to come.';

-- What is yet to be embedded. Ids come nearly in order, so the index grows at its end.
CREATE INDEX routing_texts_to_embed ON routing_texts (decision_id)
    WHERE embedding_model IS NULL AND embedding_error IS NULL;

CREATE TABLE routing_dead_letters (
    digest      bytea PRIMARY KEY,
    decision_id uuid,
    kind        text NOT NULL,
    reason      text NOT NULL,
    refused_at  timestamptz NOT NULL DEFAULT now(),
    payload     bytea NOT NULL
);
CREATE INDEX routing_dead_letters_refused_at ON routing_dead_letters (refused_at);
COMMENT ON TABLE routing_dead_letters IS
    'Rows that their table refused, so that one bad row neither blocks nor loses the others. Kept as long as texts are.';
COMMENT ON COLUMN routing_dead_letters.digest IS 'SHA-256 of payload: a row that comes again is one letter.';
COMMENT ON COLUMN routing_dead_letters.decision_id IS 'The decision it belongs to.';
COMMENT ON COLUMN routing_dead_letters.kind IS 'What it is: Decision, Texts or Outcome, or Chunk: records that could not be told apart.';
COMMENT ON COLUMN routing_dead_letters.reason IS 'Class, SQLSTATE and constraint of the error.';
COMMENT ON COLUMN routing_dead_letters.refused_at IS 'When.';
COMMENT ON COLUMN routing_dead_letters.payload IS 'The record, as JSON in UTF-8. May hold words of the request.';

CREATE TABLE routing_leases (
    name   text PRIMARY KEY,
    holder uuid NOT NULL,
    until  timestamptz NOT NULL
);
COMMENT ON TABLE routing_leases IS
    'Work that one worker does for all: who does it, and until when the others leave it alone.';
COMMENT ON COLUMN routing_leases.name IS 'The work, such as embedding.';
COMMENT ON COLUMN routing_leases.holder IS 'A random id of the worker.';
COMMENT ON COLUMN routing_leases.until IS 'When another may take over, unless the holder has been heard of again.';
