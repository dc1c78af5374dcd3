// `tsh logout`: keys and certificates go, out of the ssh-agent too, and with them the connection services that named them. The pin stays, so that the next
// login at this proxy needs none.

import type { CommandSpec } from '../command.ts'
import type { Profile } from '../profile.ts'
import { dropFromAgent } from '../ssh/keep.ts'
import type { Tools } from '../tools.ts'
import { dropService } from './database-service.ts'
import { readLogin, wantedProxy } from './session.ts'

export const logout: CommandSpec = {
  about: 'Without --proxy all logins end.',
  examples: ['tsh logout', 'tsh logout --proxy=proxy.example.com:443'],
  async run(input, tools) {
    const proxy = wantedProxy(input, tools)
    const all = await tools.profiles.list()
    const named = proxy === undefined ? undefined : await tools.profiles.read(proxy)
    const chosen = proxy === undefined ? all : all.filter((each) => each.proxy === named?.proxy)
    for (const profile of chosen) await dropFromAgent(tools, profile)
    const ended = chosen.filter((profile) => forget(tools, profile))
    if (ended.length === 0) tools.out('Nobody was logged in.\n')
    for (const { user, proxy: at } of ended) tools.out(`Logged out ${user} from ${at}.\n`)
  },
}

function forget(tools: Tools, profile: Profile): boolean {
  const login = readLogin(tools, profile)
  for (const database of tools.profiles.databases(profile)) dropService(tools, profile, database)
  tools.profiles.forget(profile)
  return login !== undefined
}
