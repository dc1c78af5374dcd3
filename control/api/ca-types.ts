// The names under which public halves of CAs are handed out (`auth-export`).

/** What `auth-export` gives. `user`, `host`, `openssh`: lines for OpenSSH; the others PEM. */
export const CA_TYPES = [
  'user',
  'host',
  'openssh',
  'tls-user',
  'tls-host',
  'target',
  'db',
  'db-client',
] as const
export type CaType = (typeof CA_TYPES)[number]
