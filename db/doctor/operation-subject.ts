import type { Found } from "./check.ts";

/** How checks speak of an operation. */

export interface OperationSubject {
  id: string;
  tenant: string;
  kind: string;
}

export function about(row: OperationSubject, message: string, repair?: string): Found {
  return {
    subject: `operation ${row.id}`,
    message: `${row.kind} of ${row.tenant}: ${message}`,
    tenant: row.tenant,
    operationId: row.id,
    ...(repair === undefined ? {} : { repair }),
  };
}

export const count = (n: number, one: string, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;
