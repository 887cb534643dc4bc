import { z } from "zod";
import { OperationId, Tenant } from "../../contracts/operation.ts";
import { unstorable } from "../../contracts/text.ts";

/** Path and query parameters that several routes take. */
const LARGEST_INT = 2_147_483_647;

export const OfOperation = z.strictObject({ id: OperationId });

export const limit = (fallback: number, max: number) =>
  z.coerce.number().int().min(1).max(max).default(fallback);

/** The `next` of the page before, where it is a number. */
export const cursor = z
  .string()
  .regex(/^\d{1,18}$/, "must be the `next` of the page before")
  .optional();

/** The same where rows are counted from 1 inside an operation. */
export const smallCursor = cursor.refine((text) => Number(text ?? 0) <= LARGEST_INT, {
  message: "must be the `next` of the page before",
});

export const number = z.coerce.number().int().min(1).max(LARGEST_INT);

export const text = (max: number) =>
  z
    .string()
    .max(max)
    .refine(
      (value) => unstorable(value) === undefined,
      "contains characters Postgres cannot store",
    );

/** Absent: the key's only tenant, or `default`. */
export const tenant = Tenant.optional();

/** Without what was not given. */
export function given<T extends object>(values: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) => value !== undefined),
  ) as never;
}
