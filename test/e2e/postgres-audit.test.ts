// Every statement once, in order, in relay mode.

import { auditSuite } from '../fixtures/audited.ts'

auditSuite({ name: 'relay', config: [], role: 'agent' })
