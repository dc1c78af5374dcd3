// Password hashes: what matches, what an unknown user costs, and that jobs are bounded. The cost is small here.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { errorCode } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import { passwordProblem, Passwords } from './password.ts'

const cost = { memoryKb: 64, passes: 1 }

describe('Passwords', () => {
  it('matches the password that was hashed, in either Unicode form, and no other', async () => {
    const passwords = new Passwords({ jobsMax: 2, cost })
    const stored = await passwords.hash('Größe-und-Länge'.normalize('NFC'))
    assert.equal(await passwords.matches('Größe-und-Länge'.normalize('NFD'), stored), true)
    assert.equal(await passwords.matches('größe-und-länge', stored), false)
    assert.equal(await passwords.matches('', stored), false)
  })

  it('salts: two hashes of one password differ', async () => {
    const passwords = new Passwords({ jobsMax: 2, cost })
    assert.notEqual(await passwords.hash('same password'), await passwords.hash('same password'))
  })

  it('never matches without a stored hash', async () => {
    assert.equal(await new Passwords({ jobsMax: 1, cost }).matches('', undefined), false)
  })

  it('does the same work for a user who is not there', async () => {
    const passwords = new Passwords({ jobsMax: 1, cost: { memoryKb: 8 * 1024, passes: 3 } })
    const stored = await passwords.hash('correct horse')
    const work = async (known: string | undefined): Promise<number> => {
      const before = process.cpuUsage()
      for (let i = 0; i < 10; i++) await passwords.matches('wrong password', known)
      const { user, system } = process.cpuUsage(before)
      return user + system
    }
    await work(undefined)
    // CPU time, not the clock's: other processes do not count. Leaving the hash out would be a hundredth.
    const [there, missing] = [await work(stored), await work(undefined)]
    assert.ok(missing > there / 2 && missing < there * 2, `${missing} µs and ${there} µs`)
  })

  it('keeps working with the cost a hash was made with', async () => {
    const stored = await new Passwords({ jobsMax: 1, cost }).hash('correct horse')
    const dearer = new Passwords({ jobsMax: 1, cost: { memoryKb: 128, passes: 2 } })
    assert.equal(await dearer.matches('correct horse', stored), true)
  })

  it('lets a bounded number wait and refuses the rest', async () => {
    const passwords = new Passwords({ jobsMax: 1, cost })
    const many = Array.from({ length: max('passwordJobsWaitingMax') + 8 }, () =>
      passwords.hash('x'),
    )
    const codes = (await Promise.allSettled(many)).map((each) =>
      each.status === 'rejected' ? errorCode(each.reason) : 'done',
    )
    assert.equal(
      codes.filter((code) => code === 'done').length > max('passwordJobsWaitingMax') - 2,
      true,
    )
    assert.equal(codes.includes('limit.exceeded'), true)
    assert.match(await passwords.hash('again'), /^\$argon2id\$/)
  })

  it('names what is wrong with a new password', () => {
    assert.match(passwordProblem('short') ?? '', /shorter than 12/)
    assert.match(passwordProblem('x'.repeat(129)) ?? '', /longer than 128/)
    assert.equal(passwordProblem('x'.repeat(12)), undefined)
  })
})
