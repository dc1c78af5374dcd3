-- Portals, prepared statements, psql's own chunks of a result.
\set FETCH_COUNT 7
SELECT g, repeat('x', g) FROM generate_series(1, 30) g;
\unset FETCH_COUNT
PREPARE p (int) AS SELECT $1 * 2;
EXECUTE p (21);
EXECUTE q (1);
DEALLOCATE p;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT g FROM generate_series(1, 9) g;
FETCH 3 FROM c;
FETCH LAST FROM c;
FETCH BACKWARD ALL FROM c;
COMMIT;
FETCH 1 FROM c;
SELECT 1 AS one \gset
SELECT :one + 1;
SELECT 'a' \; SELECT 'b' \; SELECT 1/0 \; SELECT 'never';
