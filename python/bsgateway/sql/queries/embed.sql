-- What the embedder asks of the database. Each statement is short: no transaction is open while a model computes.

-- name: take_lease(name, holder, seconds)$
-- True when the work is this holder's for so long from now on; null when another one has it.
INSERT INTO routing_leases AS lease (name, holder, until)
VALUES (:name, :holder, now() + make_interval(secs => :seconds))
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
WHERE lease.holder = excluded.holder OR lease.until < now()
RETURNING true;

-- name: drop_lease(name, holder)!
DELETE FROM routing_leases WHERE name = :name AND holder = :holder;

-- name: has_texts_to_embed()$
-- True, or null. In the order of the index made for it: with EXISTS and statistics of a time when much was waiting, the
-- planner reads the whole table instead.
SELECT true
FROM routing_texts
WHERE embedding_model IS NULL AND embedding_error IS NULL
ORDER BY decision_id
LIMIT 1;

-- name: texts_to_embed(max_rows, max_chars)
-- The oldest texts without an embedding, as many as are needed to reach max_chars.
SELECT decision_id, ask, redacted
FROM (
    SELECT decision_id, ask, redacted, sum(length(ask)) OVER (ORDER BY decision_id) - length(ask) AS chars_before
    FROM (
        SELECT decision_id, ask, redacted
        FROM routing_texts
        WHERE embedding_model IS NULL AND embedding_error IS NULL
        ORDER BY decision_id
        LIMIT :max_rows
    ) oldest
) counted
WHERE chars_before < :max_chars
ORDER BY decision_id;

-- name: embedding_dimensions(model, before)$
-- How many numbers the embeddings of a model have, by one that was made not long ago. The oldest texts come first, so the
-- newest embeddings lie before them.
SELECT cardinality(embedding::real[])
FROM (
    SELECT embedding, embedding_model
    FROM routing_texts
    WHERE decision_id < :before
    ORDER BY decision_id DESC
    LIMIT 1000
) earlier
WHERE embedding_model = :model
LIMIT 1;

-- name: store_embeddings(ids, numbers, dimensions, model)!
-- One embedding for each id: its slice of all the numbers. Assigning makes a vector of it where the column is one.
UPDATE routing_texts AS texts
SET embedding = made.embedding, embedding_model = :model
FROM (
    SELECT
        decision_id,
        (:numbers::real[])[(place - 1)::integer * :dimensions + 1 : place::integer * :dimensions] AS embedding
    FROM unnest(:ids::uuid[]) WITH ORDINALITY AS given (decision_id, place)
) made
WHERE texts.decision_id = made.decision_id
  AND texts.decision_id = ANY(:ids)
  AND texts.embedding_model IS NULL
  AND texts.embedding_error IS NULL;

-- name: give_up_embedding(ids, error)!
UPDATE routing_texts
SET embedding_error = :error
WHERE decision_id = ANY(:ids) AND embedding_model IS NULL AND embedding_error IS NULL;
