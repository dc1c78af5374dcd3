// Every statement once, in order, in terminate mode: the proxy reads the session and tells of it.

import { auditSuite } from '../fixtures/audited.ts'

auditSuite({ name: 'terminate', config: ['session_recording: proxy'], role: 'proxy' })
