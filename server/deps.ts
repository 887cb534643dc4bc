import type { Logger } from "pino";
import type { Holdfast } from "../client/index.ts";

/** What the pages and routes need to know of the process's settings. */
export interface ServerSettings {
  /** `off` answers everybody as admin `local`; only ever on a loopback address. */
  auth: "on" | "off";
  /** Temporal namespace, for links. */
  namespace: string;
  /** Where Temporal's own UI is; absent: no links. */
  temporalUiUrl?: string | undefined;
}

/** What the console is built over. Requests act through `holdfast.as(principal)`. */
export interface ConsoleDeps {
  holdfast: Holdfast;
  settings: ServerSettings;
  log: Logger;
}

/** What the whole HTTP process is built over. */
export interface ServerDeps extends ConsoleDeps {
  /** Asked by `/readyz`, which tells the answer and never depends on it. */
  temporalReachable?: (() => Promise<boolean>) | undefined;
  /** Aborts when the process begins to stop: `/readyz` says so, and open streams end. */
  stopping?: AbortSignal | undefined;
}
