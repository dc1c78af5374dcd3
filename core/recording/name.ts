// The name of a recording's file, made of a session's id that somebody else drew: a UUID in its one spelling, or none at all.

const SID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const NAME = /^(.{36})\.rec$/

export function isRecordingSid(sid: string): boolean {
  return SID.test(sid)
}

/** Undefined for what is no session's id. */
export function recordingName(sid: string): string | undefined {
  return SID.test(sid) ? `${sid}.rec` : undefined
}

/** The session's id in a file's name; undefined for a file that is no recording's. */
export function sidOfName(name: string): string | undefined {
  const sid = NAME.exec(name)?.[1]
  return sid !== undefined && SID.test(sid) ? sid : undefined
}
