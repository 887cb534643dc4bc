import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Documents of real prose: the READMEs of the packages installed here, one after the other. */

const NODE_MODULES = fileURLToPath(new URL("../node_modules", import.meta.url));
let corpus: string | undefined;

/** One long text, the same on every machine with the same lock file. */
export function prose(): string {
  corpus ??= packages()
    .flatMap(readmeOf)
    .join("\n\n")
    // A slice may begin anywhere, also inside a pair.
    .replaceAll(/[\u{10000}-\u{10ffff}]/gu, "?");
  if (corpus.length < 100_000) throw new Error("too few READMEs in node_modules: run npm ci");
  return corpus;
}

/** `count` documents of exactly `size` characters, each from another place of the prose. */
export function documents(count: number, size: number): string[] {
  const text = prose();
  const whole = text.repeat(Math.ceil(size / text.length) + 1);
  return Array.from({ length: count }, (_, index) => {
    const from = (index * size) % text.length;
    return whole.slice(from, from + size);
  });
}

/** One text of `size` characters. */
export function longText(size: number): string {
  return prose()
    .repeat(Math.ceil(size / prose().length))
    .slice(0, size);
}

function packages(): string[] {
  return readdirSync(NODE_MODULES)
    .toSorted()
    .flatMap((name) => {
      if (name.startsWith(".")) return [];
      const dir = join(NODE_MODULES, name);
      if (!name.startsWith("@")) return [dir];
      return readdirSync(dir)
        .toSorted()
        .map((scoped) => join(dir, scoped));
    });
}

function readmeOf(dir: string): string[] {
  const name = readdirSync(dir).find((file) => /^readme\.(md|markdown|txt)$/i.test(file));
  return name === undefined ? [] : [readFileSync(join(dir, name), "utf8").replaceAll("\0", "")];
}
