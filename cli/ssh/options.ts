// `-o Name=value` of `tsh ssh` and `tsh scp`: the few options of OpenSSH that mean something here, each by its name there. Every other
// is refused by name: an option that is silently nothing would be believed.

import { usage } from '../command.ts'

export interface OpensshOptions {
  readonly forwardAgent?: boolean
  readonly requestTty?: 'no' | 'auto' | 'yes'
  /** Variables to pass as they are here, and those with a value of their own. */
  readonly env: Readonly<Record<string, string>>
}

export function readOptions(
  given: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): OpensshOptions {
  let options: OpensshOptions = { env: {} }
  for (const text of given) {
    const [, name = '', value = ''] = /^\s*(\w+)\s*(?:=|\s)\s*(.*?)\s*$/s.exec(text) ?? []
    options = withOption(options, name, value, text, environment)
  }
  return options
}

function withOption(
  options: OpensshOptions,
  name: string,
  value: string,
  text: string,
  environment: Readonly<Record<string, string | undefined>>,
): OpensshOptions {
  switch (name.toLowerCase()) {
    case 'forwardagent':
      return { ...options, forwardAgent: one(text, value, ['yes', 'no']) === 'yes' }
    case 'requesttty': {
      const tty = one(text, value, ['yes', 'force', 'no', 'auto'])
      return { ...options, requestTty: tty === 'force' ? 'yes' : tty }
    }
    case 'stricthostkeychecking':
      if (value.toLowerCase() === 'yes') return options
      throw usage(`-o ${text} is refused: hosts are always verified, and nobody is asked`)
    case 'sendenv': {
      const names = value.split(/\s+/).filter((each) => environment[each] !== undefined)
      const sent = names.map((each) => [each, environment[each] ?? ''] as const)
      return { ...options, env: { ...options.env, ...Object.fromEntries(sent) } }
    }
    case 'setenv': {
      const [, variable, content = ''] = /^([A-Za-z_]\w*)=(.*)$/s.exec(value) ?? []
      if (variable === undefined) throw usage(`-o ${text}: write SetEnv=NAME=value`)
      return { ...options, env: { ...options.env, [variable]: content } }
    }
    default:
      throw usage(
        `-o ${text} is refused: tsh knows ForwardAgent, RequestTTY, StrictHostKeyChecking, SendEnv and SetEnv`,
        'With OpenSSH all of them work: `tsh config` writes what it needs.',
      )
  }
}

function one<T extends string>(text: string, value: string, known: readonly T[]): T {
  const found = known.find((each) => each === value.toLowerCase())
  if (found !== undefined) return found
  throw usage(`-o ${text}: the value is one of ${known.join(', ')}`)
}
