import { CommanderError, type Command } from "commander";
import { HoldfastError, InvalidInput } from "../contracts/errors.ts";

/** What a command ends with. Scripts branch on these; docs/cli.md states them. */
export const EXIT = {
  ok: 0,
  /** It was tried and did not work out: an operation that failed, a server that is away, findings. */
  failed: 1,
  /** The call itself is wrong: usage, input, an id that is not there. */
  badInput: 2,
  /** The call is right and the answer is no, as things stand. */
  refused: 3,
  interrupted: 130,
} as const;

/** Commander's own refusals, with the command they are about. */
class UsageError extends Error {}

/** What a command throws instead of ending the process where commander would end it. */
export function afterCommander(command: Command, error: CommanderError): Error {
  if (error.exitCode === 0) return new Ended(EXIT.ok);
  // Help was printed because a verb is missing.
  if (error.code === "commander.help") return new Ended(EXIT.badInput);
  const message = error.message.replace(/^error: /, "").replace(/\.$/, "");
  return new UsageError(`${message}: see "${pathOf(command)} --help"`);
}

/** A command that stops early and has said everything already. */
export class Ended extends Error {
  readonly exitCode: number;
  constructor(exitCode: number) {
    super(`ended with exit code ${exitCode}`);
    this.exitCode = exitCode;
  }
}

/** `holdfast retain submit`. */
function pathOf(command: Command): string {
  const names: string[] = [];
  for (let at: Command | null = command; at; at = at.parent) names.unshift(at.name());
  return names.join(" ");
}

/** Says on stderr, in one line, what went wrong and what to do. Answers the exit code. */
export function tellFailure(error: unknown): number {
  const exitCode = exitCodeOf(error);
  if (error instanceof Ended) return exitCode;
  if (process.env["HOLDFAST_DEBUG"] === "1") {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : error}\n`);
    for (let cause = causeOf(error); cause; cause = causeOf(cause)) {
      process.stderr.write(
        `caused by ${cause instanceof Error ? cause.stack : messageOf(cause)}\n`,
      );
    }
    return exitCode;
  }
  process.stderr.write(`error: ${oneLine(messageOf(error))}${hintFor(error)}\n`);
  return exitCode;
}

function exitCodeOf(error: unknown): number {
  if (error instanceof Ended) return error.exitCode;
  if (error instanceof UsageError || error instanceof InvalidInput) return EXIT.badInput;
  if (!(error instanceof HoldfastError)) return EXIT.failed;
  if (error.status === 404) return EXIT.badInput;
  return error.status >= 500 ? EXIT.failed : EXIT.refused;
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // Node reports a refused connection to several addresses as an aggregate without words.
  return error.message || (error as { code?: string }).code || error.name;
}

// What is not a refusal of ours is a fault; its place in the code is one variable away.
function hintFor(error: unknown): string {
  if (error instanceof HoldfastError || error instanceof UsageError) return "";
  if (error instanceof Error && error.name === "StackRunning") return "";
  return " (HOLDFAST_DEBUG=1 shows where)";
}

function causeOf(error: unknown): unknown {
  return error instanceof Error ? error.cause : undefined;
}

function oneLine(text: string): string {
  return text.trim().replaceAll(/\s*\n\s*/g, " ");
}
