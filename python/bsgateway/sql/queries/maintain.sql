-- Partitions and retention. Each runs in a transaction of its own, under the lock, with a short lock_timeout.

-- name: try_maintenance_lock()$
-- Until the end of the transaction, and not of the session: a connection pooler may give the next one another session.
-- The number is that of bsg_make_partitions.
SELECT pg_try_advisory_xact_lock(7215366061838321238);

-- name: server_time()$
SELECT now();

-- name: make_partitions(parent, first, last, period)$
SELECT bsg_make_partitions(:parent, :first, :last, :period);

-- name: drop_unused_partitions(parent, moment, period)$
SELECT bsg_drop_unused_partitions(:parent, :moment, :period);

-- name: old_partitions(parent, before)
-- Those that hold nothing but what is older, oldest first. Their names are quoted as SQL needs them.
SELECT name FROM bsg_partitions(:parent) WHERE high <= bsg_uuid7_floor(:before) ORDER BY low;

-- name: begun_partitions(parent, before)
-- Those that may hold something older, oldest first. The default partition is not among them.
SELECT name FROM bsg_partitions(:parent) WHERE low < bsg_uuid7_floor(:before) ORDER BY low;

-- name: erase(child, before, most)$
SELECT bsg_erase(:child, :before, :most);

-- name: erase_letters(before, most)!
-- The words in a letter are as old as their decision, however late it was that they were refused.
DELETE FROM routing_dead_letters
WHERE digest = ANY (ARRAY(
    SELECT digest
    FROM routing_dead_letters
    WHERE refused_at < :before OR (kind = 'Texts' AND decision_id < bsg_uuid7_floor(:before))
    LIMIT :most
));
