import type { z } from "zod";
import { InvalidInput, type InputIssue } from "../contracts/errors.ts";

/** Parses at the edge; what is wrong is named by field, as the caller wrote it. */
export function parseInput<S extends z.ZodType>(schema: S, value: unknown, at = ""): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new InvalidInput(issuesOf(parsed.error, at));
}

export function issuesOf(error: z.ZodError, at = ""): InputIssue[] {
  return error.issues.map((issue) => ({
    path: pathOf(issue.path, at),
    message: unknownKeys(issue) ?? issue.message,
  }));
}

function unknownKeys(issue: z.core.$ZodIssue): string | undefined {
  if (issue.code !== "unrecognized_keys") return undefined;
  return `unknown ${issue.keys.length === 1 ? "field" : "fields"} ${issue.keys.join(", ")}`;
}

function pathOf(path: readonly PropertyKey[], at: string): string {
  const written = path
    .map((step) => (typeof step === "number" ? `[${step}]` : `.${String(step)}`))
    .join("");
  if (at) return written ? `${at}: ${written.replace(/^\./, "")}` : at;
  return written.replace(/^\./, "") || "input";
}
