/**
 * What commands print. Text is for people: tables without borders, colour only on a terminal that
 * wants it. JSON is for programs: one document, or one line each for streams.
 */

const stdout = process.stdout;

/** True when text may be coloured: a terminal, and nobody asked for none. */
function mayColour(stream: NodeJS.WriteStream = stdout): boolean {
  const { NO_COLOR, TERM } = process.env;
  return stream.isTTY && !NO_COLOR && TERM !== "dumb";
}

type Colour = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";
const CODES: Record<Colour, [number, number]> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
};

export function paint(colour: Colour, text: string): string {
  if (!mayColour()) return text;
  const [on, off] = CODES[colour];
  return `\u001B[${on}m${text}\u001B[${off}m`;
}

const STATE_COLOURS: Record<string, Colour> = {
  completed: "green",
  succeeded: "green",
  delivered: "green",
  failed: "red",
  lost: "red",
  dead: "red",
  error: "red",
  blocked: "yellow",
  cancelled: "yellow",
  cancelling: "yellow",
  paused: "yellow",
  stalled: "yellow",
  warn: "yellow",
  running: "cyan",
};

/** A word for a state or an outcome, in its colour. */
export function paintState(word: string): string {
  const colour = STATE_COLOURS[word];
  return colour ? paint(colour, word) : word;
}

export function say(line = ""): void {
  stdout.write(`${line}\n`);
}

/** What is said to a person beside the output proper. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** One JSON document. */
export function printJson(value: unknown): void {
  stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** One line of NDJSON. */
export function printJsonLine(value: unknown): void {
  stdout.write(`${JSON.stringify(value)}\n`);
}

export type Cell = string | number | boolean | null | undefined;

/** A table. On a terminal the last column gives way to its width; elsewhere nothing is cut. */
export async function printTable(head: string[], rows: readonly Cell[][]): Promise<void> {
  const { default: Table } = await import("cli-table3");
  const cells = rows.map((row) => row.map(text));
  const table = new Table({
    head: head.map((title) => paint("bold", title)),
    chars: NO_BORDERS,
    style: { head: [], border: [], "padding-left": 0, "padding-right": 0, compact: true },
  });
  table.push(...fitted(head, cells).map((row) => row.map(paintState)));
  // Padding at the end of a line is of use to nobody.
  say(table.toString().replaceAll(/ +$/gm, ""));
}

const NO_BORDERS = Object.fromEntries(
  ["top", "bottom", "mid", "left", "right"]
    .flatMap((side) => [side, `${side}-left`, `${side}-mid`, `${side}-right`])
    .concat("middle")
    .map((name) => [name, name === "middle" ? "  " : ""]),
);

function fitted(head: string[], rows: string[][]): string[][] {
  const last = head.length - 1;
  if (!stdout.isTTY || last < 1) return rows;
  const before = head.slice(0, last).map((title, column) => {
    return Math.max(title.length, ...rows.map((row) => row[column]!.length)) + 2;
  });
  const room = stdout.columns - before.reduce((sum, width) => sum + width, 0);
  if (room < 10) return rows;
  return rows.map((row) => {
    const cell = row[last]!;
    return cell.length <= room ? row : [...row.slice(0, last), `${cell.slice(0, room - 1)}…`];
  });
}

/** Names and values, one a line; values that are not there are left out. */
export function printFields(fields: Record<string, Cell>): void {
  const shown = Object.entries(fields).filter(([, value]) => value !== null && value !== undefined);
  const width = Math.max(...shown.map(([name]) => name.length)) + 2;
  for (const [name, value] of shown) {
    say(`${paint("dim", name.padEnd(width))}${paintState(text(value))}`);
  }
}

/** A page of a list, with how to get the next. */
export async function printPage<T>(
  page: { items: readonly T[]; next?: string | undefined },
  how: { json?: boolean | undefined; head: string[]; row: (item: T) => Cell[]; none: string },
): Promise<void> {
  if (how.json) return printJson(page);
  if (page.items.length === 0) return note(how.none);
  await printTable(how.head, page.items.map(how.row));
  if (page.next !== undefined) note(`there is more: add --after ${page.next}`);
}

/** `2026-11-21 10:00:00Z`: an instant as people read it, without its fraction. */
export function moment(iso: string | null): string {
  return iso === null ? "" : iso.replace("T", " ").replace(/\.\d+Z$/, "Z");
}

// Names come from outside; what would steer the terminal is shown instead of obeyed.
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001F\u007F-\u009F\u202A-\u202E\u2066-\u2069]/g;

/** Text that is safe to show on a terminal, in one line. */
export function text(cell: Cell): string {
  if (cell === null || cell === undefined) return "";
  return String(cell).replaceAll(CONTROL, (char) => {
    if (char === "\n") return " ";
    return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
