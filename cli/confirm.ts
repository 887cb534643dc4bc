import { createInterface } from "node:readline/promises";
import { InvalidInput } from "../contracts/errors.ts";
import { Ended, EXIT } from "./failure.ts";
import { note, text } from "./output.ts";

/** Whether somebody sits at a terminal. */
export function canAsk(): boolean {
  return process.stdin.isTTY && process.stderr.isTTY;
}

/** Asks whether what was just shown is to be applied; ends the command when it is not. */
export async function confirmApproval(): Promise<void> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    if ((await terminal.question("Type yes to approve exactly this: ")).trim() === "yes") return;
  } finally {
    terminal.close();
  }
  note("nothing was approved");
  throw new Ended(EXIT.refused);
}

/**
 * Asks a person to type the name of what is about to be erased. With `yes` nobody is asked; without
 * it and without a terminal nothing is done.
 */
export async function confirmErase(what: string, name: string, yes?: boolean): Promise<void> {
  if (yes) return;
  if (!canAsk()) {
    throw new InvalidInput([
      { path: "--yes", message: `is needed to erase ${what} "${name}" where nobody can be asked` },
    ]);
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const typed = await terminal.question(
      `This erases ${what} "${text(name)}" with everything derived from it, for good.\nType its name to go on: `,
    );
    if (typed === name) return;
  } finally {
    terminal.close();
  }
  note("that is another name; nothing was erased");
  throw new Ended(EXIT.refused);
}
