import { InvalidArgumentError, type Command } from "commander";

/** What declarations of commands share. Nothing heavy is loaded here: `--help` passes through. */

/** Examples at the end of a command's help, one line each. */
export function examples(command: Command, ...lines: string[]): Command {
  const title = lines.length === 1 ? "Example" : "Examples";
  return command.addHelpText(
    "after",
    `\n${title}:\n${lines.map((line) => `  ${line}`).join("\n")}`,
  );
}

export const JSON_FLAG = ["--json", "print JSON instead of text"] as const;
export const TENANT_FLAG = [
  "--tenant <tenant>",
  'the tenant (default: "default", or the only one there may be)',
] as const;

/** For an option that may be given more than once. */
export function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value];
}

export function wholeNumber(text: string): number {
  if (/^-?\d{1,15}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It must be a whole number.");
}

export function atLeastOne(text: string): number {
  const n = wholeNumber(text);
  if (n >= 1) return n;
  throw new InvalidArgumentError("It must be at least 1.");
}

/** A share of a whole: 0 to 1. */
export function share(text: string): number {
  const value = /^\d{0,3}(\.\d{1,9})?$/.test(text) && text !== "" ? Number(text) : Number.NaN;
  if (value >= 0 && value <= 1) return value;
  throw new InvalidArgumentError("It must be a number from 0 to 1.");
}

/** The given keys without those that are undefined, as optional fields want it. */
export function given<T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const kept = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(kept) as never;
}
