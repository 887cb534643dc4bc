import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { Hono } from "hono";

const TYPES = {
  "console.css": "text/css; charset=utf-8",
  "console.js": "text/javascript; charset=utf-8",
  "icon.svg": "image/svg+xml",
} as const;
type Name = keyof typeof TYPES;

/** The address of a file, with a hash of its content in it: it may be kept for ever. */
export function assetPath(name: Name): string {
  return loaded(name).path;
}

/** Serves the few files the pages stand on, from memory. */
export function assetRoutes(): Hono {
  const routes = new Hono();
  for (const name of Object.keys(TYPES) as Name[]) {
    const { path, plain, zipped } = loaded(name);
    routes.get(path, (c) => {
      const zip = /\bgzip\b/.test(c.req.header("accept-encoding") ?? "");
      return c.body(zip ? zipped : plain, 200, {
        "content-type": TYPES[name],
        "cache-control": "public, max-age=31536000, immutable",
        "x-content-type-options": "nosniff",
        vary: "accept-encoding",
        ...(zip ? { "content-encoding": "gzip" } : {}),
      });
    });
  }
  return routes;
}

interface Asset {
  path: string;
  plain: Uint8Array<ArrayBuffer>;
  zipped: Uint8Array<ArrayBuffer>;
}

const assets = new Map<Name, Asset>();

function loaded(name: Name): Asset {
  const known = assets.get(name);
  if (known) return known;
  const plain = new Uint8Array(readFileSync(new URL(`./assets/${name}`, import.meta.url)));
  const hash = createHash("sha256").update(plain).digest("hex").slice(0, 12);
  const asset = {
    path: `/assets/${name.replace(".", `.${hash}.`)}`,
    plain,
    zipped: new Uint8Array(gzipSync(plain)),
  };
  assets.set(name, asset);
  return asset;
}
