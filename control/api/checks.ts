// Checks of every request and reply of control's API, by call name, put together from the tables in checks/. The type of the table
// holds each schema to the types in calls.ts.

import * as z from 'zod'

import { ERROR_CODES } from '../../core/errors.ts'
import type { ErrorCode } from '../../core/errors.ts'
import type { ApiError } from './messages.ts'
import { operations, resources } from './checks/administration.ts'
import { KB } from './checks/fields.ts'
import type { Checks } from './checks/fields.ts'
import { machines } from './checks/machines.ts'
import { anonymous, people } from './checks/people.ts'
import { recordings } from './checks/recordings.ts'

/** Request and reply checks of every call. */
export const CHECKS: Checks = {
  ...anonymous,
  ...people,
  ...machines,
  ...resources,
  ...operations,
  ...recordings,
}

/** The body of every answer that is no success. */
export const apiErrorSchema: z.ZodType<ApiError> = z.object({
  error: z.object({
    code: z.enum(Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]]),
    message: z.string().max(16 * KB),
    next: z
      .string()
      .max(16 * KB)
      .exactOptional(),
    decisionId: z.string().max(100).exactOptional(),
  }),
})
