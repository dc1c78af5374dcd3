// Which texts may stand as principals of an SSH certificate. A login lands in arguments, in environments and in pattern lists of other
// servers, so nothing that means something there (white space, comma, star, a leading dash) is one.

import { isPlainText } from '../cert/identity.ts'

/** The principal of somebody who may log in nowhere: an empty list would mean everybody to some readers. No account is called so. */
export const NO_LOGIN = '-sluice-no-login'

/** A login as a user's certificate may name it. A pattern is none: a certificate says exactly who. */
export function isLogin(text: string): boolean {
  return isPlainText(text) && !text.startsWith('-') && !/[\s*?!,"'`$;&|<>()[\]{}/:=]/u.test(text)
}
