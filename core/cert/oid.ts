// Object identifiers of X.509 and PKIX that Sluice reads or writes, in dotted form (RFC 5280, RFC 5480, RFC 8410), and
// our own arc. Ours hangs below 2.25 (ITU-T X.667): a UUID as one integer, so nobody had to be asked for it.

export const OID = {
  // Subject attributes, X.520
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  organizationalUnit: '2.5.4.11',

  // Extensions, RFC 5280 section 4.2.1
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyId: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',

  // Extended key usage, RFC 5280 section 4.2.1.12
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',

  // Signatures, RFC 5758 and RFC 8410
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  ed25519: '1.3.101.112',

  // Ours: 2.25.<5df44866-9a17-471c-8a76-884845731e82 as an integer>.1 holds extensions, .1.1 the identity.
  identity: '2.25.124886592503932546117493163185759526530.1.1',
} as const
