import { deepEqual, equal, throws } from 'node:assert/strict'
import { test } from 'node:test'

import { patternOf, readPlace } from './place.ts'

test('a place is here, or on a node', () => {
  deepEqual(readPlace('./a:b'), { kind: 'here', path: './a:b' })
  deepEqual(readPlace('/etc/a:b'), { kind: 'here', path: '/etc/a:b' })
  deepEqual(readPlace('root@web-1:/etc'), { kind: 'there', node: 'root@web-1', path: '/etc' })
  for (const [text, path] of [
    ['web-1:', '.'],
    ['web-1:~', '.'],
    ['web-1:~/', '.'],
    ['web-1:~/a/b', 'a/b'],
    ['web-1:a:b', 'a:b'],
  ] as const)
    deepEqual(readPlace(text), { kind: 'there', node: 'web-1', path })
})

test('what names nothing is refused', () => {
  for (const text of ['', ':a', 'root@:a', '-oProxyCommand=x:a']) throws(() => readPlace(text))
  throws(() => readPlace('web-1:~root/a'), /home of another login/)
})

test('the last part of a path may be a pattern', () => {
  equal(patternOf('/var/log/a.log'), undefined)
  equal(patternOf('/var/*/a.log'), undefined)
  for (const [path, folder, names, others] of [
    ['/var/log/*.log', '/var/log', ['a.log', 'a.b.log'], ['a.txt', 'log', '.a.log']],
    ['*', '.', ['a', 'ä'], ['.a']],
    ['/.*', '/', ['.a'], ['a']],
    ['a?c*', '.', ['abc', 'aäcd'], ['ac', 'bbc']],
    ['*a*b*', '.', ['ab', 'xaxbx', 'aab'], ['ba', 'a']],
  ] as const) {
    const pattern = patternOf(path)
    equal(pattern?.folder, folder, path)
    for (const name of names) equal(pattern?.means(name), true, `${path} ${name}`)
    for (const name of others) equal(pattern?.means(name), false, `${path} ${name}`)
  }
})

test('a pattern of many stars is answered at once', () => {
  equal(patternOf(`${'*a'.repeat(50)}b`)?.means('a'.repeat(10_000)), false)
})
