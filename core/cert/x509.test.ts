// X.509 against two other implementations, both ways: what we write they read and verify, what they write we read alike.
// Then what only a hostile writer makes.

import 'reflect-metadata'
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { webcrypto, X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import * as peculiar from '@peculiar/x509'
import fc from 'fast-check'

import { systemIdentity, testCa, testLeaf, userIdentity } from '../../test/fixtures/certificates.ts'
import { temporaryFolder } from '../../test/fixtures/files.ts'
import { errorCode } from '../errors.ts'
import { encodeIdentity } from './identity.ts'
import { generateKey } from './key.ts'
import { attributeValues, ipText, ipBytes, isIpAddress } from './name.ts'
import { OID } from './oid.ts'
import { readPemOne, writePem } from './pem.ts'
import {
  isCanonical,
  newSerial,
  readCertificate,
  readIssuer,
  readTargetNames,
  serialText,
  verifyCertificate,
} from './x509.ts'

const NOW = Date.UTC(2026, 10, 20)
const malformed = (error: unknown): boolean => errorCode(error) === 'cert.malformed'

function openssl(args: readonly string[], input = ''): string {
  return execFileSync('openssl', args, { input, stdio: ['pipe', 'pipe', 'pipe'] }).toString()
}

const ca = testCa('a test CA', NOW)
const leaf = testLeaf(ca, userIdentity(), NOW)
const named = testLeaf(ca, systemIdentity('proxy'), NOW, {
  extend: {
    dnsNames: ['one.sluice.test', '*.orders.db.sluice.test'],
    ipAddresses: ['192.0.2.7', '2001:db8:0:0:0:0:0:1'],
  },
})

describe('what we write', () => {
  test('openssl reads it as we meant it', () => {
    const text = openssl(
      ['x509', '-noout', '-text', '-nameopt', 'RFC2253', '-certopt', 'ext_dump'],
      writePem('CERTIFICATE', named.der),
    )
    assert.match(text, /Issuer: CN=a test CA\n/)
    assert.match(text, /Subject: CN=for people\n/)
    assert.match(text, /Not Before: Nov 19 23:59:00 2026 GMT/)
    assert.match(text, /Not After : Nov 20 01:00:00 2026 GMT/)
    assert.match(text, /Basic Constraints: critical\s+CA:FALSE/)
    assert.match(text, /Key Usage: critical\s+Digital Signature\n/)
    assert.match(text, /TLS Web Client Authentication, TLS Web Server Authentication\n/)
    assert.match(text, /DNS:one.sluice.test, DNS:\*.orders.db.sluice.test, IP Address:192.0.2.7/)
    assert.match(text, /IP Address:2001:DB8:0:0:0:0:0:1\n/)
    assert.ok(text.includes(OID.identity))
  })

  test('openssl verifies it against the CA, under strict rules', async (t) => {
    const folder = await temporaryFolder(t)
    const file = path.join(folder, 'ca.pem')
    writeFileSync(file, writePem('CERTIFICATE', ca.der))
    const options = ['verify', '-x509_strict', '-CAfile', file, '-attime', String(NOW / 1000)]
    const pem = writePem('CERTIFICATE', leaf.der)
    assert.match(openssl([...options, '-purpose', 'sslclient'], pem), /OK/)
    assert.throws(
      () => openssl([...options, '-purpose', 'sslserver'], pem),
      /unsuitable|unsupported/,
    )
  })

  test('Node agrees on serial, dates, names and the issuer', () => {
    const read = readCertificate(named.der)
    const theirs = new X509Certificate(named.der)
    assert.equal(serialText(read.serial), theirs.serialNumber.toLowerCase().replace(/^0+/, ''))
    assert.equal(read.notAfterMs, Date.parse(theirs.validTo))
    assert.equal(theirs.checkIP('2001:db8::1'), '2001:db8::1')
    assert.equal(theirs.verify(new X509Certificate(ca.der).publicKey), true)
    assert.equal(theirs.checkIssued(new X509Certificate(ca.der)), true)
  })

  test('@peculiar/x509 finds the same fields and our extension', async () => {
    const theirs = new peculiar.X509Certificate(named.der)
    const issuer = new peculiar.X509Certificate(ca.der)
    assert.equal(await theirs.verify({ publicKey: issuer, date: new Date(NOW) }), true)
    assert.equal(issuer.getExtension(peculiar.BasicConstraintsExtension)?.pathLength, 0)
    // It prints nothing after an arc of 128 bits, so the extension is found by the arc's start.
    const extension = theirs.extensions.find(({ type }) => type.startsWith('2.25'))
    assert.deepEqual(
      Buffer.from(extension?.value ?? new ArrayBuffer()),
      Buffer.from(encodeIdentity(systemIdentity('proxy'))),
    )
    assert.equal(extension?.critical, false)
  })

  test('we read it again as what it is, and write it again to the byte', () => {
    for (const der of [ca.der, leaf.der, named.der]) {
      const read = readCertificate(der)
      assert.ok(isCanonical(read))
      assert.ok(verifyCertificate(read, readIssuer(ca.der)))
    }
    assert.deepEqual(readTargetNames(named.der), ['one.sluice.test', '*.orders.db.sluice.test'])
  })

  test('Ed25519 signs and verifies as well', () => {
    const other = testCa('an Ed25519 CA', NOW, { signer: generateKey('ed25519').signer })
    const read = readCertificate(testLeaf(other, userIdentity(), NOW).der)
    assert.ok(verifyCertificate(read, readIssuer(other.der)))
    assert.match(openssl(['x509', '-noout', '-text'], writePem('CERTIFICATE', read.der)), /ED25519/)
  })

  test('serial numbers are 128 random bits', () => {
    const serials = new Set(Array.from({ length: 50 }, () => serialText(newSerial())))
    assert.equal(serials.size, 50)
    assert.equal(newSerial().length, 16)
    assert.equal(serialText(Uint8Array.of(0, 0x0a)), 'a')
    assert.equal(serialText(Uint8Array.of(0)), '0')
  })

  test('dates from 2050 on survive', () => {
    const late = testLeaf(ca, userIdentity(), NOW, { notAfterMs: Date.UTC(2061, 1, 3) })
    assert.equal(readCertificate(late.der).notAfterMs, Date.UTC(2061, 1, 3))
    assert.equal(Date.parse(new X509Certificate(late.der).validTo), Date.UTC(2061, 1, 3))
  })
})

describe('what others write', () => {
  test('a CA of openssl is read with all its fields, and verifies itself', () => {
    const pem = openssl(
      (
        'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null ' +
        '-subj /O=Example/OU=Ops/CN=SomeCA -days 30 -addext ' +
        'keyUsage=critical,keyCertSign,cRLSign -addext certificatePolicies=1.2.3.4 -addext ' +
        'subjectAltName=DNS:ca.example,IP:192.0.2.1 -set_serial 0x8001 -addext ' +
        'extendedKeyUsage=serverAuth,1.2.3.5'
      ).split(' '),
    )
    const read = readCertificate(readPemOne('CERTIFICATE', pem))
    assert.deepEqual(attributeValues(read.subject, OID.organization), ['Example'])
    assert.deepEqual(attributeValues(read.subject, OID.organizationalUnit), ['Ops'])
    assert.deepEqual(attributeValues(read.subject, OID.commonName), ['SomeCA'])
    assert.equal(serialText(read.serial), '8001')
    const { extensions } = read
    assert.deepEqual(extensions.basicConstraints, { ca: true })
    assert.deepEqual(extensions.keyUsage, ['keyCertSign', 'cRLSign'])
    assert.deepEqual(extensions.extendedKeyUsage, [OID.serverAuth, '1.2.3.5'])
    assert.deepEqual(extensions.dnsNames, ['ca.example'])
    assert.deepEqual(extensions.ipAddresses, ['192.0.2.1'])
    assert.deepEqual(extensions.others, [{ type: '2.5.29.32', critical: false }])
    assert.ok(verifyCertificate(read, readIssuer(read.der)))
    // Our own writer would leave the policies out: readable is not canonical.
    assert.equal(isCanonical(read), false)
  })

  test('a certificate of @peculiar/x509 is read with all its fields', async () => {
    const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
    const theirs = await peculiar.X509CertificateGenerator.createSelfSigned(
      {
        serialNumber: '0102ff',
        name: 'CN=peculiar, O=Example',
        notBefore: new Date(NOW),
        notAfter: new Date(Date.UTC(2055, 0, 1)),
        signingAlgorithm: algorithm,
        keys,
        extensions: [
          new peculiar.BasicConstraintsExtension(true, 3, true),
          new peculiar.KeyUsagesExtension(
            peculiar.KeyUsageFlags.keyCertSign | peculiar.KeyUsageFlags.digitalSignature,
            true,
          ),
        ],
      },
      webcrypto,
    )
    const read = readCertificate(Buffer.from(theirs.rawData))
    assert.equal(serialText(read.serial), '102ff')
    assert.equal(read.notBeforeMs, NOW)
    assert.equal(read.notAfterMs, Date.UTC(2055, 0, 1))
    assert.deepEqual(read.extensions.basicConstraints, { ca: true, pathLength: 3 })
    assert.deepEqual(read.extensions.keyUsage, ['digitalSignature', 'keyCertSign'])
    assert.deepEqual(attributeValues(read.subject, OID.commonName), ['peculiar'])
  })

  test('an RSA certificate is read, but is no issuer of ours', () => {
    const pem = openssl(
      (
        'req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=rsa -addext ' +
        'keyUsage=keyCertSign'
      ).split(' '),
    )
    const der = readPemOne('CERTIFICATE', pem)
    assert.deepEqual(attributeValues(readCertificate(der).subject, OID.commonName), ['rsa'])
    assert.throws(() => readIssuer(der), malformed)
  })
})

describe('what a hostile writer makes', () => {
  const hex = Buffer.from(leaf.der).toString('hex')
  /** The certificate with one piece of its DER replaced by a piece of the same length. */
  const patched = (from: string, to: string): Buffer => {
    assert.equal(from.length, to.length)
    assert.ok(hex.includes(from), `${from} is not in the certificate`)
    return Buffer.from(hex.replace(from, to), 'hex')
  }

  test('trailing bytes are refused', () => {
    const longer = Buffer.concat([leaf.der, Uint8Array.of(0)])
    assert.throws(() => readCertificate(longer), malformed)
  })

  test('another version is refused', () => {
    assert.throws(() => readCertificate(patched('a003020102', 'a003020101')), malformed)
  })

  test('a second signature algorithm outside the signed part is refused', () => {
    const at = hex.lastIndexOf('2a8648ce3d040302')
    const other = Buffer.from(`${hex.slice(0, at)}2a8648ce3d040303${hex.slice(at + 16)}`, 'hex')
    assert.throws(() => readCertificate(other), malformed)
  })

  test('an extension that comes twice is refused', () => {
    // The subject key id is renamed to a second key usage.
    assert.throws(() => readCertificate(patched('0603551d0e', '0603551d0f')), malformed)
  })

  test('a default that is written out is refused', () => {
    // keyUsage critical TRUE becomes FALSE, which DER leaves out.
    assert.throws(() => readCertificate(patched('551d0f0101ff', '551d0f010100')), malformed)
  })

  test('a key usage with a zero bit at its end is refused', () => {
    assert.throws(() => readCertificate(patched('03020780', '03020680')), malformed)
  })

  test('a certificate over the limit is refused, however good', () => {
    const dnsNames = Array.from({ length: 3000 }, (_, n) => `host-${n}.example.sluice.test`)
    const large = testLeaf(ca, systemIdentity('proxy'), NOW, { extend: { dnsNames } })
    assert.ok(large.der.length > 64 * 1024)
    assert.throws(() => readCertificate(large.der), malformed)
  })

  test('a CA without the right to sign, or without a key identifier, is no issuer', () => {
    for (const extend of [{ keyUsage: ['cRLSign'] as const }, { basicConstraints: { ca: false } }])
      assert.throws(() => readIssuer(testCa('x', NOW, { extend }).der), malformed)
  })

  test('an extension nobody knows is listed and is not canonical', () => {
    const read = readCertificate(patched('0603551d0e04', '0603551d6304'))
    assert.deepEqual(read.extensions.others, [{ type: '2.5.29.99', critical: false }])
    assert.equal(isCanonical(read), false)
  })

  test('any cut of a good certificate is refused', () => {
    for (let at = 0; at < leaf.der.length; at++)
      assert.throws(() => readCertificate(leaf.der.subarray(0, at)), malformed)
  })

  test('any bytes, and any good certificate with some bytes changed, end in a value or in cert.malformed', () => {
    const changes = fc.array(fc.tuple(fc.nat(named.der.length - 1), fc.nat(255)), { maxLength: 4 })
    const mutated = changes.map((list) => {
      const bytes = Buffer.from(named.der)
      for (const [at, value] of list) bytes[at] = value
      return bytes
    })
    fc.assert(
      fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 200 })), (bytes) => {
        try {
          readCertificate(bytes)
        } catch (error) {
          assert.ok(malformed(error), String(error))
        }
      }),
      { numRuns: 2000 },
    )
  })
})

describe('addresses', () => {
  test('IPv4 and IPv6 in any usual spelling become their bytes', () => {
    assert.deepEqual([...ipBytes('192.0.2.255')], [192, 0, 2, 255])
    assert.equal(ipText(ipBytes('2001:DB8::1')), '2001:db8:0:0:0:0:0:1')
    assert.equal(ipText(ipBytes('::')), '0:0:0:0:0:0:0:0')
    assert.equal(ipText(ipBytes('1:2:3:4:5:6:7::')), '1:2:3:4:5:6:7:0')
  })

  test('everything else is none', () => {
    const none = [
      '',
      '1.2.3',
      '1.2.3.4.5',
      '256.0.0.1',
      '01.2.3.4',
      '1.2.3.4 ',
      ':',
      ':::',
      '1::2::3',
    ]
    const more = [
      '1:2:3:4:5:6:7',
      '1:2:3:4:5:6:7:8:9',
      '::12345',
      '::g',
      '::1%eth0',
      '1:2:3:4:5:6:7:8::',
    ]
    for (const text of [...none, ...more]) assert.equal(isIpAddress(text), false, text)
  })
})
