import { readFileSync } from "node:fs";

/** The version of this package, from the nearest package.json: beside this file in a checkout, one folder up in a build. */
export const VERSION = readVersion(["./package.json", "../package.json"]);

function readVersion(candidates: readonly string[]): string {
  for (const candidate of candidates) {
    try {
      const text = readFileSync(new URL(candidate, import.meta.url), "utf8");
      const { name, version } = JSON.parse(text) as { name?: string; version?: string };
      if (name === "holdfast" && version) return version;
    } catch {
      continue; // not here; the next place
    }
  }
  return "unknown";
}
