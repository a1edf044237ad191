-- name: lock_migrations()#
-- Held until the end of the transaction. The number is an arbitrary one that nothing else uses.
SELECT pg_advisory_xact_lock(7215366061838321237);

-- name: has_migrations()$
SELECT to_regclass('bsgateway_migrations') IS NOT NULL;

-- name: create_migrations()#
CREATE TABLE bsgateway_migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE bsgateway_migrations IS 'Migrations of the routing log that were applied to this database.';
COMMENT ON COLUMN bsgateway_migrations.version IS 'Number of the migration.';
COMMENT ON COLUMN bsgateway_migrations.name IS 'Its name.';
COMMENT ON COLUMN bsgateway_migrations.sha256 IS 'SHA-256 of its text.';
COMMENT ON COLUMN bsgateway_migrations.applied_at IS 'When it was applied.';

-- name: applied_migrations()
SELECT version, name, sha256 FROM bsgateway_migrations ORDER BY version;

-- name: add_migration(version, name, sha256)!
INSERT INTO bsgateway_migrations (version, name, sha256) VALUES (:version, :name, :sha256);

