-- What goes wrong, alone and inside transactions.
\set VERBOSITY verbose
SELECT 1/0;
SELEC 1;
BEGIN;
INSERT INTO fuzzed (n) VALUES (13);
SELECT 'not any more';
ROLLBACK;
\set ON_ERROR_ROLLBACK on
BEGIN;
SELECT * FROM nowhere;
INSERT INTO fuzzed (n) VALUES (1) RETURNING id, n;
COMMIT;
DO $$ BEGIN RAISE NOTICE 'said'; RAISE EXCEPTION 'meant' USING HINT = 'so it is', DETAIL = 'more', ERRCODE = '22012'; END $$;
SELECT pg_terminate_backend(0);
