// The plain form of `<proxy>.yaml`: what `tsh login` writes, read without the whole of YAML, whose reader costs each start of
// `tsh proxy ssh` 15 ms. Lines `key: word`, or `key:` with lines `  - word` below. Anything else is undefined here, and YAML's.

export type PlainValue = string | boolean | readonly string[]

// Words that are strings in YAML 1.2 whoever reads them; numbers, null and the like are left to YAML.
const WORD = /^(?:[A-Za-z][\w.@/-]*(?::[\w.@/-]+)*|(?:\d{1,3}\.){3}\d{1,3}:\d{1,5})$/
const RESERVED = /^(?:true|false|null|yes|no|on|off|y|n)$/i

export function readPlain(text: string): Readonly<Record<string, PlainValue>> | undefined {
  const fields = new Map<string, PlainValue>()
  let list: string[] | undefined
  for (const line of text.split('\n')) {
    if (line === '') continue
    const [, item] = /^ {2}- (\S+)$/.exec(line) ?? []
    if (item !== undefined) {
      if (list === undefined || !isWord(item)) return undefined
      list.push(item)
      continue
    }
    if (list?.length === 0) return undefined
    const [, key = '', value] = /^([a-z_]+):(?: (\S+))?$/.exec(line) ?? []
    if (key === '' || !isWord(key) || fields.has(key)) return undefined
    list = value === undefined ? [] : undefined
    const read = list ?? plainValue(value ?? '')
    if (read === undefined) return undefined
    fields.set(key, read)
  }
  return list?.length === 0 ? undefined : Object.fromEntries(fields)
}

function plainValue(text: string): string | boolean | undefined {
  if (text === 'true' || text === 'false') return text === 'true'
  return isWord(text) ? text : undefined
}

function isWord(text: string): boolean {
  return WORD.test(text) && !RESERVED.test(text)
}
