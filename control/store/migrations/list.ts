// The SQLite schema as numbered steps, applied in order, each in its own transaction with `user_version` raised to its number.
// A step that was released is never edited: a change of mind is the next step.

export interface Migration {
  readonly number: number
  readonly what: string
  readonly sql: string
}

export const MIGRATIONS: readonly Migration[] = [
  {
    number: 1,
    what: 'Items, tombstones for watchers that resume, and the two counters',
    sql: `
      CREATE TABLE item (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL,
        revision INTEGER NOT NULL UNIQUE,
        expires_at_ms INTEGER
      ) STRICT, WITHOUT ROWID;
      CREATE INDEX item_expiry ON item (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
      CREATE TABLE tombstone (
        revision INTEGER PRIMARY KEY,
        key TEXT NOT NULL
      ) STRICT;
      CREATE TABLE counter (
        name TEXT PRIMARY KEY,
        value INTEGER NOT NULL
      ) STRICT, WITHOUT ROWID;
      INSERT INTO counter (name, value) VALUES ('revision', 0), ('forgotten', 0), ('tombstones', 0);
    `,
  },
]
