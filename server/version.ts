import { existsSync, readFileSync } from "node:fs";

/** This package's version. Its package.json is one folder up in a checkout, two when built. */
export const VERSION: string = (
  JSON.parse(
    readFileSync(
      ["../package.json", "../../package.json"]
        .map((path) => new URL(path, import.meta.url))
        .find((url) => existsSync(url))!,
      "utf8",
    ),
  ) as { version: string }
).version;
