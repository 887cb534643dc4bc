import { fileURLToPath } from "node:url";
import { freePort } from "../dev/free-port.ts";
import { spawnLeashed } from "../dev/leash.ts";
import { until } from "../dev/until.ts";
import type { Frame } from "./frame.ts";

const CLI = fileURLToPath(new URL("../cli/holdfast.ts", import.meta.url));
/** What server and workers of these measurements are plugged with. */
export const JOB_CONFIG = fileURLToPath(new URL("job.config.ts", import.meta.url));

/** The product's HTTP server, a process of its own; goes with the frame. */
export interface JobServer {
  readonly url: string;
  /** One call. @throws Error with what was answered, for anything but success */
  call<T>(path: string, body?: unknown): Promise<T>;
  /** The same, for what is no JSON. */
  text(path: string): Promise<string>;
}

export async function startJobServer(frame: Frame, databaseUrl: string): Promise<JobServer> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const child = spawnLeashed(process.execPath, ["--import", "tsx", CLI, "server"], {
    env: {
      ...process.env,
      DATABASE_URL: databaseUrl,
      HOLDFAST_HOST: "127.0.0.1",
      HOLDFAST_PORT: String(port),
      HOLDFAST_AUTH: "off",
      HOLDFAST_LOG: "error",
      HOLDFAST_CONFIG: JOB_CONFIG,
    },
    // What it says is errors, and not part of the figures.
    stdio: ["ignore", 2, 2],
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  frame.atEnd(async () => {
    child.kill("SIGTERM");
    await ended;
  });
  const livez = () =>
    fetch(`${url}/livez`).then(
      ({ ok }) => ok,
      () => false,
    );
  await until(livez, 60_000, () => "the server did not answer", 50);

  const answer = async (path: string, body: unknown) => {
    const response = await fetch(url + path, {
      ...(body !== undefined && {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      }),
    });
    const said = await response.text();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${said.slice(0, 300)}`);
    return said;
  };
  return {
    url,
    call: async (path, body) => JSON.parse(await answer(path, body)),
    text: (path) => answer(path, undefined),
  };
}
