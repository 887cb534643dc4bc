import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { z } from "zod";
import type { HoldfastConfig } from "./contracts/config.ts";
import { InvalidInput } from "./contracts/errors.ts";

/**
 * Settings of a process, from the environment. Read once at the start; all problems are reported at
 * once. What a user plugs in comes from `holdfast.config.ts` beside it.
 */
const number = (fallback: number, min: number, max: number) =>
  z.coerce.number().int().min(min).max(max).default(fallback);

const Settings = z.object({
  DATABASE_URL: z.string().regex(/^postgres(ql)?:\/\//, "must begin with postgres://"),
  HOLDFAST_SCHEMA: z
    .string()
    .regex(/^[a-z_][a-z0-9_]{0,62}$/)
    .default("holdfast"),
  HOLDFAST_POOL: number(12, 3, 500),
  TEMPORAL_ADDRESS: z.string().default("127.0.0.1:7233"),
  TEMPORAL_NAMESPACE: z.string().default("default"),
  TEMPORAL_UI_URL: z.string().optional(),
  /** Where streams are that give no address. */
  REDIS_URL: z
    .string()
    .regex(/^rediss?:\/\//, "must begin with redis:// or rediss://")
    .optional(),
  HOLDFAST_HOST: z.string().default("127.0.0.1"),
  HOLDFAST_PORT: number(4780, 0, 65_535),
  HOLDFAST_METRICS_PORT: number(0, 0, 65_535),
  /** `off` answers everybody as admin: only ever on a loopback address. */
  HOLDFAST_AUTH: z.enum(["on", "off"]).default("on"),
  HOLDFAST_LOG: z.enum(["fatal", "error", "warn", "info", "debug", "silent"]).default("info"),
  HOLDFAST_CONFIG: z.string().optional(),
  HOLDFAST_MAX_RUNNING: number(200, 1, 100_000),
  HOLDFAST_MAX_RUNNING_PER_SCOPE: number(4, 1, 100_000),
});
export type Settings = z.infer<typeof Settings>;

/** @throws InvalidInput naming every variable that is missing or wrong */
export function readSettings(env: NodeJS.ProcessEnv = process.env): Settings {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ""));
  const parsed = Settings.safeParse(given);
  if (!parsed.success) {
    throw new InvalidInput(
      parsed.error.issues.map((issue) => ({
        path: String(issue.path[0]),
        message:
          issue.code === "invalid_type"
            ? 'is not set: set it, or start a local stack with "holdfast dev"'
            : issue.message,
      })),
    );
  }
  const { HOLDFAST_AUTH, HOLDFAST_HOST } = parsed.data;
  if (HOLDFAST_AUTH === "off" && !["127.0.0.1", "localhost", "::1"].includes(HOLDFAST_HOST)) {
    throw new InvalidInput([
      {
        path: "HOLDFAST_AUTH",
        message: `off is for loopback only, HOLDFAST_HOST is ${HOLDFAST_HOST}`,
      },
    ]);
  }
  return parsed.data;
}

/** Loads the plug-ins of `holdfast.config.ts` (or `.js`, `.mjs`); without a file, the defaults. */
export async function loadConfig(path?: string): Promise<HoldfastConfig> {
  const candidates = path
    ? [path]
    : ["holdfast.config.ts", "holdfast.config.js", "holdfast.config.mjs"];
  const file = candidates.map((name) => resolve(name)).find((name) => existsSync(name));
  if (!file) {
    if (!path) return {};
    throw new InvalidInput([{ path: "HOLDFAST_CONFIG", message: `there is no file ${path}` }]);
  }
  const module = await importModule(file);
  if (!module.default || typeof module.default !== "object") {
    throw new InvalidInput([{ path: file, message: "must export default defineConfig({ ... })" }]);
  }
  return module.default;
}

async function importModule(file: string): Promise<{ default?: HoldfastConfig }> {
  const url = pathToFileURL(file).href;
  try {
    return await import(url);
  } catch (error) {
    if ((error as { code?: string }).code !== "ERR_UNKNOWN_FILE_EXTENSION") throw error;
  }
  // Installed, and on a Node that reads no TypeScript by itself.
  const { tsImport } = await import("tsx/esm/api");
  return tsImport(url, import.meta.url);
}
