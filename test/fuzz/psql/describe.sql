-- psql asks the catalogue itself, and changes how it asks and shows.
\d fuzzed
\dt
\df int4pl
\x on
SELECT * FROM pg_settings WHERE name = 'client_encoding';
\x off
\encoding LATIN1
SELECT 'ä', U&'\2602';
\encoding UTF8
SELECT 'ä', U&'\2602';
SELECT repeat('0123456789', 20000);
SET application_name = 'somebody';
SHOW application_name;
LISTEN a;
UNLISTEN *;
