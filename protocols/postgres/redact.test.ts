// What the log hears of statements that carry a secret, and that it hears everything of those that do not.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { redact } from './redact.ts'

const told = (sql: string): string => redact(sql).text

test('a password of a role, user or group is left out, whatever its form', () => {
  const forms = [
    "'s3cret'",
    "E's3c\\'ret'",
    "U&'s3cret'",
    '$$s3cret$$',
    '$x$s3cret$x$',
    "N's3cret'",
  ]
  for (const form of forms)
    for (const verb of [
      'ALTER USER bob',
      'create role bob login',
      'Alter Group g',
      'CREATE USER "x y"',
    ])
      for (const word of [
        'PASSWORD',
        'ENCRYPTED PASSWORD',
        'with password',
        'PASSWORD /* it is */ --\n',
      ])
        assert.equal(told(`${verb} ${word} ${form};`), `${verb} ${word} '<redacted>';`)
})

test('only the statement that carries it loses its literals', () => {
  const sql = "SELECT 'a'; ALTER USER bob PASSWORD 'b' VALID UNTIL 'c'; SELECT 'd'"
  const expected =
    "SELECT 'a'; ALTER USER bob PASSWORD '<redacted>' VALID UNTIL '<redacted>'; SELECT 'd'"
  assert.equal(told(sql), expected)
})

test('a constant in several parts goes as a whole', () => {
  assert.equal(
    told("ALTER USER a PASSWORD 's3'\n -- more\n 'cret'"),
    "ALTER USER a PASSWORD '<redacted>'",
  )
  assert.equal(
    told("ALTER USER a PASSWORD E's3'\n'c\\'ret' x"),
    "ALTER USER a PASSWORD '<redacted>' x",
  )
})

test('where the end of a literal depends on a setting, everything behind its beginning goes', () => {
  assert.equal(told("SELECT 'a\\'; ALTER USER b PASSWORD 's3cret' --'"), 'SELECT <redacted>')
  assert.equal(
    told("SELECT 'a\\\\'; ALTER USER b PASSWORD 'x'"),
    "SELECT 'a\\\\'; ALTER USER b PASSWORD '<redacted>'",
  )
})

test('connections and options that log in are left out', () => {
  const statements = [
    "CREATE SUBSCRIPTION s CONNECTION 'host=h password=s3cret' PUBLICATION p",
    "ALTER SUBSCRIPTION s CONNECTION 'postgresql://u:s3cret@h/db'",
    "CREATE USER MAPPING FOR bob SERVER x OPTIONS (user 'bob', \"pass\" 's3cret')",
    "ALTER USER MAPPING FOR bob SERVER x OPTIONS (SET password 's3cret')",
    "CREATE SERVER x FOREIGN DATA WRAPPER f OPTIONS (host 'h', password 's3cret')",
    "ALTER SYSTEM SET primary_conninfo = 'host=h s3cret'",
    "SELECT dblink_connect('c', 'dbname=x s3cret')",
    "SELECT * FROM public.dblink ('s3cret', 'SELECT 1') AS t(a int)",
    "SELECT set_config('x', 'host=h password = s3cret', false)",
    "COPY t FROM PROGRAM 'curl http://u:s3cret@h/'",
  ]
  for (const sql of statements) {
    assert.ok(!told(sql).includes('s3cret'), told(sql))
    assert.ok(redact(sql).secret)
  }
  assert.ok(redact('SELECT dblink_connect($1)').secret, 'its parameters must go as well')
})

test('SQL inside of strings, bodies and comments is looked through', () => {
  const statements = [
    "DO $$ BEGIN ALTER USER bob PASSWORD 's3cret'; END $$",
    "DO $a$ BEGIN EXECUTE $b$ ALTER USER bob PASSWORD 's3cret' $b$; END $a$",
    "DO $$ DECLARE p text := 's3cret'; BEGIN EXECUTE 'ALTER USER bob PASSWORD ' || quote_literal(p); END $$",
    "DO $$ BEGIN EXECUTE format('ALTER ROLE %I PASSWORD %L', 'bob', 's3cret'); END $$",
    "SELECT exec('ALTER USER bob PASSWORD ''s3cret''')",
    "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'ALTER USER bob PASSWORD ''s3cret'''",
    "/* ALTER USER bob PASSWORD 's3cret' */ SELECT 1",
    "SELECT 1 -- ALTER USER bob PASSWORD 's3cret'",
    `DO $1$ ${'$a$ '.repeat(1)} ALTER USER bob PASSWORD 's3cret' $a$`,
  ]
  for (const sql of statements) assert.ok(!told(sql).includes('s3cret'), told(sql))
})

test('a statement that was cut still loses what is left of its secret', () => {
  const sql = "SELECT 'x'; ALTER USER bob PASSWORD 's3cret-and-long'"
  for (let length = 0; length < sql.length; length++) {
    assert.doesNotMatch(told(sql.slice(0, length)), /s3c/, sql.slice(0, length))
  }
})

test('everything else is told as it stands', () => {
  const statements = [
    "SELECT * FROM users WHERE password = 'app data' AND name = 'bob'",
    "INSERT INTO notes VALUES ('the password is wrong')",
    "SELECT 'password'",
    'SELECT "password" FROM users',
    "ALTER ROLE bob SET search_path = 'x'",
    "SET password_encryption = 'scram-sha-256'",
    "SELECT * FROM connections WHERE url = 'https://example.test/x'",
    'DO $$ BEGIN PERFORM 1; END $$ -- mapping',
  ]
  for (const sql of statements) assert.deepEqual(redact(sql), { text: sql, secret: false })
})

test('property: a secret never survives, wherever the statement stands and wherever it is cut', () => {
  const secret = 'Zq9Secret'
  const body = fc.stringMatching(/^[a-z '"$\\;%-]{0,6}$/)
  const quote = fc.constantFrom<(value: string) => string>(
    (value) => `'${value.replaceAll("'", "''")}'`,
    (value) => `E'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`,
    (value) => `u&'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`,
    (value) => `$zq$${value}$zq$`,
  )
  const gap = fc.constantFrom(' ', '\n', ' /* x /* y */ */ ', ' --\n', '\t')
  const before = fc.constantFrom(
    '',
    "SELECT 'a''b';",
    'BEGIN;',
    '$$;',
    '"',
    "/* ' */",
    "E'\\'' ",
    'x$y ',
  )
  const verb = fc.constantFrom('ALTER USER', 'create role', 'Alter Role', 'CREATE GROUP')
  const wrap = fc.constantFrom<(sql: string) => string>(
    (sql) => sql,
    (sql) => `DO $w$ BEGIN ${sql}; END $w$`,
    (sql) => `SELECT run('${sql.replaceAll("'", "''")}')`,
  )
  fc.assert(
    fc.property(
      body,
      quote,
      gap,
      before,
      verb,
      wrap,
      fc.nat(400),
      (extra, as, space, lead, what, inside, cut) => {
        const literal = as(`${secret}${extra}`)
        const statement = `${what}${space}bob${space}ENCRYPTED${space}PASSWORD${space}${literal}`
        const sql = `${lead}${inside(statement)}`
        assert.ok(!told(sql).includes(secret), `${sql}\n${told(sql)}`)
        const part = sql.slice(0, cut)
        assert.ok(!told(part).includes(secret), `${part}\n${told(part)}`)
      },
    ),
    { numRuns: 2000 },
  )
})

test('property: any text is told in bounded time, and what is worth no look is not changed', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 300 }), (text) => {
      redact(text)
      redact(`${text} password ${text}`)
    }),
  )
})
