-- COPY both ways, by the server's own words and by psql's.
COPY fuzzed (n, t) FROM STDIN;
1	one
2	zwei ☂
3	\N
\.
COPY fuzzed TO STDOUT (FORMAT csv, HEADER);
\copy fuzzed (n, t) FROM PROGRAM 'seq -f "%g	row" 20 40'
\copy (SELECT n, t FROM fuzzed ORDER BY id) TO STDOUT
COPY fuzzed (n) FROM STDIN;
5
13
\.
SELECT count(*), sum(n) FROM fuzzed;
