// Completion scripts for bash, zsh and fish, made from the table of commands, so that they cannot lag behind it. They complete
// words and options; names of databases would need a login at every key press.

import { type CommandSpec, type Option, usage } from './command.ts'
import { describeAll, type ProgramSpec } from './program.ts'

const SHELLS = ['bash', 'zsh', 'fish'] as const

/** One place in the command line: the words typed so far, and what may follow. */
interface Place {
  readonly words: string
  readonly next: readonly { readonly word: string; readonly about: string }[]
}

export function completionOf(spec: ProgramSpec): CommandSpec {
  const { name } = spec
  return {
    takes: '<shell>',
    about: `Shells: ${SHELLS.join(', ')}.`,
    examples: [`source <(${name} completion bash)`, `${name} completion fish | source`],
    async run(input, tools) {
      const shell = SHELLS.find((each) => each === input.arg(0))
      if (shell === undefined) throw usage(`completion for ${SHELLS.join(', ')} only`)
      const places = await placesOf(spec)
      switch (shell) {
        case 'bash':
          return tools.out(bash(name, places))
        case 'zsh':
          return tools.out(zsh(name, places))
        case 'fish':
          return tools.out(fish(name, places))
      }
    },
  }
}

async function placesOf(spec: ProgramSpec): Promise<readonly Place[]> {
  const rows = await describeAll(spec)
  const common = spec.options.flatMap(optionWords)
  const all = [
    ...Object.entries(spec.groups).map(([words, about]) => ({ words, about })),
    ...rows.map(({ words, summary }) => ({ words, about: summary })),
  ]
  const below = (group: string): { word: string; about: string }[] =>
    all.flatMap(({ words, about }) => {
      const word = words.startsWith(group) ? words.slice(group.length) : ''
      return word === '' || word.includes(' ') ? [] : [{ word, about }]
    })
  const inGroup = Object.keys(spec.groups).map((group) => ({
    words: group,
    next: below(`${group} `),
  }))
  const commands = rows.map(({ words, spec: { options = [] } }) => ({
    words,
    next: [...options.flatMap(optionWords), ...common],
  }))
  return [{ words: '', next: [...below(''), ...common] }, ...inGroup, ...commands]
}

function optionWords({ flags, about }: Option): { word: string; about: string }[] {
  const word = /--[a-z0-9-]+/.exec(flags)?.[0]
  return word === undefined ? [] : [{ word, about }]
}

function known(places: readonly Place[]): string {
  return places.flatMap(({ words }) => (words === '' ? [] : [`'${words}'`])).join('|')
}

function followers({ next }: Place): string {
  return next.map(({ word }) => word).join(' ')
}

function bash(name: string, places: readonly Place[]): string {
  const cases = places.map(
    (place) =>
      `    '${place.words}') COMPREPLY=($(compgen -W '${followers(place)}' -- "$current")) ;;`,
  )
  return `_${name}() {
  local current="\${COMP_WORDS[COMP_CWORD]}" typed='' word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "\${typed:+$typed }$word" in
      ${known(places)}) typed="\${typed:+$typed }$word" ;;
    esac
  done
  case "$typed" in
${cases.join('\n')}
  esac
}
complete -o default -F _${name} ${name}
`
}

function zsh(name: string, places: readonly Place[]): string {
  const cases = places.map((place) => `    '${place.words}') compadd -- ${followers(place)} ;;`)
  return `#compdef ${name}
_${name}() {
  local typed='' word
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "\${typed:+$typed }$word" in
      ${known(places)}) typed="\${typed:+$typed }$word" ;;
    esac
  done
  case "$typed" in
${cases.join('\n')}
  esac
}
compdef _${name} ${name}
`
}

function fish(name: string, places: readonly Place[]): string {
  const all = places.flatMap(({ words }) => (words === '' ? [] : [`'${words}'`])).join(' ')
  const lines = places.flatMap(({ words, next }) =>
    next.map(({ word, about }) => {
      const what = word.startsWith('--') ? `-l ${word.slice(2)}` : `-f -a ${word}`
      return `complete -c ${name} -n "__${name}_at '${words}'" ${what} -d '${about.replaceAll("'", '’')}'`
    }),
  )
  return `function __${name}_at
  set -l typed ''
  for word in (commandline -opc)[2..-1]
    set -l longer (string trim "$typed $word")
    contains -- $longer ${all}; and set typed $longer
  end
  test "$typed" = "$argv[1]"
end
${lines.join('\n')}
`
}
