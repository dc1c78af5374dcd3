// The page behind an invite or reset link: shows the second factor's secret, sends password and code. Served by the proxy's front
// under a policy without inline script; the token is taken from the path and goes nowhere else. Never stores anything.

const token = location.pathname.split('/').at(-1) ?? ''
const address = `/v1/invites/${encodeURIComponent(token)}`

const form = find('form', HTMLFormElement)
const intro = find('intro', HTMLElement)
const message = find('message', HTMLElement)

await start()

async function start() {
  const answer = await call('GET')
  if (answer === undefined) {
    intro.textContent = 'This link cannot be used.'
    return
  }
  const { user, cluster, otpUri, otpSecret } = answer
  intro.textContent = `For ${user} of the cluster ${cluster}.`
  find('secret', HTMLElement).textContent = otpSecret
  const link = find('uri', HTMLAnchorElement)
  // Control writes otpauth links; anything else would be a link of somebody else's.
  if (otpUri.startsWith('otpauth://totp/')) link.href = otpUri
  form.hidden = false
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    void submit(user)
  })
}

/** @param {string} user */
async function submit(user) {
  const password = find('password', HTMLInputElement).value
  if (password !== find('again', HTMLInputElement).value) {
    message.textContent = 'The two passwords differ.'
    return
  }
  const button = form.querySelector('button')
  if (button === null) return
  button.disabled = true
  const answer = await call('POST', { password, otp: find('otp', HTMLInputElement).value })
  button.disabled = false
  if (answer === undefined) return
  form.hidden = true
  intro.textContent = `Done. Log in with: tsh login --proxy=${location.host} --user=${user}`
}

/**
 * The reply, or undefined after telling what went wrong.
 * @param {string} method
 * @param {{ password: string, otp: string }} [body]
 * @returns {Promise<{ user: string, cluster: string, otpUri: string, otpSecret: string } | undefined>}
 */
async function call(method, body) {
  message.textContent = ''
  /** @type {RequestInit} */
  const init = { method, cache: 'no-store', credentials: 'omit', redirect: 'error' }
  if (body !== undefined) {
    init.headers = { 'content-type': 'application/json' }
    init.body = JSON.stringify(body)
  }
  try {
    const response = await fetch(address, init)
    if (response.ok) {
      return /** @type {{ user: string, cluster: string, otpUri: string, otpSecret: string }} */ (
        await response.json()
      )
    }
    const { error } = /** @type {{ error: { message: string, next?: string } }} */ (
      await response.json()
    )
    message.textContent =
      error.next === undefined ? error.message : `${error.message} ${error.next}`
  } catch {
    message.textContent = 'The cluster cannot be reached now; try again in a moment.'
  }
  return undefined
}

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
function find(id, type) {
  const element = document.getElementById(id)
  if (element instanceof type) return element
  throw new Error(`the page has no ${id}`)
}
