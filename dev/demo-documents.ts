import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import type { RetainItem } from "../contracts/retain.ts";
import { isBlank, unstorable } from "../contracts/text.ts";

const README = /^readme(\.(md|markdown|txt))?$/i;
const TEXT =
  /\.(md|markdown|mdx|txt|rst|adoc|html?|json|ya?ml|csv|tsx?|jsx?|py|go|rs|java|sql|sh)$/i;
const MOST = 10_000;

/** The README of every package under a node_modules folder, nested and scoped ones too. */
export function readmes(nodeModules: string): Promise<RetainItem[]> {
  return documents(nodeModules, (path, name) => README.test(name) && isPackageRoot(path));
}

/** Every text file of a folder. */
export function textFiles(folder: string): Promise<RetainItem[]> {
  return documents(folder, (_, name) => README.test(name) || TEXT.test(name));
}

async function documents(
  folder: string,
  wanted: (path: string, name: string) => boolean,
): Promise<RetainItem[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile() && wanted(entry.parentPath, entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted()
    .slice(0, MOST);
  const items: RetainItem[] = [];
  for (const file of files) {
    const content = await readFile(file, "utf8");
    // U+FFFD is what bytes that are no UTF-8 were read as.
    if (isBlank(content) || unstorable(content) || content.includes("\uFFFD")) continue;
    items.push({ documentId: relative(folder, file), content });
  }
  return items;
}

// node_modules/name or node_modules/@scope/name, at any depth.
function isPackageRoot(path: string): boolean {
  return /(^|[/\\])node_modules[/\\](@[^/\\]+[/\\])?[^/\\]+$/.test(path);
}
