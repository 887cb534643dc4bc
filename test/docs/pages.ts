import { readFileSync } from "node:fs";

const DOCS = new URL("../../docs/", import.meta.url);

/**
 * The fenced blocks of a page of docs/ whose info string is this, such as "python worker.py", in their
 * order. @throws when there is none: a page that was changed would be tested for nothing
 */
export function blocks(page: string, info: string): string[] {
  const text = readFileSync(new URL(page, DOCS), "utf8");
  const found = [...text.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)]
    .filter(([, said]) => said === info)
    .map(([, , body]) => body!);
  if (found.length === 0) throw new Error(`docs/${page} has no block "${info}"`);
  return found;
}

export function block(page: string, info: string): string {
  const found = blocks(page, info);
  if (found.length > 1) throw new Error(`docs/${page} has ${found.length} blocks "${info}"`);
  return found[0]!;
}

/** The rows of the page's table whose first heading is this, cell by cell. */
export function rows(page: string, heading: string): string[][] {
  const lines = readFileSync(new URL(page, DOCS), "utf8").split("\n");
  const at = lines.findIndex((line) => line.startsWith(`| ${heading} |`));
  if (at === -1) throw new Error(`docs/${page} has no table headed "${heading}"`);
  const end = lines.findIndex((line, no) => no > at && !line.startsWith("|"));
  return lines.slice(at + 2, end).map((line) =>
    line
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim()),
  );
}
